"""Folds one change into the region and gives each host concerned its sections' changes (laws 4 and 5). Pure.

    Change -> Touched (state before) -> Region.fold -> deltas of sections, the same for all who hold them
                                                     + suspects: who gained or lost a section
                                                     -> HostSections per host

Work grows with the change and the hosts concerned, never with the size of a network; only a host new to a
section gets it in full, made once per change for all such hosts.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import msgspec

from alcor.contracts.store import Change
from alcor.control_plane.compiler import on_demand, sections
from alcor.control_plane.compiler.changes import Changes, OwnPorts
from alcor.control_plane.compiler.interest import Interest
from alcor.control_plane.compiler.on_demand import HostPlacements
from alcor.control_plane.compiler.sections import HostSection, SharedPart
from alcor.control_plane.compiler.touched import Touched
from alcor.control_plane.nodes import NetworkNode
from alcor.control_plane.region import Region
from alcor.model import goal_state
from alcor.model.goal_state import LocalPort, NetworkChange, Placement, SectionChange, SectionKey
from alcor.model.ids import HostId, NetworkId, PortId

_Id = TypeVar("_Id", bound=str)


class WorkCount(msgspec.Struct):
    """What a compilation did, for the tests of law 4."""

    rows_touched: int = 0
    entries_built: int = 0  # shared entries and own ports
    full_entries_built: int = 0  # entries of sections made in full, for hosts new to them
    suspects_checked: int = 0
    hosts_concerned: int = 0
    sections_given: int = 0


class Compiled(msgspec.Struct, frozen=True):
    """A change as the hosts get it. `hosts`: host -> its sections in the order of delivery."""

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
        held = self._interest
        self._hand_over(suspects.addresses, goal_state.addresses_key, held.wants_addresses)
        for addresses_id, addresses_change in self._changes.addresses.items():
            holders = held.addresses_holders(addresses_id)
            self._give_all(goal_state.addresses_key(addresses_id), addresses_change, holders)
        self._hand_over(suspects.groups, goal_state.group_key, held.wants_group)
        for group_id, group_change in self._changes.groups().items():
            self._give_all(goal_state.group_key(group_id), group_change, held.group_holders(group_id))
        self._hand_over(suspects.routers, goal_state.router_key, held.wants_router)
        for router_id, router_change in self._changes.routers().items():
            self._give_all(goal_state.router_key(router_id), router_change, held.router_holders(router_id))
        self._placed = on_demand.settle(self._region, self._interest, self._before, self._changes.networks())
        self._hand_over(suspects.networks, goal_state.network_key, held.wants_network)
        self._give_networks()
        self._work.entries_built = self._changes.entries_built
        hosts = {host_id: list(given.values()) for host_id, given in self._given.items()}
        self._note(hosts)
        return Compiled(self._change, hosts, self._changed_keys(), self._work)

    def _changed_keys(self) -> frozenset[SectionKey]:
        return frozenset(
            (
                *(goal_state.network_key(id_) for id_ in self._changes.networks()),
                *(goal_state.router_key(id_) for id_ in self._changes.routers()),
                *(goal_state.group_key(id_) for id_ in self._changes.groups()),
                *(goal_state.addresses_key(id_) for id_ in self._changes.addresses),
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

    def _hand_over(
        self,
        suspects: Mapping[HostId, set[_Id]],
        key_of: Callable[[str], SectionKey],
        wants: Callable[[HostId, _Id], bool],
    ) -> None:
        """Give sections to hosts that want them now, and take them from those that no longer do."""
        for host_id, ids in suspects.items():
            for id_ in sorted(ids):
                self._work.suspects_checked += 1
                key = key_of(id_)
                had, wanted = self._interest.has(host_id, key), wants(host_id, id_)
                if wanted and not had:
                    self._give(host_id, self._in_full(host_id, key))
                elif had and not wanted:
                    self._give(host_id, HostSection(key, None, is_full=True))

    def _give_all(self, key: SectionKey, change: SectionChange, hosts: Iterable[HostId]) -> None:
        """Give one change to all who hold the section already."""
        shared = SharedPart(change)
        for host_id in hosts:
            if not self._gives(host_id, key):
                self._give(host_id, HostSection(key, shared, is_full=False))

    def _in_full(self, host_id: HostId, key: SectionKey) -> HostSection:
        section = sections.in_full(
            self._region, host_id, key, self._shared_in_full(key), self._interest.learned
        )
        self._work.full_entries_built += len(section.set_ports) + len(section.set_placements)
        return section

    def _shared_in_full(self, key: SectionKey) -> SharedPart:
        """Make what all hosts share of a section once for all that are new to it."""
        shared = self._full.get(key)
        if shared is None:
            shared = self._full[key] = SharedPart(sections.shared_in_full(self._region, key))
            self._work.full_entries_built += sections.entries_in(shared.change)
        return shared

    def _give_networks(self) -> None:
        own = self._changes.own_ports()
        for network_id, change in self._changes.networks().items():
            node = self._region.networks.get(network_id)
            if node is None:
                continue
            if on_demand.is_turned(self._before, node):
                for host_id in self._interest.network_holders(network_id):
                    if not self._gives(host_id, node.key):
                        self._give(host_id, self._in_full(host_id, node.key))
                continue
            if node.on_demand:
                self._give_on_demand(node, change, own)
                continue
            shared = SharedPart(change)
            for host_id in self._interest.network_holders(network_id):
                if not self._gives(host_id, node.key):
                    came, went = own.pop((host_id, network_id), _NO_OWN)
                    told = HostSection(node.key, shared, is_full=False, set_ports=came, gone_ports=went)
                    self._give(host_id, told)
        for (host_id, network_id), (came, went) in own.items():
            key = goal_state.network_key(network_id)
            if self._interest.has(host_id, key) and not self._gives(host_id, key):
                nothing = sections.NOTHING_OF_NETWORK
                self._give(host_id, HostSection(key, nothing, is_full=False, set_ports=came, gone_ports=went))

    def _give_on_demand(self, node: NetworkNode, change: NetworkChange, own: OwnPorts) -> None:
        """Tell all what all must know, and of placements only those who have or asked for them."""
        common = msgspec.structs.replace(change, set_placements=(), gone_placements=())
        placed = self._placed.get(node.id, {})
        hosts = dict.fromkeys(placed)
        if common != NetworkChange():
            hosts |= dict.fromkeys(self._interest.network_holders(node.id))
        shared = SharedPart(common)
        alike: dict[tuple[tuple[int, ...], tuple[PortId, ...]], SharedPart] = {}
        for host_id in hosts:
            if self._gives(host_id, node.key) or not self._interest.has(host_id, node.key):
                continue
            came, went = placed.get(host_id, _NO_PLACEMENTS)
            set_placements, gone_placements = tuple(came), tuple(went)
            if (host_id, node.id) not in own:  # then thousands may be told the same: of a port they all learned
                which = tuple(map(id, came)), gone_placements
                if (same := alike.get(which)) is None:
                    told = msgspec.structs.replace(
                        common, set_placements=set_placements, gone_placements=gone_placements
                    )
                    same = alike[which] = SharedPart(told)
                self._give(host_id, HostSection(node.key, same, is_full=False))
                continue
            set_ports, gone_ports = own.pop((host_id, node.id))
            self._give(
                host_id,
                HostSection(
                    node.key,
                    shared,
                    is_full=False,
                    set_ports=set_ports,
                    gone_ports=gone_ports,
                    set_placements=set_placements,
                    gone_placements=gone_placements,
                ),
            )


_NO_OWN: tuple[list[LocalPort], list[PortId]] = ([], [])
_NO_PLACEMENTS: tuple[list[Placement], list[PortId]] = ([], [])
