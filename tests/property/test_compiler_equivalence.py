"""Law 5: whatever happens, what the hosts were told change by change is what full compilation gives."""

import itertools
import random

import pytest
from compiler_folding import apply, held, steps
from compiler_operations import NAMES, Operation, random_operation
from compiler_world import HOSTS, World, rich_world
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alcor.control_plane.compiler.full import compile_full
from alcor.control_plane.compiler.incremental import IncrementalCompiler
from alcor.control_plane.region import Region
from alcor.model.goal_state import HostState, SectionChange, SectionKey
from alcor.model.ids import HostId

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
    min_size=1,
    max_size=120,
)
relaxed = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@relaxed
@given(st.integers(0, 2**32), operations)
def test_deltas_fold_to_the_full_compilation_on_every_host(seed: int, drawn: list[Operation]) -> None:
    check(rich_world(random.Random(seed)), drawn)


@pytest.mark.parametrize("seed", range(40))
def test_long_random_histories_end_as_full_compilation(seed: int) -> None:
    choice = random.Random(seed)
    check(rich_world(choice), [random_operation(choice) for _ in range(150)])


@pytest.mark.parametrize("seed", range(5))
def test_a_region_loaded_anew_wants_what_the_grown_one_wants(seed: int) -> None:
    choice = random.Random(1000 + seed)
    world, grown = rich_world(choice), Region()
    compiler = IncrementalCompiler(grown)
    for change in steps([random_operation(choice) for _ in range(100)], world):
        compiler.fold(change)
    loaded = Region()
    loaded.fold(World.whole(world))
    anew = IncrementalCompiler(loaded)
    anew.load()
    assert {host: set(keys) for host, keys in anew.interest.wanted.items()} == {
        host: set(keys) for host, keys in compiler.interest.wanted.items()
    }
    for host in HOSTS:
        assert compile_full(loaded, host) == compile_full(grown, host)


def check(world: World, drawn: list[Operation]) -> None:
    """Compile change by change, and hold the result against the specification on every host."""
    region = Region()
    compiler = IncrementalCompiler(region)
    states = {host: HostState() for host in HOSTS}
    before: dict[HostId, dict[SectionKey, SectionChange]] = {host: {} for host in HOSTS}
    for change in itertools.chain([world.commit()], steps(drawn, world)):
        compiled = compiler.fold(change)
        for host, sections in compiled.hosts.items():
            assert len({section.key for section in sections}) == len(sections)
            for section in sections:
                apply(states[host], section)
        for host in HOSTS:
            wanted = compile_full(region, host)
            assert held(states[host]) == wanted
            versions = compiler.interest.wanted.get(host, {})
            assert versions.keys() == wanted.keys()
            changed = {key for key in wanted if wanted[key] != before[host].get(key)}
            touched = {key for key, revision in versions.items() if revision == change.revision}
            # A host that becomes a holder of an empty group's members hears of it; nothing else is idle talk.
            assert changed <= touched
            assert all(key.startswith("group:") for key in touched - changed)
            gone = before[host].keys() - wanted.keys()
            assert {section.key for section in compiled.hosts.get(host, ())} == touched | gone
            before[host] = wanted
