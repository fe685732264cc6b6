"""What the compute service is told of ports, from a controller with agents in memory."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.memory_told import MemoryToldMarks
from alcor.contracts.server_events import ServerEvent
from alcor.control_plane.controller import Controller
from alcor.control_plane.server_events import words
from alcor.control_plane.server_events.teller import Teller
from alcor.model import errors
from alcor.model.goal_state import network_key
from alcor.model.records import Port, RecordSet
from alcor.runtime.event_log import SILENT
from doubles import virtual
from doubles.control_plane import AgentDouble, commit, group, network, port, subnet
from doubles.waiting import eventually

pytestmark = pytest.mark.virtual_time

SERVER = "9b1f3c52-0000-4000-8000-00000000000{}"
PLUGGED, UNPLUGGED = "vif-plugged", "vif-unplugged"


class Receiver:
    """Hears events; `refusals` are raised instead, one for each request."""

    def __init__(self) -> None:
        self.heard: list[ServerEvent] = []
        self.requests: list[int] = []
        self.refusals: list[errors.AlcorError] = []
        self.bad: set[str] = set()  # ports of which it takes no event, nor a request with one
        self.codes: dict[str, int] = {}
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def tell(self, events: Sequence[ServerEvent]) -> list[int]:
        self.requests.append(len(events))
        await self.may_answer.wait()
        if self.refusals:
            raise self.refusals.pop(0)
        if any(event.tag in self.bad for event in events):
            raise errors.Invalid("bad event")
        self.heard += events
        return [self.codes.get(event.tag, 200) for event in events]

    def names(self, port_id: str = "port-000001") -> list[str]:
        return [event.name.removeprefix("network-") for event in self.heard if event.tag == port_id]


class Scene:
    """A controller with a compute service that may be told; both can start anew on the same store."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.marks = MemoryToldMarks()
        self.receiver = Receiver()
        self.agent = AgentDouble("a", bytes([172, 16, 0, 1]))

    async def start(self) -> None:
        clock = virtual.clock()
        self.teller = await Teller.open(self.receiver, self.marks, self.store, clock, SILENT)
        self.controller = Controller(self.store, clock, SILENT, watcher=self.teller)
        await self.controller.start()
        self.teller.start()

    async def stop(self) -> None:
        await self.controller.stop()
        await self.teller.close()

    async def join(self, agent: AgentDouble | None = None) -> None:
        agent = agent or self.agent
        agent.connect(self.controller)
        await asyncio.wait_for(agent.complete.wait(), 5)

    async def put(self, number: int, host: str = "a", *, first: bool = False, **more: object) -> Port:
        record = server_port(number, host, **more)
        if first:
            await commit(self.store, ports=(record,))
        else:
            known = (await self.store.get(Port, [record.id]))[record.id]
            record = msgspec.structs.replace(record, revision_number=known.revision_number + 1)
            await commit(self.store, updates=RecordSet(ports=(record,)))
        return record


def server_port(number: int, host: str, *, server: int | None = None, **more: object) -> Port:
    device = SERVER.format(number if server is None else server)
    return port(number, host, device_id=device, device_owner="compute:nova", revision_number=1, **more)


@pytest.fixture
async def s() -> AsyncIterator[Scene]:
    made = Scene()
    await commit(made.store, networks=(network(),), subnets=(subnet(),), security_groups=(group("g"),))
    await made.start()
    yield made
    if made.agent.channel is not None:
        await made.agent.disconnect()
    await made.stop()


async def nothing_more(s: Scene) -> None:
    """Wait until a port that is plugged now was told of: all that was owed before has been told then."""
    count = len(s.receiver.heard)
    await s.put(9, first=True)
    s.agent.plug("port-000009")
    await eventually(lambda: s.receiver.names("port-000009")[-1:] == [PLUGGED])
    assert [event.tag for event in s.receiver.heard[count:] if event.tag != "port-000009"] == []


async def test_a_servers_port_is_told_from_plug_to_removal(s: Scene) -> None:
    await s.join()
    await s.put(1, first=True)
    s.agent.plug("port-000001")
    await eventually(lambda: s.receiver.names() == [PLUGGED])
    (event,) = s.receiver.heard
    assert event == ServerEvent("network-vif-plugged", SERVER.format(1), "port-000001", "completed")
    s.agent.unplug("port-000001")
    await eventually(lambda: s.receiver.names() == [PLUGGED, UNPLUGGED])
    s.agent.plug("port-000001")
    await eventually(lambda: s.receiver.names()[2:] == [PLUGGED])
    record = await s.put(1, name="renamed")
    await eventually(lambda: s.receiver.names()[3:] == ["changed"])
    await commit(s.store, deletes=RecordSet(ports=(record,)))
    await eventually(lambda: s.receiver.names()[4:] == ["vif-deleted"])


async def test_ports_of_others_are_not_told(s: Scene) -> None:
    await s.join()
    for number, owner, device in ((2, "", SERVER.format(2)), (3, "compute:nova", "vm-3"), (4, "network:x", "")):
        await commit(s.store, ports=(port(number, "a", device_owner=owner, device_id=device),))
        s.agent.plug(f"port-{number:06}")
    await nothing_more(s)


async def test_plugged_is_told_only_when_the_port_is_in_force(s: Scene) -> None:
    await s.join()
    s.agent.mute = True
    await s.put(1, first=True)
    s.agent.plug("port-000001")
    await eventually(lambda: s.controller.convergence.port_states([server_port(1, "a")])[0].plugged)
    assert s.receiver.heard == []
    s.agent.speak_again()
    await eventually(lambda: s.receiver.names() == [PLUGGED])


async def test_a_refused_port_is_told_as_failed_and_then_as_plugged(s: Scene) -> None:
    key = network_key("net-1")
    s.agent.refuses[key] = "no room"
    await s.join()
    await s.put(1, first=True)
    s.agent.plug("port-000001")
    await eventually(lambda: s.receiver.names() == [PLUGGED])
    assert s.receiver.heard[0].status == "failed"
    del s.agent.refuses[key]
    await commit(s.store, ports=(port(2, "a"),))
    await eventually(lambda: s.receiver.names() == [PLUGGED, PLUGGED])
    assert s.receiver.heard[1].status == "completed"


@pytest.mark.parametrize("change", [{"host": ""}, {"admin_state_up": False}, {"host": "b"}])
async def test_unbinding_moving_and_shutting_down_end_being_plugged(s: Scene, change: dict[str, str]) -> None:
    await s.join()
    await s.put(1, first=True)
    s.agent.plug("port-000001")
    await eventually(lambda: s.receiver.names() == [PLUGGED])
    await s.put(1, **{"host": "a", **change})
    await eventually(lambda: set(s.receiver.names()[1:]) == {UNPLUGGED, "changed"})


async def test_a_port_that_moves_is_told_where_it_comes_to(s: Scene) -> None:
    other = AgentDouble("b", bytes([172, 16, 0, 2]))
    await s.join()
    await s.join(other)
    await s.put(1, first=True)
    s.agent.plug("port-000001")
    await eventually(lambda: s.receiver.names() == [PLUGGED])
    await s.put(1, "b")
    other.plug("port-000001")
    await eventually(lambda: s.receiver.names()[-1] == PLUGGED and len(s.receiver.heard) >= 3)
    await eventually(lambda: not s.teller._owed.words)
    await other.disconnect()


async def test_plugged_anew_is_told_anew_though_nobody_saw_it_unplugged(s: Scene) -> None:
    await s.join()
    await s.put(1, first=True)
    s.agent.plug("port-000001")
    await eventually(lambda: s.receiver.names() == [PLUGGED])
    s.agent.plug("port-000001")
    await eventually(lambda: s.receiver.names() == [PLUGGED, PLUGGED])


async def test_changes_that_do_not_end_it_tell_no_plug(s: Scene) -> None:
    await s.join()
    await s.put(1, first=True)
    s.agent.plug("port-000001")
    await eventually(lambda: s.receiver.names() == [PLUGGED])
    await s.put(1, groups=("g",))  # in between it is BUILD
    await eventually(lambda: s.receiver.names() == [PLUGGED, "changed"])
    await nothing_more(s)


async def test_silence_of_an_agent_is_no_unplugged_port(s: Scene) -> None:
    await s.join()
    await s.put(1, first=True)
    s.agent.plug("port-000001")
    await eventually(lambda: s.receiver.names() == [PLUGGED])
    await s.agent.disconnect()
    await s.join()
    await nothing_more(s)
    await s.agent.disconnect()
    s.agent.plugged.clear()  # it comes back without its workload
    await s.join()
    await eventually(lambda: s.receiver.names() == [PLUGGED, UNPLUGGED])


async def test_a_restart_tells_what_happened_meanwhile_and_nothing_twice(s: Scene) -> None:
    await s.join()
    for number in (1, 2, 3):
        await s.put(number, first=True)
    s.agent.plug("port-000001", "port-000002")
    await eventually(lambda: len(s.receiver.heard) == 2)
    await s.agent.disconnect()
    await s.stop()
    await s.start()
    await s.join()
    await nothing_more(s)
    await s.agent.disconnect()
    await s.stop()
    s.receiver.heard.clear()
    s.agent.plugged.discard(server_port(1, "").id)
    s.agent.plugged.add(server_port(3, "").id)
    gone = (await s.store.get(Port, ["port-000002"]))["port-000002"]
    await commit(s.store, deletes=RecordSet(ports=(gone,)))
    s.agent.plugged.discard(gone.id)
    await s.put(3, name="changed meanwhile")
    await s.start()
    await s.join()
    await eventually(lambda: PLUGGED in s.receiver.names("port-000003"))
    await eventually(lambda: UNPLUGGED in s.receiver.names("port-000001"))
    await eventually(lambda: s.receiver.names("port-000002") == ["vif-deleted"])
    await eventually(lambda: "changed" in s.receiver.names("port-000003"))


async def test_while_nobody_hears_words_gather_and_only_the_last_counts(s: Scene) -> None:
    await s.join()
    s.receiver.refusals = [errors.Unavailable("away", retry_after_s=1)] * 3
    await s.put(1, first=True)
    s.agent.plug("port-000001")
    await eventually(lambda: s.receiver.names() == [PLUGGED])
    assert len(s.receiver.requests) == 4
    s.receiver.may_answer.clear()
    await s.put(1, name="one")
    await eventually(lambda: len(s.receiver.requests) == 5)  # under way
    for number in range(20):
        await s.put(1, name=f"name-{number}")
    s.receiver.may_answer.set()
    await eventually(lambda: len(s.receiver.heard) >= 3)
    await nothing_more(s)
    assert s.receiver.names().count("changed") == 2


async def test_what_never_was_told_is_not_taken_back(s: Scene) -> None:
    await s.join()
    await s.put(2, first=True)
    s.receiver.may_answer.clear()
    s.agent.plug("port-000002")  # under way, so that what follows waits
    await eventually(lambda: s.receiver.requests == [1])
    await s.put(1, first=True)
    s.agent.plug("port-000001")
    await eventually(lambda: len(s.teller._owed.words) == 2)
    s.agent.unplug("port-000001")
    await eventually(lambda: len(s.teller._owed.words) == 1)
    s.receiver.may_answer.set()
    await eventually(lambda: len(s.receiver.heard) == 1)
    await nothing_more(s)


async def test_one_bad_event_does_not_hold_up_the_others(s: Scene) -> None:
    await s.join()
    s.receiver.bad = {"port-000003"}
    s.receiver.codes = {"port-000004": 404, "port-000005": 422}
    for number in range(1, 8):
        await s.put(number, first=True)
    s.agent.plug(*(f"port-{number:06}" for number in range(1, 8)))
    await eventually(lambda: len(s.receiver.heard) == 6)
    await nothing_more(s)
    assert s.receiver.names("port-000003") == []


async def test_a_flood_of_removals_is_bounded_and_read_from_the_log(
    s: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "CHANGES_MAX", 5)
    s.receiver.may_answer.clear()
    numbers = range(100, 140)
    for number in numbers:
        await s.put(number, first=True, server=1)
    records = await s.store.get(Port, [f"port-{number:06}" for number in numbers])
    for record in records.values():
        await commit(s.store, deletes=RecordSet(ports=(record,)))
        assert len(s.teller._owed.words) <= 6
    s.receiver.may_answer.set()
    await eventually(lambda: len(s.receiver.heard) == 40)
    assert sorted(event.tag for event in s.receiver.heard) == sorted(records)


async def test_the_work_for_one_port_does_not_grow_with_the_hosts_ports(s: Scene) -> None:
    await s.join()
    looked: list[int] = []
    heard_state = s.controller.convergence.heard_state
    counted = 0

    def counting(port_id: object) -> object:
        nonlocal counted
        counted += 1
        return heard_state(port_id)  # type: ignore[arg-type]

    s.teller._owed._state_of = counting  # type: ignore[assignment]
    for first, count in ((100, 10), (1000, 500)):
        await commit(
            s.store, ports=tuple(server_port(number, "a", server=1) for number in range(first, first + count))
        )
        s.agent.plug(*(f"port-{number:06}" for number in range(first, first + count)))
        await eventually(lambda: s.receiver.names(f"port-{first + count - 1:06}") == [PLUGGED])  # noqa: B023 - as below
        await eventually(lambda: not s.teller._owed.words)
        counted = 0
        await s.put(first + 5000, first=True, server=1)
        s.agent.plug(f"port-{first + 5000:06}")
        await eventually(lambda: s.receiver.names(f"port-{first + 5000:06}") == [PLUGGED])  # noqa: B023 - awaited here
        looked.append(counted)
    assert max(looked) - min(looked) <= 2, looked
