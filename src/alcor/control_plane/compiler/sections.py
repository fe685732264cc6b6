"""Shared parts of sections, made and encoded once for all hosts that get them, and one host's delta of one.

What a network's holders must learn of it is the same for all but their own ports, and in an on-demand network
the placements that each asked for. So a `SharedPart` keeps the
change without own ports, encodes each of its fields once, and a host's bytes are put together around them.
"""

from collections.abc import Iterable

import msgspec

from alcor.contracts import packed_ids
from alcor.control_plane.compiler import entries
from alcor.control_plane.nodes import AddressGroupNode, GroupNode, NetworkNode, RouterNode
from alcor.control_plane.region import Region
from alcor.model.goal_state import (
    AddressesChange,
    GroupChange,
    LocalPort,
    NetworkChange,
    Placement,
    RouterChange,
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
    """A change without any host's own ports. Encoded at most once."""

    __slots__ = ("_fields", "_packed", "_raw", "change")

    def __init__(self, change: SectionChange) -> None:
        self.change = change
        self._raw: bytes | None = None
        self._packed: msgspec.Raw | None = None
        self._fields: tuple[msgspec.Raw, ...] | None = None

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
        set_ports: tuple[LocalPort, ...] = (),
        gone_ports: tuple[PortId, ...] = (),
        set_placements: tuple[Placement, ...] = (),
        gone_placements: tuple[PortId, ...] = (),
    ) -> None:
        self.key = key
        self.shared = shared
        self.is_full = is_full
        self.set_ports = set_ports
        self.gone_ports = gone_ports
        self.set_placements = set_placements  # of an on-demand network: each host has others
        self.gone_placements = gone_placements

    def encode(self) -> bytes | None:
        """Give the bytes of the change; None for a removal."""
        if self.shared is None:
            return None
        return self.shared.encode(self.set_ports, self.gone_ports, self.set_placements, self.gone_placements)

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


def network_in_full(node: NetworkNode) -> NetworkChange:
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


def router_in_full(node: RouterNode) -> RouterChange:
    """Give the router with all its interfaces, sorted."""
    interfaces = [leg for legs in node.interfaces.values() for leg in legs]
    interfaces.sort(key=lambda leg: (leg.port_id, leg.cidr))
    return RouterChange(node.admin_state_up, tuple(interfaces), routes=node.routes)


def group_in_full(node: GroupNode) -> GroupChange:
    """Give the rules, sorted."""
    return GroupChange(node.stateful, tuple(rule for _, rule in sorted(node.rules.items())))


def addresses_in_full(node: AddressGroupNode) -> AddressesChange:
    """Give the addresses, sorted."""
    return AddressesChange(set_addresses=tuple(sorted(node.addresses)))


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


def _field(value: object) -> msgspec.Raw:
    return _EMPTY if value == () else msgspec.Raw(_encoder.encode(value))
