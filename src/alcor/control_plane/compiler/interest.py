"""Which host wants which section since which revision, kept change by change. Pure.

    a port on host H in network N     -> H wants networks in domain(N) and routers of N
    a secured port on H in group G    -> H wants G, and the address groups that rules of G are about

Only these can change what a host wants: the first or last port of a host in a network or group, a network
joining or leaving a router, and a group's first or last rule about an address group. Each gives *suspects*, and
only suspects are looked at.
"""

from collections.abc import Iterable

from alcor.control_plane.compiler.learned import Learned
from alcor.control_plane.compiler.touched import Touched
from alcor.control_plane.region import Region
from alcor.model import goal_state
from alcor.model.goal_state import AddressesKey, GroupKey, NetworkKey, ParsedKey, RouterKey, SectionKey
from alcor.model.ids import AddressGroupId, GroupId, HostId, NetworkId, RouterId
from alcor.model.version import Version


class Suspects:
    """Sections whose place on a host may have changed."""

    __slots__ = ("addresses", "groups", "networks", "routers")

    def __init__(self) -> None:
        self.networks: dict[HostId, set[NetworkId]] = {}
        self.routers: dict[HostId, set[RouterId]] = {}
        self.groups: dict[HostId, set[GroupId]] = {}
        self.addresses: dict[HostId, set[AddressGroupId]] = {}

    def suspect_networks(self, host_id: HostId, ids: Iterable[NetworkId]) -> None:
        self.networks.setdefault(host_id, set()).update(ids)

    def suspect_routers(self, host_id: HostId, ids: Iterable[RouterId]) -> None:
        self.routers.setdefault(host_id, set()).update(ids)

    def suspect_groups(self, host_id: HostId, ids: Iterable[GroupId]) -> None:
        self.groups.setdefault(host_id, set()).update(ids)

    def suspect_addresses(self, host_id: HostId, ids: Iterable[AddressGroupId]) -> None:
        self.addresses.setdefault(host_id, set()).update(ids)


class Interest:
    """Owner of what each host wants.

    `wanted`: host -> section key -> revision that last touched the section there.
    `learned`: the placements of on-demand networks that hosts asked for.
    """

    def __init__(self, region: Region) -> None:
        self._region = region
        self.wanted: dict[HostId, dict[SectionKey, int]] = {}
        self.learned = Learned()

    def load(self) -> None:
        """Work out what every host wants, all at the region's revision. O(hosts x their sections)."""
        region = self._region
        for host in region.hosts.values():
            routers = {router_id for id_ in host.networks for router_id in region.networks[id_].routers}
            networks = {*host.networks, *(id_ for each in routers for id_ in region.routers[each].networks)}
            keys = [region.networks[id_].key for id_ in sorted(networks)]
            keys += [region.routers[id_].key for id_ in sorted(routers)]
            keys += [region.groups[id_].key for id_ in sorted(host.groups)]
            named = {about for id_ in host.groups for about in region.groups[id_].address_groups}
            keys += [region.address_groups[id_].key for id_ in sorted(named)]
            if keys:
                self.wanted[host.id] = dict.fromkeys(keys, region.revision)

    def wants_network(self, host_id: HostId, network_id: NetworkId) -> bool:
        """Has the host a port in the network or one router away from it? O(its routers)."""
        network = self._region.networks.get(network_id)
        if network is None:
            return False
        return host_id in network.hosts or any(self.wants_router(host_id, id_) for id_ in network.routers)

    def wants_router(self, host_id: HostId, router_id: RouterId) -> bool:
        """Has the host a port in a network of the router?"""
        router = self._region.routers.get(router_id)
        return router is not None and host_id in router.hosts

    def wants_group(self, host_id: HostId, group_id: GroupId) -> bool:
        """Has the host a port that the group filters?"""
        group = self._region.groups.get(group_id)
        return group is not None and host_id in group.hosts

    def wants_addresses(self, host_id: HostId, address_group_id: AddressGroupId) -> bool:
        """Has a group that filters a port of the host a rule about the address group?"""
        host = self._region.hosts.get(host_id)
        node = self._region.address_groups.get(address_group_id)
        return host is not None and node is not None and not host.groups.keys().isdisjoint(node.groups)

    def suspects(self, before: Touched) -> Suspects:
        """Name what may have changed hands, after the change was folded."""
        found = Suspects()
        self._suspect_by_ports(before, found)
        self._suspect_by_routers(found)
        self._suspect_by_groups(before, found)
        return found

    def _suspect_by_ports(self, before: Touched, found: Suspects) -> None:
        for (host_id, network_id), had in before.on_host.items():
            network = self._region.networks.get(network_id)
            if had != (network is not None and host_id in network.hosts):
                found.suspect_networks(host_id, (network_id,))

    def _suspect_by_routers(self, found: Suspects) -> None:
        """O(what came to routers or left them), and of hosts that did O(networks of the router)."""
        routers, turned = self._region.routers, self._region.turned
        moved: dict[RouterId, list[NetworkId]] = {}
        for (router_id, network_id), was_in in turned.networks.items():
            router = routers.get(router_id)
            if was_in != (router is not None and network_id in router.networks):
                moved.setdefault(router_id, []).append(network_id)
        for router_id, network_ids in moved.items():
            for host_id in self.router_holders(router_id):
                found.suspect_networks(host_id, network_ids)
        for (router_id, host_id), was_there in turned.hosts.items():
            if was_there != self.wants_router(host_id, router_id):
                router = routers.get(router_id)
                found.suspect_routers(host_id, (router_id,))
                found.suspect_networks(host_id, router.networks if router is not None else ())
                found.suspect_networks(host_id, moved.get(router_id, ()))

    def _suspect_by_groups(self, before: Touched, found: Suspects) -> None:
        for (host_id, group_id), had in before.in_group.items():
            if had != self.wants_group(host_id, group_id):
                found.suspect_groups(host_id, (group_id,))
                found.suspect_addresses(host_id, before.rules_about.get(group_id, ()))
                found.suspect_addresses(host_id, self._rules_about(group_id))
        for group_id, was_about in before.rules_about.items():
            turned = was_about ^ self._rules_about(group_id)
            for host_id in self.group_holders(group_id) if turned else ():
                found.suspect_addresses(host_id, turned)

    def _rules_about(self, group_id: GroupId) -> frozenset[AddressGroupId]:
        group = self._region.groups.get(group_id)
        return frozenset(group.address_groups if group is not None else ())

    def network_holders(self, network_id: NetworkId) -> Iterable[HostId]:
        """Name the hosts that want the network. O(those hosts x its routers)."""
        network = self._region.networks.get(network_id)
        found: dict[HostId, None] = {}
        if network is not None:
            found.update(dict.fromkeys(network.hosts))
            for router_id in network.routers:
                found.update(dict.fromkeys(self._region.routers[router_id].hosts))
        return found

    def router_holders(self, router_id: RouterId) -> Iterable[HostId]:
        """Name the hosts that want the router."""
        router = self._region.routers.get(router_id)
        return router.hosts if router is not None else ()

    def group_holders(self, group_id: GroupId) -> Iterable[HostId]:
        """Name the hosts that want the group."""
        group = self._region.groups.get(group_id)
        return group.hosts if group is not None else ()

    def addresses_holders(self, address_group_id: AddressGroupId) -> Iterable[HostId]:
        """Name the hosts that want the address group. O(those hosts x groups with rules about it)."""
        node = self._region.address_groups.get(address_group_id)
        return dict.fromkeys(
            host_id
            for group_id in (node.groups if node is not None else ())
            for host_id in self.group_holders(group_id)
        )

    def touch(self, host_id: HostId, key: SectionKey, revision: int) -> None:
        """Note that the section changed on the host."""
        self.wanted.setdefault(host_id, {})[key] = revision
        self.learned.restart(host_id, key)

    def drop(self, host_id: HostId, key: SectionKey) -> None:
        """Note that the host wants the section no longer."""
        wanted = self.wanted[host_id]
        del wanted[key]
        parsed = goal_state.parse_key(key)
        if isinstance(parsed, NetworkKey):
            self.learned.drop_network(host_id, parsed.id)
        self.learned.restart(host_id, key)
        if not wanted:
            del self.wanted[host_id]

    def has(self, host_id: HostId, key: SectionKey) -> bool:
        """Did the host want it, as far as noted?"""
        return key in self.wanted.get(host_id, ())

    def wanted_version(self, host_id: HostId, key: SectionKey, *, epoch: int) -> Version:
        """Give the version in which a host must hold a section that it wants. O(1)."""
        return Version(epoch, self.wanted[host_id][key], self.learned.step(host_id, key))


def keys_of(host_sections: Iterable[SectionKey]) -> list[SectionKey]:
    """Sort keys in the order of delivery: addresses, groups, routers, then networks: a port comes last."""
    return sorted(host_sections, key=_delivery_order)


def _delivery_order(key: SectionKey) -> tuple[int, SectionKey]:
    return _ORDER[type(goal_state.parse_key(key))], key


_ORDER: dict[type[ParsedKey], int] = {AddressesKey: 0, GroupKey: 1, RouterKey: 2, NetworkKey: 3}
