"""Shared parts of sections, made and encoded once for all hosts that get them, and one host's delta of one.

What a network's holders must learn of it is the same for all but their own ports, and in an on-demand network
the placements that each asked for. So a `SharedPart` keeps the
change without own ports, encodes each of its fields once, and a host's bytes are put together around them.
"""

from collections.abc import Iterable
from typing import assert_never

import msgspec

from alcor.contracts import packed_ids
from alcor.control_plane.compiler import entries
from alcor.control_plane.compiler.learned import Learned
from alcor.control_plane.nodes import NetworkNode
from alcor.control_plane.region import Region
from alcor.model import goal_state
from alcor.model.goal_state import (
    AddressesChange,
    AddressesKey,
    GroupChange,
    GroupKey,
    LocalPort,
    NetworkChange,
    NetworkKey,
    Placement,
    RouterChange,
    RouterKey,
    SectionChange,
    SectionKey,
    SubnetEntry,
)
from alcor.model.ids import HostId, PortId

_encoder = msgspec.msgpack.Encoder()
_EMPTY = msgspec.Raw(b"\x90")  # msgpack's empty array


class _NetworkFrame(msgspec.Struct, frozen=True, array_like=True, tag="network"):
    """The bytes of a `NetworkChange`, field by field."""

    network: msgspec.Raw
    set_subnets: msgspec.Raw
    gone_subnets: msgspec.Raw
    set_ports: tuple[LocalPort, ...]
    gone_ports: tuple[PortId, ...]
    set_placements: msgspec.Raw
    gone_placements: msgspec.Raw


class SharedPart:
    """A change without any host's own ports. Encoded, and counted, at most once."""

    __slots__ = ("_entries", "_fields", "_packed", "_raw", "change")

    def __init__(self, change: SectionChange) -> None:
        self.change = change
        self._raw: bytes | None = None
        self._packed: msgspec.Raw | None = None
        self._entries: int | None = None
        self._fields: tuple[msgspec.Raw, ...] | None = None

    @property
    def entries(self) -> int:
        """How many entries the change sets and takes away."""
        if self._entries is None:
            self._entries = entries_changed(self.change)
        return self._entries

    def packed(self) -> msgspec.Raw:
        """Give the bytes of the change itself, with its ids packed."""
        if self._packed is None:
            self._packed = msgspec.Raw(packed_ids.pack(self.encode((), ())))
        return self._packed

    def encode(
        self,
        set_ports: tuple[LocalPort, ...],
        gone_ports: tuple[PortId, ...],
        set_placements: tuple[Placement, ...] = (),
        gone_placements: tuple[PortId, ...] = (),
    ) -> bytes:
        """Give the bytes of the change together with a host's own ports, and placements if they are its own."""
        if not (set_ports or gone_ports or set_placements or gone_placements):
            if self._raw is None:
                self._raw = _encoder.encode(self.change)
            return self._raw
        assert isinstance(self.change, NetworkChange), "only networks have ports"
        if self._fields is None:
            self._fields = (
                _field(self.change.network),
                _field(self.change.set_subnets),
                _field(self.change.gone_subnets),
                _field(self.change.set_placements),
                _field(self.change.gone_placements),
            )
        network, subnets, gone_subnets, shared_set, shared_gone = self._fields
        if set_placements or gone_placements:
            assert shared_set is shared_gone is _EMPTY, "placements are shared or a host's own, never both"
            shared_set, shared_gone = _field(set_placements), _field(gone_placements)
        return _encoder.encode(
            _NetworkFrame(network, subnets, gone_subnets, set_ports, gone_ports, shared_set, shared_gone)
        )


class HostSection:
    """One section's change for one host. `shared` None: the host holds it no longer."""

    __slots__ = ("gone_placements", "gone_ports", "is_full", "key", "set_placements", "set_ports", "shared")

    def __init__(
        self,
        key: SectionKey,
        shared: SharedPart | None,
        *,
        is_full: bool,
        set_ports: Iterable[LocalPort] = (),
        gone_ports: Iterable[PortId] = (),
        set_placements: Iterable[Placement] = (),
        gone_placements: Iterable[PortId] = (),
    ) -> None:
        self.key = key
        self.shared = shared
        self.is_full = is_full
        self.set_ports = tuple(set_ports)
        self.gone_ports = tuple(gone_ports)
        self.set_placements = tuple(set_placements)  # of an on-demand network: each host has others
        self.gone_placements = tuple(gone_placements)

    def encode(self) -> bytes | None:
        """Give the bytes of the change; None for a removal."""
        if self.shared is None:
            return None
        return self.shared.encode(self.set_ports, self.gone_ports, self.set_placements, self.gone_placements)

    @property
    def entries(self) -> int:
        """How many entries it sets and takes away. O(1), once any host was told the same."""
        own = len(self.set_ports) + len(self.gone_ports) + len(self.set_placements) + len(self.gone_placements)
        return own if self.shared is None else own + self.shared.entries

    @property
    def has_own(self) -> bool:
        """Is there something in it that only this host is told?"""
        return bool(self.set_ports or self.gone_ports or self.set_placements or self.gone_placements)

    def packed(self) -> msgspec.Raw | None:
        """Give the bytes of a change without anything of the host's own, ids packed; None for a removal."""
        assert not self.has_own, "packing costs too much to be done for each host"
        return None if self.shared is None else self.shared.packed()

    def change(self) -> SectionChange | None:
        """Give the change as a value; None for a removal."""
        if self.shared is None:
            return None
        change = self.shared.change
        if isinstance(change, NetworkChange):
            if self.set_ports or self.gone_ports:
                change = msgspec.structs.replace(change, set_ports=self.set_ports, gone_ports=self.gone_ports)
            if self.set_placements or self.gone_placements:
                change = msgspec.structs.replace(
                    change, set_placements=self.set_placements, gone_placements=self.gone_placements
                )
        return change


NOTHING_OF_NETWORK = SharedPart(NetworkChange())


def in_full(
    region: Region, host_id: HostId, key: SectionKey, shared: SharedPart, learned: Learned
) -> HostSection:
    """Give a section as a host must hold it, around what all hosts share. O(the host's own part)."""
    match goal_state.parse_key(key):
        case NetworkKey(id=network_id):
            node = region.networks[network_id]
            return HostSection(
                key,
                shared,
                is_full=True,
                set_ports=local_ports(host_id, node),
                set_placements=host_placements(region, host_id, node, learned.of(host_id, network_id)),
            )
        case RouterKey() | GroupKey() | AddressesKey():
            return HostSection(key, shared, is_full=True)
        case _ as never:
            assert_never(never)


def shared_in_full(region: Region, key: SectionKey) -> SectionChange:
    """Give what all who hold a section share of it, sorted. O(its entries)."""
    match goal_state.parse_key(key):
        case NetworkKey(id=network_id):
            return _network_in_full(region.networks[network_id])
        case RouterKey(id=router_id):
            router = region.routers[router_id]
            legs = [leg for legs in router.interfaces.values() for leg in legs]
            legs.sort(key=lambda leg: (leg.port_id, leg.cidr))
            return RouterChange(router.admin_state_up, tuple(legs), routes=router.routes)
        case GroupKey(id=group_id):
            group = region.groups[group_id]
            return GroupChange(group.stateful, tuple(rule for _, rule in sorted(group.rules.items())))
        case AddressesKey(id=addresses_id):
            addresses = region.address_groups[addresses_id].addresses
            return AddressesChange(set_addresses=tuple(sorted(addresses)))
        case _ as never:
            assert_never(never)


def unchanged(region: Region, key: SectionKey) -> SharedPart:
    """Give the delta that changes nothing of a section. O(1)."""
    match goal_state.parse_key(key):
        case NetworkKey():
            return NOTHING_OF_NETWORK
        case RouterKey(id=router_id):
            router = region.routers[router_id]
            return SharedPart(RouterChange(router.admin_state_up, routes=router.routes))
        case GroupKey(id=group_id):
            return SharedPart(GroupChange(stateful=region.groups[group_id].stateful))
        case AddressesKey():
            return SharedPart(AddressesChange())
        case _ as never:
            assert_never(never)


def _network_in_full(node: NetworkNode) -> NetworkChange:
    """Give the network without local ports, sorted; on demand without placements. O(ports of the network)."""
    vteps = {host_id: host.vtep for host_id, host in node.hosts.items()}
    ids = [] if node.on_demand else sorted(node.bound)
    placements = [entries.placement(node.bound[id_], vteps[node.bound[id_].host]) for id_ in ids]
    return NetworkChange(
        network=node.entry,
        set_subnets=subnets(node),
        set_placements=tuple(placement for placement in placements if placement is not None),
    )


def subnets(node: NetworkNode) -> tuple[SubnetEntry, ...]:
    """Give the network's subnets, sorted."""
    return tuple(subnet for _, subnet in sorted(node.subnets.items()))


def local_ports(host_id: HostId, node: NetworkNode) -> tuple[LocalPort, ...]:
    """Give the host's own ports of a network, sorted. O(those ports)."""
    host = node.hosts.get(host_id)
    rows = host.networks[node.id] if host is not None else {}
    return tuple(entries.local_port(rows[id_]) for id_ in sorted(rows))


def host_placements(
    region: Region, host_id: HostId, node: NetworkNode, learned: Iterable[PortId]
) -> tuple[Placement, ...]:
    """Give the placements of an on-demand network that a host holds, sorted; none of others. O(those)."""
    if not node.on_demand:
        return ()
    host = node.hosts.get(host_id)
    ids = {*(host.networks[node.id] if host is not None else ()), *learned}
    rows = (node.bound[id_] for id_ in sorted(ids))
    found = (entries.placement(row, region.vtep(row.host)) for row in rows)
    return tuple(placement for placement in found if placement is not None)


def entries_in(change: SectionChange) -> int:
    """Count the entries that a full section sets, a host's own ports aside."""
    match change:
        case NetworkChange():
            return len(change.set_placements) + len(change.set_subnets)
        case RouterChange():
            return len(change.set_interfaces)
        case GroupChange():
            return len(change.set_rules)
        case AddressesChange():
            return len(change.set_addresses)


def entries_changed(change: SectionChange) -> int:
    """Count the entries that a change sets and those that it takes away."""
    match change:
        case NetworkChange():
            ports = len(change.set_ports) + len(change.gone_ports)
            return entries_in(change) + ports + len(change.gone_placements) + len(change.gone_subnets)
        case RouterChange():
            return entries_in(change) + len(change.gone_interfaces)
        case GroupChange():
            return entries_in(change) + len(change.gone_rules)
        case AddressesChange():
            return entries_in(change) + len(change.gone_addresses)


def _field(value: object) -> msgspec.Raw:
    return _EMPTY if value == () else msgspec.Raw(_encoder.encode(value))
