"""Law 4: the work of a change is counted, and does not grow with the network it happens in."""

import msgspec
import pytest

from alcor.control_plane.compiler import sections
from alcor.control_plane.compiler.incremental import Compiled, IncrementalCompiler, WorkCount
from alcor.control_plane.compiler.sections import SharedPart
from alcor.model.ids import PolicyId, ProjectId
from alcor.model.records import EVERYBODY, RbacPolicy, RecordSet
from doubles.control_plane import PROJECT, network, port, rule, subnet
from doubles.grown_region import FEW, HOSTS, MANY, changed, grown, work


@pytest.fixture(scope="module")
def compilers() -> tuple[IncrementalCompiler, IncrementalCompiler]:
    return grown(FEW), grown(MANY)


def both(compilers: tuple[IncrementalCompiler, ...], *steps: tuple[RecordSet, RecordSet]) -> list[WorkCount]:
    small, large = (work(compiler, *steps) for compiler in compilers)
    assert small == large
    return small


NEW = port(200_000, HOSTS[3], groups=("web",))
MOVED = port(200_000, HOSTS[4], groups=("web",))


def test_a_port_that_comes_moves_and_goes_costs_the_same_in_any_network(compilers) -> None:
    came, moved, went = both(
        compilers,
        (RecordSet(ports=(NEW,)), RecordSet()),
        (RecordSet(ports=(MOVED,)), RecordSet()),
        (RecordSet(), RecordSet(ports=(MOVED,))),
    )
    assert came.hosts_concerned == len(HOSTS)
    assert came.entries_built == 2, "itself and its placement: once, not once per host"
    assert moved.entries_built == 3, "gone here, set there, and placed anew"
    assert went.entries_built == 2
    assert {step.full_entries_built for step in (came, moved, went)} == {0}


def test_sharing_a_network_costs_hosts_nothing_and_guests_cost_what_others_do(compilers) -> None:
    vpc = network()
    policy = RbacPolicy(
        id=PolicyId("p"), project_id=PROJECT, object_type="network", object_id=vpc.id, target=EVERYBODY
    )
    revised = msgspec.structs.replace(vpc, revision_number=2)
    guest = msgspec.structs.replace(NEW, project_id=ProjectId("guest"), network_owner=PROJECT)
    shared, came, went, ended = both(
        compilers,
        (RecordSet(networks=(revised,), rbac_policies=(policy,)), RecordSet()),
        (RecordSet(ports=(guest,)), RecordSet()),
        (RecordSet(), RecordSet(ports=(guest,))),
        (RecordSet(networks=(vpc,)), RecordSet(rbac_policies=(policy,))),
    )
    assert shared.hosts_concerned == ended.hosts_concerned == 0
    assert (came.entries_built, came.hosts_concerned) == (2, len(HOSTS))
    assert went.entries_built == 2


def test_a_rule_costs_the_same_in_any_network(compilers) -> None:
    new = rule("r2", "web")
    came, went = both(
        compilers,
        (RecordSet(security_group_rules=(new,)), RecordSet()),
        (RecordSet(), RecordSet(security_group_rules=(new,))),
    )
    assert (came.entries_built, went.entries_built) == (1, 1)


def test_a_change_elsewhere_concerns_no_host_here(compilers) -> None:
    (count,) = both(compilers, (RecordSet(networks=(network(7),), subnets=(subnet(8, of=7),)), RecordSet()))
    assert (count.hosts_concerned, count.sections_given) == (0, 0)


def test_what_a_thousand_ports_share_is_encoded_once_for_all_hosts(monkeypatch) -> None:
    compiler = grown(FEW)
    batch = tuple(port(100_000 + number, HOSTS[number % 20]) for number in range(1_000))
    compiled: Compiled = compiler.fold(changed(compiler.region, RecordSet(ports=batch)))
    encoded: list[int] = []
    original = sections._encoder

    class Counting:
        def encode(self, value: object) -> bytes:
            encoded.append(len(value) if isinstance(value, tuple) else 0)
            return original.encode(value)

    monkeypatch.setattr(sections, "_encoder", Counting())
    parts: set[SharedPart | None] = set()
    for given in compiled.hosts.values():
        for section in given:
            parts.add(section.shared)
            section.encode()
    assert len(compiled.hosts) == len(HOSTS)
    assert len(parts) == 1
    assert encoded.count(1_000) == 1, "placements are encoded once, not once per host"


def test_bytes_and_value_of_a_section_agree() -> None:
    compiler = grown(5)
    batch = tuple(port(100_000 + number, HOSTS[number % 3]) for number in range(10))
    compiled = compiler.fold(changed(compiler.region, RecordSet(ports=batch)))
    for given in compiled.hosts.values():
        for section in given:
            assert section.encode() == msgspec.msgpack.encode(section.change())
