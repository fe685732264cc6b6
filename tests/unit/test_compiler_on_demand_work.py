"""Law 4 in an on-demand network: what a change costs grows with those who asked, not with hosts or ports."""

import pytest

from alcor.control_plane.compiler import on_demand
from alcor.control_plane.compiler.incremental import IncrementalCompiler
from alcor.control_plane.compiler.learned import LEARNED_MAX, Learned
from alcor.control_plane.region import OnDemandBounds
from alcor.model.ids import HostId, NetworkId, PortId, Vni
from alcor.model.records import RecordSet
from doubles.control_plane import port
from doubles.grown_region import HOSTS, MANY, grown, work

BOUNDS = OnDemandBounds(above=500, below=400)
NEW = port(200_000, HOSTS[3])
MOVED = port(200_000, HOSTS[4])


@pytest.fixture(scope="module")
def compilers() -> tuple[IncrementalCompiler, IncrementalCompiler]:
    return grown(1_000, BOUNDS), grown(MANY, BOUNDS)


def test_a_port_concerns_its_host_and_those_who_asked_in_any_network(compilers) -> None:
    small, large = (lifetime(compiler) for compiler in compilers)
    assert small == large
    came, moved, went = small
    assert came.hosts_concerned == 1, "nobody else asked yet"
    assert moved.hosts_concerned == 4, "where it was, where it is, and two that asked"
    assert went.hosts_concerned == 3
    assert {count.full_entries_built for count in small} == {0}
    assert {count.entries_built for count in small} == {2, 3}


def lifetime(compiler: IncrementalCompiler):
    [came] = work(compiler, (RecordSet(ports=(NEW,)), RecordSet()))
    row = compiler.region.find(Vni(1), NEW.fixed_ips[0].ip)
    assert row is not None
    for host in HOSTS[:2]:
        given = on_demand.learn(compiler.region, compiler.interest, HostId(host), [row])
        assert given is not None
        encoded = given.encode()
        assert encoded is not None
        assert len(encoded) < 100
    moved, went = work(
        compiler, (RecordSet(ports=(MOVED,)), RecordSet()), (RecordSet(), RecordSet(ports=(MOVED,)))
    )
    assert not any(compiler.interest.learned.of_host(HostId(host)) for host in HOSTS)
    return [came, moved, went]


def test_a_host_new_to_the_network_gets_no_placement_but_its_own(compilers) -> None:
    for compiler in compilers:
        newcomer = port(300_000, "newcomer")
        [count] = work(compiler, (RecordSet(ports=(newcomer,)), RecordSet()))
        assert count.full_entries_built == 2, "the subnet and its own port"
        work(compiler, (RecordSet(), RecordSet(ports=(newcomer,))))


def test_the_oldest_learned_goes_for_the_next() -> None:
    learned, host, network = Learned(), HostId("h"), NetworkId("n")
    for number in range(LEARNED_MAX):
        assert learned.add(host, network, PortId(str(number))) is None
    assert learned.add(host, network, PortId("one more")) == PortId("0")
    assert len(list(learned.of(host, network))) == LEARNED_MAX
    assert not learned.has(host, PortId("0"))
