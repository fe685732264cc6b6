"""Which ports of a host are reached through the workload of another, and under which VLAN."""

from collections.abc import Iterable, Sequence

from alcor.model.goal_state import HostState, LocalPort, NetworkSection, Tag
from alcor.model.ids import PortId


class SubPorts:
    """Owns the tags of a host's own ports."""

    def __init__(self) -> None:
        self._tags: dict[PortId, Tag] = {}
        self._children: dict[PortId, dict[PortId, int]] = {}  # parent -> sub-port -> VLAN

    @classmethod
    def of(cls, state: HostState) -> "SubPorts":
        """Read those of a host's state. O(its own ports)."""
        found = cls()
        for section in state.sections.values():
            if isinstance(section, NetworkSection):
                for port in section.ports.values():
                    found.put(port.id, port)
        return found

    def put(self, port_id: PortId, port: LocalPort | None) -> Sequence[PortId]:
        """Note what a port is now (None: gone); name the parents whose sub-ports are others now."""
        before = self._tags.get(port_id)
        after = port.tag if port is not None else None
        if before == after:
            return ()
        if before is not None:
            del self._tags[port_id]
            children = self._children[before.parent]
            del children[port_id]
            if not children:
                del self._children[before.parent]
        if after is not None:
            self._tags[port_id] = after
            self._children.setdefault(after.parent, {})[port_id] = after.vlan
        return tuple(tag.parent for tag in (before, after) if tag is not None)

    def tag(self, port_id: PortId) -> Tag | None:
        """Give the tag of a sub-port; None of other ports."""
        return self._tags.get(port_id)

    def carrier(self, port_id: PortId) -> PortId:
        """Name the port whose workload a port is reached through: its own, or its parent's."""
        tag = self._tags.get(port_id)
        return port_id if tag is None else tag.parent

    def has_any(self, parent: PortId) -> bool:
        """Has the port sub-ports?"""
        return parent in self._children

    def at(self, parent: PortId, vlan: int) -> PortId | None:
        """Name the sub-port that a parent's workload has under a VLAN. O(its sub-ports)."""
        found = (port_id for port_id, each in self._children.get(parent, _NOTHING).items() if each == vlan)
        return min(found, default=None)

    def reached_through(self, carriers: Iterable[PortId]) -> set[PortId]:
        """Name all ports that are plugged when these ports' workloads are: themselves, and their sub-ports."""
        found = set(carriers)
        for carrier in tuple(found):
            found.update(self._children.get(carrier, _NOTHING))
        return found


_NOTHING: dict[PortId, int] = {}
