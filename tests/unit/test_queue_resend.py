"""A session over the queue sends again what is not answered; a late answer counts, and slows sending down."""

import msgspec
import pytest

from alcor.contracts.agent_channel import Acknowledgement, Update
from alcor.contracts.store import Change
from alcor.control_plane.compiler.full import compile_full
from alcor.control_plane.compiler.incremental import IncrementalCompiler
from alcor.control_plane.delivery.full_sections import FullSections
from alcor.control_plane.delivery.host_queue import HostQueue
from alcor.control_plane.delivery.ledger import Ledger
from alcor.control_plane.delivery.queue_lines import CHANGES_MAX, Writer
from alcor.control_plane.region import Region
from alcor.model.goal_state import GroupSection, NetworkSection, SectionKey, group_key, network_key
from alcor.model.ids import HostId, RequestId
from alcor.model.records import Host, RecordSet
from alcor.model.version import Version
from doubles.control_plane import PROJECT, AgentDouble, MemoryChannel, group, network, port, rule, subnet

HOST = HostId("a")
NOTHING = RecordSet()
STEP_S = 0.25


class SlowQueue:
    """One host that answers after `latency_s`, by a clock of its own. A beat a second."""

    def __init__(self, latency_s: float, *, ports: int = 50, strays: tuple[SectionKey, ...] = ()) -> None:
        """`strays`: what the agent's Hello names that the host must not hold."""
        self.latency_s = latency_s
        self.now_s = 0.0
        self.sent: list[tuple[float, SectionKey]] = []
        self.answers_lost = False
        self._due: list[tuple[float, Acknowledgement]] = []
        self._compiler = IncrementalCompiler(Region())
        self.region = self._compiler.region
        self._full = FullSections(self.region, self._compiler.interest)
        self.ledger = Ledger(epoch=1)
        self.agent = AgentDouble(HOST, bytes(4))
        for key in strays:
            self.agent.state.sections[key] = GroupSection()
            self.agent.state.versions[key] = Version(1, 0)
        self._fold(
            RecordSet(
                networks=(network(),),
                subnets=(subnet(),),
                security_groups=(group("web"),),
                security_group_rules=(rule("r", "web", "web"),),
                hosts=tuple(
                    Host(id=HostId(name), project_id=PROJECT, vtep=bytes([172, 16, 0, number]))
                    for number, name in enumerate((HOST, "b"))
                ),
                ports=tuple(port(number, (HOST, "b")[number % 2], groups=("web",)) for number in range(ports)),
            )
        )
        writer = Writer(HOST, epoch=1, interest=self._compiler.interest, full=self._full, reads_packed=False)
        self.session = HostQueue(self.agent.hello(), MemoryChannel(), self, ledger=self.ledger, writer=writer)
        self.session.channel.send = self._told  # type: ignore[method-assign]
        self.session.flush()

    def publish(self, key: SectionKey, frame: bytes) -> bool:
        self.sent.append((self.now_s, key))
        self._told(frame)
        return True

    def _told(self, frame: bytes) -> None:
        update = msgspec.msgpack.decode(frame, type=Update)
        answer = Acknowledgement(update.number, tuple(map(self.agent.take, update.sections)))
        if not self.answers_lost:
            self._due.append((self.now_s + self.latency_s, answer))

    def change(self, puts: RecordSet = NOTHING, deletes: RecordSet = NOTHING) -> None:
        """Commit a change, and offer it."""
        given = self._fold(puts, deletes)
        self.session.offer(self.region.revision, given)
        self.session.flush()

    def _fold(self, puts: RecordSet, deletes: RecordSet = NOTHING) -> list:
        change = Change(self.region.revision + 1, 1, RequestId("r"), PROJECT, puts, deletes)
        compiled = self._compiler.fold(change)
        self._full.forget(compiled.changed_keys)
        self.ledger.concern(
            change.revision,
            0,
            {host: [each.key for each in given] for host, given in compiled.hosts.items()},
            {},
        )
        return compiled.hosts.get(HOST, [])

    def run(self, seconds: float) -> None:
        """Let time pass: beats, and answers that are due."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += STEP_S
            due = [answer for at_s, answer in self._due if at_s <= self.now_s]
            self._due = [entry for entry in self._due if entry[0] > self.now_s]
            for answer in due:
                progress = self.ledger.acknowledge(HOST, answer, now_us=0)
                self.session.send_all(progress.send_all)
                self.session.flush()
            if self.now_s.is_integer():
                self.session.beat(b"")

    @property
    def groups_used(self) -> set[SectionKey]:
        """Name the groups of the ports that the agent holds."""
        network = self.agent.state.sections[network_key("net-1")]
        assert isinstance(network, NetworkSection)
        return {group_key(name) for held in network.ports.values() for name in held.groups}

    @property
    def is_done(self) -> bool:
        """Was all said to be sent, and answered, and is it held?"""
        return self.session.is_settled and self.agent.held() == compile_full(self.region, HOST)


@pytest.mark.parametrize("latency_s", [2.5, 6.5, 20.5])
def test_answers_later_than_the_first_resend_count(latency_s: float) -> None:
    scene = SlowQueue(latency_s)
    scene.run(8 * latency_s)
    assert scene.is_done, "completion is told and answered"


@pytest.mark.parametrize("strays", [(), (group_key("stray"),)])
def test_completion_does_not_wait_for_an_end_of_changes(strays: tuple[SectionKey, ...]) -> None:
    scene = SlowQueue(latency_s=2.5, strays=strays)
    for number in range(1_000, 1_030):
        scene.change(RecordSet(ports=(port(number, HOST, groups=("web",)),)))
        scene.run(1.0)
    assert scene.session.is_settled, "an agent may remove only now what a former one left"
    assert scene.session.has_waiting, "and changes are under way still"
    scene.run(10.0)
    assert scene.is_done


def test_a_group_leaves_after_the_networks_that_used_it_but_waits_for_no_later_changes() -> None:
    scene = SlowQueue(latency_s=2.5)
    scene.run(20.0)
    assert scene.is_done
    scene.change(RecordSet(ports=(port(1_000, HOST, groups=("web",)),)))  # under way, and the next one due
    without = tuple(port(number, HOST) for number in range(0, 50, 2))
    scene.change(RecordSet(ports=(*without, port(1_000, HOST))))
    began = len(scene.sent)
    for number in range(1_001, 1_030):
        scene.change(RecordSet(ports=(port(number, HOST),)))
        scene.run(1.0)
        assert scene.groups_used <= scene.agent.state.sections.keys()
    keys = [key for _, key in scene.sent[began:]]
    assert group_key("web") in keys
    assert network_key("net-1") in keys[keys.index(group_key("web")) :], "while changes go on"
    scene.run(10.0)
    assert scene.is_done


@pytest.mark.parametrize("latency_s", [2.5, 6.5])
def test_what_is_sent_again_grows_rarer_while_changes_go_on(latency_s: float) -> None:
    scene = SlowQueue(latency_s)
    for number in range(1_000, 1_040):
        scene.change(RecordSet(ports=(port(number, HOST, groups=("web",)),)))
        scene.run(1.0)
    before = len(scene.sent)
    assert before <= 3 * 40 / latency_s + 10, "two or three sendings for each answer at most, and the start"
    scene.run(8 * latency_s)
    assert scene.is_done
    last_s = scene.now_s
    for number in range(1_100, 1_110):
        scene.change(RecordSet(ports=(port(number, HOST, groups=("web",)),)))
        scene.run(2 * latency_s)
    sent = [at_s for at_s, _ in scene.sent if at_s >= last_s]
    assert len(sent) == 10, "how long answers take is known by now: nothing is sent twice"
    scene.run(2 * latency_s)
    assert scene.is_done


@pytest.mark.parametrize("latency_s", [6.5, 20.5])
def test_a_whole_section_is_made_once_however_late_it_is_answered_while_changes_go_on(latency_s: float) -> None:
    scene = SlowQueue(latency_s)
    for number in range(1_000, 1_200):
        scene.change(RecordSet(ports=(port(number, HOST, groups=("web",)),)))
        scene.run(1.0)
    assert all(line.base is not None for line in scene.session.lines.values()), "what is held is known"
    first_ports = 50 + latency_s  # the network goes once the group is answered
    assert scene._full.entries_made <= first_ports + 10, "one whole of each section, at the start"
    assert len(scene.sent) <= 2 * 200 / latency_s + 10, "two sendings for each answer at most, and the start"
    scene.run(8 * latency_s)
    assert scene.is_done


def test_what_nobody_answers_is_sent_again_ever_more_rarely() -> None:
    scene = SlowQueue(0.1)
    scene.run(5)
    scene.answers_lost = True
    scene.change(RecordSet(ports=(port(1_000, HOST),)))
    begun_s = scene.now_s
    scene.run(64)
    times = [at_s - begun_s for at_s, _ in scene.sent if at_s >= begun_s]
    assert times == [0, 2, 4, 8, 16, 32, 48, 64]
    scene.answers_lost = False
    scene.run(20)
    assert scene.is_done


def test_an_answer_to_a_change_that_was_sent_twice_leads_to_no_whole_section() -> None:
    scene = SlowQueue(0.1)
    scene.run(5)
    scene.latency_s = 2.5
    scene.change(RecordSet(ports=(port(1_000, HOST),)))
    scene.run(1)
    scene.change(RecordSet(ports=(port(1_001, HOST),)))
    made = scene._full.entries_made
    scene.run(10)
    assert scene.is_done
    assert scene._full.entries_made == made, "the second leads from the first, which was held when it came"


def test_a_host_that_answers_nothing_for_long_is_sent_one_change_for_all() -> None:
    scene = SlowQueue(0.1, ports=1_000)
    scene.run(5)
    scene.answers_lost = True
    made = scene._full.entries_made
    for number in range(2_000, 2_000 + CHANGES_MAX + 40):
        scene.change(RecordSet(ports=(port(number, HOST),)))
    line = max(scene.session.lines.values(), key=lambda line: len(line.changes))
    assert len(line.changes) <= CHANGES_MAX, "what is kept of changes is bounded"
    scene.answers_lost = False
    scene.run(10)
    assert scene.is_done
    assert scene._full.entries_made == made, "fewer entries than the whole has"


def test_more_changed_entries_than_the_section_has_become_the_whole() -> None:
    scene = SlowQueue(0.1, ports=100)
    scene.run(5)
    scene.answers_lost = True
    made = scene._full.entries_made
    for number in range(2_000, 2_000 + 2 * CHANGES_MAX):
        scene.change(RecordSet(ports=(port(number, HOST),)))
        scene.change(deletes=RecordSet(ports=(port(number, HOST),)))
    scene.answers_lost = False
    scene.run(10)
    assert scene.is_done
    assert 0 < scene._full.entries_made - made < 110, "the whole, once"
