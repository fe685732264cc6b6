"""Sees every commit and every write to a switch, and says when a host is given what it may never hold.

A section with revision R may be on a host only if the host's own ports reached its network or router at R; what
is in it must be of that network, and of that host. It reads rows alone, as `compiler.full` does.
"""

from collections import defaultdict
from collections.abc import Callable

from alcor.contracts.store import Change
from alcor.control_plane.region import Region
from alcor.model import goal_state
from alcor.model.goal_state import HostState, NetworkChange, NetworkSection, SectionKey, SectionUpdate
from alcor.model.ids import HostId, NetworkId, PortId, RouterId
from alcor.model.version import Version


class Witness:
    """Owner of what was ever true: where ports were, and what hosts reached at each revision."""

    def __init__(self, violation: Callable[[str], None]) -> None:
        self._violation = violation
        self._region = Region()
        self._reached: list[dict[HostId, set[SectionKey]]] = [{}]  # by revision
        self._network_of: dict[PortId, NetworkId] = {}
        self._hosts_of: dict[PortId, set[HostId]] = defaultdict(set)

    def committed(self, change: Change) -> None:
        """Hear of a commit; they come in order."""
        self._region.fold(change)
        for port in change.puts.ports:
            self._network_of[port.id] = port.network_id
            self._hosts_of[port.id].add(port.host)
        self._reached.append(self._reach())

    def given(self, host: HostId, key: SectionKey, version: Version, change: object) -> None:
        """A host was given a section, or a change of it."""
        if version.revision >= len(self._reached):
            self._violation(f"host {host}: {key} is of revision {version.revision}, which nobody committed")
        elif not key.startswith(("group:", "addresses:")) and key not in self._reached[version.revision].get(
            host, ()
        ):
            self._violation(f"host {host} was given {key} of revision {version.revision}, out of its reach")
        if isinstance(change, NetworkChange):
            for placement in change.set_placements:
                if goal_state.network_key(self._network_of.get(placement.port_id, "")) != key:
                    self._violation(f"host {host}: {key} has {placement}, which is not of that network")
            for port in change.set_ports:
                if host not in self._hosts_of[port.id]:
                    self._violation(f"host {host}: {key} has {port}, which was never bound to it")

    def _reach(self) -> dict[HostId, set[SectionKey]]:
        own: dict[HostId, set[NetworkId]] = defaultdict(set)
        routers_of: dict[NetworkId, set[RouterId]] = defaultdict(set)
        networks_of: dict[RouterId, set[NetworkId]] = defaultdict(set)
        for row in self._region.ports.values():
            if row.is_local:
                own[row.host].add(row.network_id)
            if row.router:
                routers_of[row.network_id].add(row.router)
                networks_of[row.router].add(row.network_id)
        found: dict[HostId, set[SectionKey]] = {}
        for host, networks in own.items():
            routers = set().union(*(routers_of[network_id] for network_id in networks))
            reached = networks.union(*(networks_of[router_id] for router_id in routers))
            found[host] = set(map(goal_state.network_key, reached)) | set(map(goal_state.router_key, routers))
        return found


def content(state: HostState, key: SectionKey, update: SectionUpdate | None) -> object:
    """Give what was written of a section: the update's change, or all of it."""
    if update is not None:
        return update.change
    section = state.sections[key]
    return section.full() if isinstance(section, NetworkSection) else None
