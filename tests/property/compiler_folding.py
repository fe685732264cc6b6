"""What an agent does with the sections of a compiler, and changes for it of a world's operations."""

import msgspec
from compiler_operations import Operation
from compiler_world import World

from alcor.control_plane.compiler.sections import HostSection
from alcor.model import goal_state
from alcor.model.goal_state import HostState, SectionChange, SectionKey

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
