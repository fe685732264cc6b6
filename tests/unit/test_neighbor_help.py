"""What a host does with orders to rescue neighbours. Real agents on channels in memory."""

import asyncio
import io
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest
import pytest_asyncio

from alcor.contracts.agent_channel import (
    Channel,
    Farewell,
    Rescue,
    RescueEnd,
    RescueOutcome,
    RescueRenewal,
    RescueReport,
)
from alcor.contracts.data_plane import HostFacts, Refusal
from alcor.contracts.memory_channel import pair
from alcor.host_agent.agent import Agent
from alcor.host_agent.journal import NoJournal
from alcor.host_agent.neighbor_help import AT_ONCE_MAX, Neighborhood
from alcor.host_agent.rescue_duty import RescueDuty
from alcor.host_agent.settings import AgentTiming
from alcor.model import errors
from alcor.model.goal_state import HostState
from alcor.model.ids import HostId
from alcor.runtime.event_log import SILENT, EventLog
from doubles import virtual
from doubles.agent import Conversation, FailingDataPlane, full
from doubles.waiting import eventually

pytestmark = pytest.mark.virtual_time

LEASE_S = 0.3


class BreakingDataPlane(FailingDataPlane):
    """Has a mistake of ours in it."""

    async def synchronise(self, state: HostState, *, remove: bool) -> Sequence[Refusal]:
        raise KeyError("a mistake")


class Helper:
    """A neighbour with the controllers that its rescues meet. Implements `SwitchCertificates`."""

    def __init__(self) -> None:
        self.reports: list[RescueReport] = []
        self.conversations: list[Conversation] = []
        self.planes: list[FailingDataPlane] = []
        self.duties: list[RescueDuty] = []
        self.answers = True
        self.sends_away = False  # as a controller does that knows of no order
        self.tasks: list[asyncio.Task[None]] = []
        self.public_key = b"helper's"
        self.certificates: list[tuple[HostId, bytes]] = []  # as they came
        self.held: set[HostId] = set()  # for whose switches one is kept
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.log = io.StringIO()
        self.breaks = False  # in the middle of a rescue
        self.help = Neighborhood(
            HostId("helper"),
            self._make,
            self._probe,
            EventLog(stream=self.log),
            certificates=self,
        )

    def order(self, target: str, token: int, certificate: bytes = b"good") -> None:
        vtep = b"\x0a\0\0\7"
        order = Rescue(HostId(target), vtep, "z", "failing", token, LEASE_S, certificate=certificate)
        self.help.order(order, self.reports.append)

    async def met(self, number: int) -> Conversation:
        return await eventually(
            lambda: (
                self.conversations[number]
                if len(self.conversations) > number and self.conversations[number].hello
                else None
            )
        )

    def _make(self, order: Rescue, duty: RescueDuty) -> Agent:
        plane = BreakingDataPlane() if self.breaks else FailingDataPlane()
        self.planes.append(plane)
        self.duties.append(duty)
        facts = HostFacts(order.target, order.vtep, 0x020000000001)
        return Agent(
            facts,
            order.zone,
            plane,
            NoJournal(),
            self._connect,
            virtual.clock(),
            SILENT,
            urls=("memory",),
            timing=AgentTiming(beat_s=0.02, silence_s=0.1, reconnect_min_s=0.01, reconnect_max_s=0.02),
            rescue=duty,
        )

    async def _connect(self, url: str) -> Channel:
        ours, theirs = pair()
        if self.sends_away:
            theirs.send(msgspec.msgpack.encode(Farewell("'helper' has no order")))
            theirs.close("no order")
            return ours
        conversation = Conversation(theirs)
        self.conversations.append(conversation)
        self.tasks.append(asyncio.create_task(conversation.run()))
        return ours

    def take(self, target: HostId, certificate: bytes) -> None:
        if certificate == b"bad":
            raise errors.Invalid("it cannot be used")
        self.certificates.append((target, certificate))
        self.held.add(target)

    def drop(self, target: HostId) -> None:
        self.held.remove(target)

    async def _probe(self, order: Rescue) -> None:
        await self.may_answer.wait()
        if not self.answers:
            raise errors.Unavailable("nobody there", retry_after_s=1)


@pytest_asyncio.fixture
async def helper() -> AsyncIterator[Helper]:
    made = Helper()
    yield made
    await made.help.close()
    for task in made.tasks:
        task.cancel()


async def test_a_rescue_speaks_in_the_target_s_name_and_puts_its_state_in_force(helper: Helper) -> None:
    helper.order("target", 7)
    conversation = await helper.met(0)
    hello = conversation.hello
    assert hello is not None
    assert (hello.host, hello.rescuer, hello.token, hello.zone) == ("target", "helper", 7, "z")
    assert (hello.held, hello.plugged, hello.helps) == ((), (), False)
    await conversation.outcomes(full("a", 1, "p"), complete=True)
    assert list(helper.planes[0].holds) == ["network:a"]


async def test_a_certificate_is_taken_with_the_order_and_renewed_only_for_a_rescue_under_way(
    helper: Helper,
) -> None:
    helper.order("target", 7)
    await helper.met(0)
    for target, token, certificate in (
        ("target", 7, b"newer"),
        ("target", 7, b"bad"),  # the one before it still serves
        ("target", 6, b"of another order"),
        ("other", 7, b"of another host"),
    ):
        helper.help.renew(RescueRenewal(HostId(target), token, certificate))
    assert helper.certificates == [("target", b"good"), ("target", b"newer")]
    assert helper.reports == []


async def test_a_later_controller_is_shown_the_newest_proof_of_the_order(helper: Helper) -> None:
    helper.order("target", 7)
    first = await helper.met(0)
    for token, warrant in ((7, b"newer"), (7, b""), (6, b"of another order")):
        helper.help.renew(RescueRenewal(HostId("target"), token, b"good", warrant))
    first.channel.close("the controller starts anew")
    second = await helper.met(1)
    assert second.hello is not None
    assert second.hello.warrant == b"newer"


async def test_a_certificate_is_kept_as_long_as_its_rescue_lasts(helper: Helper) -> None:
    for target in ("one", "other"):
        helper.order(target, 7)
    await helper.met(1)
    assert helper.held == {"one", "other"}
    helper.order("one", 8)
    await helper.met(2)
    assert helper.held == {"one", "other"}  # the newer order for it goes on
    helper.help.end(RescueEnd(HostId("one"), 8, "its own agent is back"))
    await eventually(lambda: len(helper.reports) == 2)
    assert helper.held == {"other"}


async def test_an_order_that_was_replaced_while_the_data_plane_was_asked_begins_nothing(helper: Helper) -> None:
    helper.may_answer.clear()
    for token in (7, 8):
        helper.order("target", token)
    helper.help.end(RescueEnd(HostId("target"), 8, "its own agent is back"))
    await asyncio.sleep(0)
    helper.may_answer.set()
    await eventually(lambda: len(helper.reports) == 2)
    assert [report.outcome for report in helper.reports] == [RescueOutcome.ENDED] * 2
    assert helper.planes == []
    assert helper.held == set()


async def test_an_order_whose_certificate_lets_nobody_in_is_refused(helper: Helper) -> None:
    helper.order("target", 7, b"bad")
    assert helper.reports == [RescueReport(HostId("target"), 7, RescueOutcome.REFUSED, "it cannot be used")]
    assert helper.planes == []


async def test_a_data_plane_that_does_not_answer_is_told_and_nothing_is_written(helper: Helper) -> None:
    helper.answers = False
    helper.order("target", 7)
    await eventually(lambda: helper.reports)
    assert helper.reports == [RescueReport(HostId("target"), 7, RescueOutcome.NO_ANSWER, "nobody there")]
    assert helper.planes == []


async def test_a_rescue_ends_when_it_is_told_so_and_only_by_its_own_token(helper: Helper) -> None:
    helper.order("target", 7)
    await helper.met(0)
    helper.help.end(RescueEnd(HostId("target"), 6, "late"))
    await asyncio.sleep(0.05)
    assert helper.reports == []
    helper.help.end(RescueEnd(HostId("target"), 7, "its own agent is back"))
    await eventually(lambda: helper.reports)
    assert helper.reports[0].outcome is RescueOutcome.ENDED
    assert helper.planes[0].is_closed


async def test_a_rescue_ends_by_itself_when_the_lease_is_not_renewed(helper: Helper) -> None:
    helper.order("target", 7)
    conversation = await helper.met(0)
    await asyncio.sleep(2 * LEASE_S)
    assert helper.reports == []  # beats renew it
    helper.sends_away = True
    conversation.channel.close("the controller starts anew")
    await eventually(lambda: helper.reports)
    assert "lease" in helper.reports[0].reason
    assert helper.help.helped() == ("target",)  # named in the next Hello, and forgotten
    assert helper.help.helped() == ()
    assert helper.planes[0].is_closed


async def test_a_fenced_rescue_stops_at_once_and_does_not_ask_for_more(helper: Helper) -> None:
    helper.order("target", 7)
    await helper.met(0)
    helper.planes[0].events.fenced("target")  # type: ignore[union-attr]
    await eventually(lambda: helper.reports)
    assert "'target' took over" in helper.reports[0].reason
    assert helper.planes[0].is_closed
    assert len(helper.conversations) == 1


async def test_a_host_helps_only_so_many_and_never_itself(helper: Helper) -> None:
    for number in range(AT_ONCE_MAX + 1):
        helper.order(f"target-{number}", 7)
    helper.order("helper", 8)
    assert [(report.target, report.outcome) for report in helper.reports] == [
        (f"target-{AT_ONCE_MAX}", RescueOutcome.REFUSED),
        ("helper", RescueOutcome.REFUSED),
    ]


async def test_a_newer_order_replaces_an_older_one_and_the_same_one_changes_nothing(helper: Helper) -> None:
    helper.order("target", 7)
    await helper.met(0)
    helper.order("target", 7)
    helper.order("target", 6)
    helper.order("target", 9)
    second = await helper.met(1)
    assert second.hello is not None
    assert second.hello.token == 9
    assert [report.token for report in helper.reports] == [7]


async def test_a_rescue_that_breaks_is_over_and_what_broke_is_in_the_log(helper: Helper) -> None:
    helper.breaks = True
    helper.order("target", 7)
    await eventually(lambda: helper.reports)
    assert "see this host's event log" in helper.reports[0].reason
    assert '"task":"agent for target"' in helper.log.getvalue()
    assert "a mistake" in helper.log.getvalue()
    assert helper.planes[0].is_closed
