"""Port keys over time: on record for the next agent, and at rest until their conntrack zones are empty."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import chain, islice

from alcor.data_plane.ovs.attachments import AttachmentView, KeyPlace
from alcor.data_plane.ovs.openflow import OpenFlowConnection
from alcor.data_plane.ovs.session import Session
from alcor.data_plane.pipeline.program import FlowProgram
from alcor.model.errors import AlcorError
from alcor.model.goal_state import LocalPort
from alcor.model.ids import PortId
from alcor.runtime.event_log import EventLog

KEYS_AT_ONCE = 1000  # interfaces in one transaction
ZONES_AT_ONCE = 64  # each costs the switch a walk over all its connections


def to_record(
    view: AttachmentView, port_id: PortId, port: LocalPort | None, key: int | None
) -> dict[KeyPlace, int | None]:
    """Give what must be written for a port (None: gone) that is not on record as it is. O(1). Pure.

    A port's key is on its own interface, a sub-port's on that of its parent.
    """
    row, recorded = view.sub_port_key(port_id)
    found: dict[KeyPlace, int | None] = {}
    if port is not None and port.tag is not None:
        parent = view.attachment(port.tag.parent)
        if parent is not None and (row, recorded) != (parent.interface, key):
            found[KeyPlace.of_sub_port(parent.interface, port_id)] = key
        return found
    if row:
        found[KeyPlace.of_sub_port(row, port_id)] = None
    own = view.attachment(port_id) if port is not None else None
    if own is not None and own.key != key:
        found[KeyPlace(own.interface)] = key
    return found


class KeyRecorder:
    """Owner of what is still to be recorded. `session`: the one that is open."""

    def __init__(self, session: Callable[[], Session | None], log: EventLog) -> None:
        self._session = session
        self._log = log
        self._to_record: dict[KeyPlace, int | None] = {}
        self._woken = asyncio.Event()

    def note(self, view: AttachmentView, port_id: PortId, port: LocalPort | None, key: int | None) -> None:
        """See to it that a port's key is recorded as it is now."""
        if places := to_record(view, port_id, port, key):
            self._to_record |= places
            self._woken.set()

    async def run(self) -> None:
        """Record forever."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            some = sorted(self._to_record)[:KEYS_AT_ONCE]
            keys = {place: self._to_record.pop(place) for place in some}
            if self._to_record:
                self._woken.set()
            session = self._session()
            if session is None or not keys:
                continue
            try:
                await session.record_keys(keys)
            except AlcorError as error:
                self._log.warning("port_keys_not_recorded", reason=error.message)


class RestingZones:
    """Owner of the keys whose conntrack zones know connections of ports that are gone, beside the program's."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._seeded: frozenset[int] = frozenset()  # keys that interfaces carried when the program was new
        self._stale: set[int] = set()  # keys of ports that went while no agent was here
        self._woken = asyncio.Event()

    def begin(self, program: FlowProgram) -> None:
        """Know that a program is new: its keys are those that interfaces carry."""
        self._seeded = frozenset(program.port_keys.values())

    def found(self, program: FlowProgram, keys: frozenset[int]) -> None:
        """Flows of these keys were removed that nobody wants."""
        # A key that is on an interface is that port's own, whatever else of it has changed.
        self._stale |= keys - self._seeded.intersection(program.port_keys.values())
        self._woken.set()

    def follow(self, program: FlowProgram) -> None:
        """Look whether keys were put to rest. O(1)."""
        if program.resting_port_keys:
            self._woken.set()

    async def empty_some(self, program: FlowProgram, switch: OpenFlowConnection) -> bool:
        """Forget connections of ports that are gone; only then may their keys be given again. More to do?"""
        zones = [*islice(chain(program.resting_port_keys, self._stale), ZONES_AT_ONCE)]
        if zones:
            await switch.flush_zones(zones)
            program.wake_port_keys(zones)
            self._stale.difference_update(zones)
        return bool(program.resting_port_keys or self._stale)

    async def run(self, turn: Callable[[], Awaitable[bool]]) -> None:
        """Empty zones forever. `turn`: waits until `empty_some` may work and lets it, unless it may not yet."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                while await turn():
                    pass
            except AlcorError as error:  # tried again after the next change or session
                self._log.warning("connections_not_forgotten", reason=error.message)
