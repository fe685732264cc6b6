"""Sees every commit, every write to a switch and packets that arrive, and says when a host is given what it may
never hold, or a workload what it may never see.

A section with revision R may be on a host only if the host's own ports reached its network or router at R; what
is in it must be of that network, and of that host, and no address in it, of either version, may be another's.
It reads rows alone, as `compiler.full` does.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import assert_never

from alcor.contracts.store import Change
from alcor.control_plane.region import Region
from alcor.model import goal_state
from alcor.model.goal_state import (
    AddressesChange,
    AddressesKey,
    GroupKey,
    GroupSection,
    HostState,
    NetworkChange,
    NetworkKey,
    Prefix,
    RouterChange,
    RouterKey,
    SectionKey,
    SectionUpdate,
)
from alcor.model.ids import AddressGroupId, HostId, NetworkId, PortId, RouterId, SubnetId
from alcor.model.records import AddressPair
from alcor.model.version import Version


class Witness:
    """Owner of what was ever true: where ports were, and what hosts reached at each revision."""

    def __init__(self, violation: Callable[[str], None]) -> None:
        self._violation = violation
        self._region = Region()
        self._reached: list[dict[HostId, set[SectionKey]]] = [{}]  # by revision
        self._network_of: dict[PortId, NetworkId] = {}
        self._hosts_of: dict[PortId, set[HostId]] = defaultdict(set)
        self._ips_of: dict[PortId, set[bytes]] = defaultdict(set)
        self._pairs_of: dict[PortId, set[AddressPair]] = defaultdict(set)
        self._met: dict[NetworkId, set[NetworkId]] = defaultdict(set)  # networks that ever shared a router
        self._subnets_of: dict[NetworkId, set[SubnetId]] = defaultdict(set)
        self._prefixes_of: dict[AddressGroupId, set[Prefix]] = defaultdict(set)

    def committed(self, change: Change) -> None:
        """Hear of a commit; they come in order."""
        self._region.fold(change)
        for port in change.puts.ports:
            self._network_of[port.id] = port.network_id
            self._hosts_of[port.id].add(port.host)
            self._ips_of[port.id].update(fixed.ip for fixed in port.fixed_ips)
            self._ips_of[port.id].update(port.announced)
            self._pairs_of[port.id].update(port.address_pairs)
        for subnet in change.puts.subnets:
            self._subnets_of[subnet.network_id].add(subnet.id)
        for entry in change.puts.address_group_entries:
            self._prefixes_of[entry.address_group_id].add(entry.prefix)
        self._reached.append(self._reach())

    def given(self, host: HostId, key: SectionKey, version: Version, change: object) -> None:
        """A host was given a section, or a change of it."""
        if version.revision >= len(self._reached):
            self._violation(f"host {host}: {key} is of revision {version.revision}, which nobody committed")
        elif not self._is_in_reach(host, key, version.revision):
            self._violation(f"host {host} was given {key} of revision {version.revision}, out of its reach")
        match change:
            case NetworkChange():
                self._network_given(host, key, change)
            case RouterChange():
                for leg in change.set_interfaces:
                    if leg.ip not in self._ips_of[leg.port_id]:
                        self._violation(f"host {host}: {key} has {leg}, whose address it never was")
            case AddressesChange():
                known = self._prefixes_of[AddressGroupId(goal_state.parse_key(key).id)]
                for prefix in sorted(set(change.set_addresses) - known):
                    self._violation(f"host {host}: {key} has {prefix}, which was never in it")
            case _:
                pass  # rules name no addresses of ports

    def arrived(self, sender: PortId, receiver: PortId) -> None:
        """A packet reached a workload, which must be of the sender's network or one a router away, ever."""
        one, other = self._network_of[sender], self._network_of[receiver]
        if one != other and other not in self._met[one]:
            self._violation(f"a packet of port {sender} of {one} reached port {receiver} of {other}")

    def _is_in_reach(self, host: HostId, key: SectionKey, revision: int) -> bool:
        match goal_state.parse_key(key):
            case NetworkKey() | RouterKey():
                return key in self._reached[revision].get(host, ())
            case GroupKey() | AddressesKey():
                return True  # they name no addresses of ports
            case _ as never:
                assert_never(never)

    def _network_given(self, host: HostId, key: SectionKey, change: NetworkChange) -> None:
        for placement in change.set_placements:
            if goal_state.network_key(self._network_of.get(placement.port_id, "")) != key:
                self._violation(f"host {host}: {key} has {placement}, which is not of that network")
            if not self._ips_of[placement.port_id].issuperset((*placement.ips, *placement.announced)):
                self._violation(f"host {host}: {key} has {placement}, one of whose addresses it never had")
            if not self._pairs_of[placement.port_id].issuperset(placement.pairs):
                self._violation(f"host {host}: {key} has {placement}, one of whose pairs it never had")
        for port in change.set_ports:
            if host not in self._hosts_of[port.id]:
                self._violation(f"host {host}: {key} has {port}, which was never bound to it")
            if not self._ips_of[port.id].issuperset(fixed.ip for fixed in port.fixed_ips):
                self._violation(f"host {host}: {key} has {port}, one of whose addresses it never had")
        subnets = self._subnets_of[NetworkId(goal_state.parse_key(key).id)]
        for subnet in change.set_subnets:
            if subnet.id not in subnets:
                self._violation(f"host {host}: {key} has {subnet}, which is not of that network")

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
        for joined in networks_of.values():
            for network_id in joined:
                self._met[network_id] |= joined
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
    return None if section is None or isinstance(section, GroupSection) else section.full()
