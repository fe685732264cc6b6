"""The simulated data plane behind the contract: a host that is one object."""

import asyncio
from collections.abc import Sequence

from alcor.contracts.data_plane import DataPlaneEvents, HostFacts, Refusal
from alcor.data_plane.pipeline.refusal import refusals
from alcor.data_plane.simulated.fabric import Fabric
from alcor.data_plane.simulated.host import SimulatedHost
from alcor.data_plane.simulated.switch import Passage
from alcor.model.goal_state import HostState, NetworkChange, NetworkSection, SectionUpdate
from alcor.model.ids import PortId


class SimulatedDataPlane:
    """Owns one simulated host. Nothing is computed for a host that no packet visits."""

    name = "simulated"
    answers_at_once = True

    def __init__(self, facts: HostFacts, fabric: Fabric) -> None:
        self.host = SimulatedHost(facts, now_s=lambda: asyncio.get_running_loop().time())
        self._fabric = fabric
        self._events: DataPlaneEvents | None = None
        self._state: HostState | None = None
        self._announced: set[PortId] = set()

    async def start(self, events: DataPlaneEvents) -> None:
        """Join the fabric; ready at once."""
        self._events = events
        self._fabric.join(self.host)
        self.host.asks_by(events.unknown, self._resume)
        self.host.on_announced = events.announced
        events.ready()

    async def synchronise(self, state: HostState, *, remove: bool) -> Sequence[Refusal]:
        """Hold the state. O(state)."""
        self._state = state
        self.host.hold(state, remove=remove)
        self.host.go_on()
        self.announce((*self.host.plugged, *sorted(self._announced)))
        return refusals(state, state.full_updates())

    async def apply(self, state: HostState, updates: Sequence[SectionUpdate]) -> Sequence[Refusal]:
        """Follow the updates. O(updates)."""
        self._state = state
        self.host.follow(state, updates)
        self.host.go_on()
        if self.host.workloads:
            for update in updates:
                self.announce(self._ports_touched(update))
        return refusals(state, updates)

    def neighbours(self) -> int:
        """Count the placements held. O(sections)."""
        sections = self._state.sections.values() if self._state is not None else ()
        return sum(len(section.placements) for section in sections if isinstance(section, NetworkSection))

    def grant(self, token: int) -> None:
        """Nobody else writes to what is in this process."""

    @property
    def token(self) -> int:
        return 0

    @property
    def holds_more(self) -> bool:
        return self.host.holds_more

    def plugged_ports(self) -> Sequence[PortId]:
        """Name the ports known here whose workload is attached, sorted."""
        return [port_id for port_id in self.host.plugged if self._is_known(port_id)]

    async def close(self) -> None:
        """Stop telling. The host goes on forwarding."""
        self._events = None
        self.host.on_announced = None
        self.host.asks_by(None, self._resume)

    def plug(self, port_id: PortId) -> None:
        """Attach a workload, as a hypervisor would."""
        self.host.plug(port_id)
        self.announce((port_id,))

    def unplug(self, port_id: PortId) -> None:
        """Take a workload away."""
        self.host.unplug(port_id)
        self.announce((port_id,))

    def _resume(self, passage: Passage, in_port: int) -> None:
        self._fabric.follow_late(self.host, passage, in_port)

    def announce(self, port_ids: Sequence[PortId]) -> None:
        """Tell which of the ports, and of their sub-ports, are plugged now and were not, and the reverse."""
        for port_id in sorted(self.host.reached_through(port_ids)):
            is_plugged = self.host.ofport(port_id) is not None and self._is_known(port_id)
            if is_plugged == (port_id in self._announced):
                continue
            if is_plugged:
                self._announced.add(port_id)
                if self._events is not None:
                    self._events.plugged(port_id)
            else:
                self._announced.discard(port_id)
                if self._events is not None:
                    self._events.unplugged(port_id)

    def _is_known(self, port_id: PortId) -> bool:
        sections = self._state.sections.values() if self._state is not None else ()
        return any(isinstance(section, NetworkSection) and port_id in section.ports for section in sections)

    def _ports_touched(self, update: SectionUpdate) -> Sequence[PortId]:
        """Name the ports that the update may have brought or taken."""
        change = update.change if isinstance(update.change, NetworkChange) else NetworkChange()
        named = (*(port.id for port in change.set_ports), *change.gone_ports)
        return named if update.base is not None else (*named, *sorted(self._announced))
