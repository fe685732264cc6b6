"""Law 5: whatever happens, what the hosts were told change by change is what full compilation gives."""

import msgspec
from alcor.control_plane.compiler.full import compile_full
from alcor.control_plane.compiler.incremental import IncrementalCompiler
from alcor.control_plane.compiler.sections import HostSection
from alcor.control_plane.region import Region
from alcor.model import goal_state
from alcor.model.goal_state import HostState, SectionChange, SectionKey
from compiler_world import HOSTS, NAMES, Operation, World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

operations = st.lists(
    st.builds(
        Operation,
        name=st.sampled_from(NAMES),
        a=st.integers(0, 63),
        b=st.integers(0, 63),
        c=st.integers(0, 63),
        flag=st.booleans(),
        joins=st.sampled_from((True, False, False)),
    ),
    min_size=10,
    max_size=120,
)
relaxed = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
_decoder = msgspec.msgpack.Decoder(SectionChange)


def apply(state: HostState, section: HostSection) -> None:
    """Do what an agent does with a section's bytes."""
    encoded = section.encode()
    if encoded is None:
        del state.sections[section.key]
        return
    change = _decoder.decode(encoded)
    assert change == section.change(), "the bytes are the value"
    if section.is_full:
        state.sections[section.key] = goal_state.empty_section_for(change)
    goal_state.apply_change(state.sections[section.key], change)


def held(state: HostState) -> dict[SectionKey, SectionChange]:
    return {key: section.full() for key, section in state.sections.items()}


def steps(drawn: list[Operation], world: World):
    """Do the operations and give the changes, several operations in one where they join."""
    for index, operation in enumerate(drawn):
        world.do(operation)
        if index + 1 == len(drawn) or not drawn[index + 1].joins:
            yield world.commit()


@relaxed
@given(operations)
def test_deltas_fold_to_the_full_compilation_on_every_host(drawn: list[Operation]) -> None:
    world, region = World(), Region()
    compiler = IncrementalCompiler(region)
    states = {host: HostState() for host in HOSTS}
    before = {host: {} for host in HOSTS}
    for change in steps(drawn, world):
        compiled = compiler.fold(change)
        for host, sections in compiled.hosts.items():
            assert len({section.key for section in sections}) == len(sections)
            for section in sections:
                apply(states[host], section)
        for host in HOSTS:
            wanted = compile_full(region, host)
            assert held(states[host]) == wanted
            if wanted == before[host]:
                assert host not in compiled.hosts, "a host that is not concerned hears nothing"
            versions = compiler.interest.wanted.get(host, {})
            assert versions.keys() == wanted.keys()
            changed = {key for key in wanted if wanted[key] != before[host].get(key)}
            assert {key for key, revision in versions.items() if revision == change.revision} == changed
            before[host] = wanted
