"""Folds one change into the region and gives each host concerned its sections' changes (laws 4 and 5). Pure.

    Change -> Touched (state before) -> Region.fold -> deltas of sections, the same for all who hold them
                                                     + suspects: who gained or lost a section
                                                     -> HostSections per host

Work grows with the change and the hosts concerned, never with the size of a network; only a host new to a
section gets it in full, made once per change for all such hosts.
"""

import msgspec

from alcor.contracts.store import Change
from alcor.control_plane.compiler import interest, on_demand, sections
from alcor.control_plane.compiler.changes import Changes, OwnPorts
from alcor.control_plane.compiler.interest import Interest, Suspects
from alcor.control_plane.compiler.on_demand import HostPlacements
from alcor.control_plane.compiler.sections import HostSection, SharedPart
from alcor.control_plane.compiler.touched import Touched
from alcor.control_plane.nodes import NetworkNode
from alcor.control_plane.region import Region
from alcor.model.goal_state import LocalPort, NetworkChange, Placement, SectionKey
from alcor.model.ids import GroupId, HostId, NetworkId, PortId, RouterId


class WorkCount(msgspec.Struct):
    """What a compilation did, for the tests of law 4."""

    rows_touched: int = 0
    entries_built: int = 0  # shared entries and own ports
    full_entries_built: int = 0  # entries of sections made in full, for hosts new to them
    suspects_checked: int = 0
    hosts_concerned: int = 0
    sections_given: int = 0


class Compiled(msgspec.Struct, frozen=True):
    """A change as the hosts get it. `hosts`: host -> its sections; groups, routers, then networks."""

    change: Change
    hosts: dict[HostId, list[HostSection]]
    changed_keys: frozenset[SectionKey]  # sections whose shared part changed, whoever holds them
    work: WorkCount


class IncrementalCompiler:
    """Owner of the region's growth and of what each host wants."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.interest = Interest(region)

    def load(self) -> None:
        """Start from the region as it was loaded."""
        self.interest.load()

    def fold(self, change: Change) -> Compiled:
        """Make the next change and tell what each host must learn of it."""
        before = Touched(self.region, change)
        self.region.fold(change)
        return _Pass(self.region, self.interest, change, before).run()


class _Pass:
    """One change's compilation. Lives for one call of `fold`."""

    def __init__(self, region: Region, held: Interest, change: Change, before: Touched) -> None:
        self._region = region
        self._interest = held
        self._change = change
        self._before = before
        self._changes = Changes(region, before)
        self._given: dict[HostId, dict[SectionKey, HostSection]] = {}
        self._full: dict[SectionKey, SharedPart] = {}
        self._placed: dict[NetworkId, HostPlacements] = {}
        self._work = WorkCount(rows_touched=len(before.ports) + len(before.rules) + len(before.subnets))

    def run(self) -> Compiled:
        suspects = self._interest.suspects(self._before)
        self._hand_over_groups(suspects)
        self._give_groups()
        self._hand_over_routers(suspects)
        self._give_routers()
        self._placed = on_demand.settle(self._region, self._interest, self._before, self._changes.networks())
        self._hand_over_networks(suspects)
        self._give_networks()
        self._work.entries_built = self._changes.entries_built
        hosts = {host_id: list(given.values()) for host_id, given in self._given.items()}
        self._note(hosts)
        return Compiled(self._change, hosts, self._changed_keys(), self._work)

    def _changed_keys(self) -> frozenset[SectionKey]:
        return frozenset(
            (
                *(interest.network_key(id_) for id_ in self._changes.networks()),
                *(interest.router_key(id_) for id_ in self._changes.routers()),
                *(interest.group_key(id_) for id_ in self._changes.groups()),
            )
        )

    def _note(self, hosts: dict[HostId, list[HostSection]]) -> None:
        revision = self._change.revision
        for host_id, given in hosts.items():
            for section in given:
                if section.shared is None:
                    self._interest.drop(host_id, section.key)
                else:
                    self._interest.touch(host_id, section.key, revision)
            self._work.sections_given += len(given)
        self._work.hosts_concerned = len(hosts)

    def _give(self, host_id: HostId, section: HostSection) -> None:
        self._given.setdefault(host_id, {})[section.key] = section

    def _gives(self, host_id: HostId, key: SectionKey) -> bool:
        return key in self._given.get(host_id, ())

    # Networks

    def _hand_over_networks(self, suspects: Suspects) -> None:
        for host_id, network_ids in suspects.networks.items():
            for network_id in sorted(network_ids):
                self._work.suspects_checked += 1
                key = interest.network_key(network_id)
                had = self._interest.has(host_id, key)
                wants = self._interest.wants_network(host_id, network_id)
                if wants and not had:
                    self._give(host_id, self._network_in_full(host_id, network_id))
                elif had and not wants:
                    self._give(host_id, HostSection(key, None, is_full=True))

    def _network_in_full(self, host_id: HostId, network_id: NetworkId) -> HostSection:
        node = self._region.networks[network_id]
        shared = self._full.get(node.key)
        if shared is None:
            change = sections.network_in_full(node)
            shared = self._full[node.key] = SharedPart(change)
            self._work.full_entries_built += len(change.set_placements) + len(change.set_subnets)
        own = sections.local_ports(host_id, node)
        learned = self._interest.learned.of(host_id, network_id)
        placements = sections.host_placements(self._region, host_id, node, learned)
        self._work.full_entries_built += len(own) + len(placements)
        return HostSection(node.key, shared, is_full=True, set_ports=own, set_placements=placements)

    def _give_networks(self) -> None:
        own = self._changes.own_ports()
        for network_id, change in self._changes.networks().items():
            node = self._region.networks.get(network_id)
            if node is None:
                continue
            if on_demand.is_turned(self._before, node):
                for host_id in self._interest.network_holders(network_id):
                    if not self._gives(host_id, node.key):
                        self._give(host_id, self._network_in_full(host_id, network_id))
                continue
            if node.on_demand:
                self._give_on_demand(node, change, own)
                continue
            shared = SharedPart(change)
            for host_id in self._interest.network_holders(network_id):
                if not self._gives(host_id, node.key):
                    set_ports, gone_ports = own.pop((host_id, network_id), _NO_OWN)
                    self._give(
                        host_id,
                        HostSection(
                            node.key,
                            shared,
                            is_full=False,
                            set_ports=tuple(set_ports),
                            gone_ports=tuple(gone_ports),
                        ),
                    )
        for (host_id, network_id), (set_ports, gone_ports) in own.items():
            key = interest.network_key(network_id)
            if self._interest.has(host_id, key) and not self._gives(host_id, key):
                self._give(
                    host_id,
                    HostSection(
                        key,
                        sections.NOTHING_OF_NETWORK,
                        is_full=False,
                        set_ports=tuple(set_ports),
                        gone_ports=tuple(gone_ports),
                    ),
                )

    def _give_on_demand(self, node: NetworkNode, change: NetworkChange, own: OwnPorts) -> None:
        """Tell all what all must know, and of placements only those who have or asked for them."""
        common = msgspec.structs.replace(change, set_placements=(), gone_placements=())
        placed = self._placed.get(node.id, {})
        hosts = dict.fromkeys(placed)
        if common != NetworkChange():
            hosts |= dict.fromkeys(self._interest.network_holders(node.id))
        shared = SharedPart(common)
        for host_id in hosts:
            if self._gives(host_id, node.key) or not self._interest.has(host_id, node.key):
                continue
            set_ports, gone_ports = own.pop((host_id, node.id), _NO_OWN)
            set_placements, gone_placements = placed.get(host_id, _NO_PLACEMENTS)
            self._give(
                host_id,
                HostSection(
                    node.key,
                    shared,
                    is_full=False,
                    set_ports=tuple(set_ports),
                    gone_ports=tuple(gone_ports),
                    set_placements=tuple(set_placements),
                    gone_placements=tuple(gone_placements),
                ),
            )

    # Routers

    def _hand_over_routers(self, suspects: Suspects) -> None:
        for host_id, router_ids in suspects.routers.items():
            for router_id in sorted(router_ids):
                self._work.suspects_checked += 1
                key = interest.router_key(router_id)
                had = self._interest.has(host_id, key)
                wants = self._interest.wants_router(host_id, router_id)
                if wants and not had:
                    self._give(host_id, self._router_in_full(router_id))
                elif had and not wants:
                    self._give(host_id, HostSection(key, None, is_full=True))

    def _router_in_full(self, router_id: RouterId) -> HostSection:
        node = self._region.routers[router_id]
        shared = self._full.get(node.key)
        if shared is None:
            change = sections.router_in_full(node)
            shared = self._full[node.key] = SharedPart(change)
            self._work.full_entries_built += len(change.set_interfaces)
        return HostSection(node.key, shared, is_full=True)

    def _give_routers(self) -> None:
        for router_id, change in self._changes.routers().items():
            node = self._region.routers.get(router_id)
            if node is None:
                continue
            shared = SharedPart(change)
            for host_id in self._interest.router_holders(router_id):
                if not self._gives(host_id, node.key):
                    self._give(host_id, HostSection(node.key, shared, is_full=False))

    # Security groups

    def _hand_over_groups(self, suspects: Suspects) -> None:
        for host_id, group_ids in suspects.groups.items():
            for group_id in sorted(group_ids):
                self._work.suspects_checked += 1
                key = interest.group_key(group_id)
                had = self._interest.has(host_id, key)
                wants = self._interest.wants_group(host_id, group_id)
                if wants and not had:
                    self._give(host_id, self._group_in_full(group_id))
                elif had and not wants:
                    self._give(host_id, HostSection(key, None, is_full=True))

    def _group_in_full(self, group_id: GroupId) -> HostSection:
        node = self._region.groups[group_id]
        shared = self._full.get(node.key)
        if shared is None:
            change = sections.group_in_full(node)
            shared = self._full[node.key] = SharedPart(change)
            self._work.full_entries_built += len(change.set_rules)
        return HostSection(node.key, shared, is_full=True)

    def _give_groups(self) -> None:
        for group_id, change in self._changes.groups().items():
            node = self._region.groups.get(group_id)
            if node is None:
                continue
            shared = SharedPart(change)
            for host_id in node.hosts:
                if not self._gives(host_id, node.key):
                    self._give(host_id, HostSection(node.key, shared, is_full=False))


_NO_OWN: tuple[list[LocalPort], list[PortId]] = ([], [])
_NO_PLACEMENTS: tuple[list[Placement], list[PortId]] = ([], [])
__all__ = ["Compiled", "IncrementalCompiler", "NetworkChange", "WorkCount"]
