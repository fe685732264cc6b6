"""Which neighbour asks about a host that is late, and whose answers count. Time is given."""

from alcor.contracts.agent_channel import Hello, Probe, Probed
from alcor.control_plane.health.probes import UNDER_WAY_MAX, UNDER_WAY_S, Probes
from alcor.model.ids import HostId
from doubles.rescued_cloud import Cloud


class Scene:
    """Probes over the hosts of a cloud, all of which can help."""

    def __init__(self, hosts: int) -> None:
        self.cloud = Cloud(hosts)
        self.sent: list[tuple[str, Probe]] = []
        self.answers: list[tuple[str, float]] = []
        self.late: set[str] = set()
        self.probes = Probes(
            self.cloud.region,
            self.cloud.clock,
            send=lambda host, probe: self.sent.append((host, probe)),
            answered=lambda host, answer_s: self.answers.append((host, answer_s)),
            is_late=lambda host: host in self.late,
        )
        for host in self.cloud.region.hosts:
            self.probes.came(Hello(1, host, b"\n\0\0\1", "z", "ovs", "1", 0, helps=True))


def test_a_neighbour_is_asked_that_is_neither_the_host_nor_late_itself() -> None:
    scene = Scene(4)
    scene.late = {"h0", "h1"}
    for _ in range(3):
        scene.probes.ask(HostId("h0"))
    assert {host for host, _ in scene.sent} == {"h2", "h3"}
    assert scene.sent[0][1].vtep == bytes([10, 0, 0, 0])


def test_only_the_answer_of_whom_was_asked_counts_and_once() -> None:
    scene = Scene(3)
    scene.probes.ask(HostId("h0"))
    neighbour, probe = scene.sent[0]
    other = HostId("h1" if neighbour == "h2" else "h2")
    good = Probed(HostId("h0"), probe.number, 20_000)
    scene.probes.heard(other, good)
    scene.probes.heard(HostId(neighbour), Probed(HostId("h0"), probe.number + 1, 1))
    assert scene.answers == []
    scene.probes.heard(HostId(neighbour), good)
    scene.probes.heard(HostId(neighbour), good)
    assert scene.answers == [("h0", 0.02)]


def test_a_data_plane_that_does_not_answer_is_no_witness() -> None:
    scene = Scene(3)
    scene.probes.ask(HostId("h0"))
    neighbour, probe = scene.sent[0]
    scene.probes.heard(HostId(neighbour), Probed(HostId("h0"), probe.number, 1, "no database"))
    assert scene.answers == []


def test_so_many_questions_are_under_way_at_most() -> None:
    scene = Scene(UNDER_WAY_MAX + 10)
    for host in scene.cloud.region.hosts:
        scene.probes.ask(host)
    assert len(scene.sent) == UNDER_WAY_MAX
    scene.cloud.clock.now_s += UNDER_WAY_S + 1
    scene.probes.ask(HostId("h0"))
    assert len(scene.sent) == UNDER_WAY_MAX + 1


def test_hosts_that_left_or_cannot_help_ask_nobody() -> None:
    scene = Scene(3)
    scene.probes.left(HostId("h1"))
    scene.probes.came(Hello(1, HostId("h2"), b"\n\0\0\1", "z", "ovs", "1", 0))
    scene.probes.ask(HostId("h0"))
    assert (scene.sent, scene.probes.helpers) == ([], 1)
