"""Shared parts of sections, made and encoded once for all hosts that get them, and one host's delta of one.

What a network's holders must learn of it is the same for all but their own ports. So a `SharedPart` keeps the
change without own ports, encodes each of its fields once, and a host's bytes are put together around them.
"""

import msgspec

from alcor.control_plane.compiler import entries
from alcor.control_plane.region import GroupNode, NetworkNode, Region, RouterNode
from alcor.model.goal_state import (
    GroupChange,
    LocalPort,
    NetworkChange,
    RouterChange,
    SectionChange,
    SectionKey,
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

    __slots__ = ("_fields", "_raw", "change")

    def __init__(self, change: SectionChange) -> None:
        self.change = change
        self._raw: bytes | None = None
        self._fields: tuple[msgspec.Raw, ...] | None = None

    def encode(self, set_ports: tuple[LocalPort, ...], gone_ports: tuple[PortId, ...]) -> bytes:
        """Give the bytes of the change together with a host's own ports."""
        if not set_ports and not gone_ports:
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
        network, subnets, gone_subnets, placements, gone_placements = self._fields
        return _encoder.encode(
            _NetworkFrame(network, subnets, gone_subnets, set_ports, gone_ports, placements, gone_placements)
        )


class HostSection:
    """One section's change for one host. `shared` None: the host holds it no longer."""

    __slots__ = ("gone_ports", "is_full", "key", "set_ports", "shared")

    def __init__(
        self,
        key: SectionKey,
        shared: SharedPart | None,
        *,
        is_full: bool,
        set_ports: tuple[LocalPort, ...] = (),
        gone_ports: tuple[PortId, ...] = (),
    ) -> None:
        self.key = key
        self.shared = shared
        self.is_full = is_full
        self.set_ports = set_ports
        self.gone_ports = gone_ports

    def encode(self) -> bytes | None:
        """Give the bytes of the change; None for a removal."""
        return None if self.shared is None else self.shared.encode(self.set_ports, self.gone_ports)

    def change(self) -> SectionChange | None:
        """Give the change as a value; None for a removal."""
        if self.shared is None:
            return None
        change = self.shared.change
        if isinstance(change, NetworkChange) and (self.set_ports or self.gone_ports):
            return msgspec.structs.replace(change, set_ports=self.set_ports, gone_ports=self.gone_ports)
        return change


NOTHING_OF_NETWORK = SharedPart(NetworkChange())


def network_in_full(node: NetworkNode) -> NetworkChange:
    """Give the network without local ports, sorted. O(ports of the network)."""
    vteps = {host_id: host.vtep for host_id, host in node.hosts.items()}
    placements = [entries.placement(node.bound[id_], vteps[node.bound[id_].host]) for id_ in sorted(node.bound)]
    return NetworkChange(
        network=node.entry,
        set_subnets=tuple(subnet for _, subnet in sorted(node.subnets.items())),
        set_placements=tuple(placement for placement in placements if placement is not None),
    )


def local_ports(host_id: HostId, node: NetworkNode) -> tuple[LocalPort, ...]:
    """Give the host's own ports of a network, sorted. O(those ports)."""
    host = node.hosts.get(host_id)
    rows = host.networks[node.id] if host is not None else {}
    return tuple(entries.local_port(rows[id_]) for id_ in sorted(rows))


def router_in_full(node: RouterNode) -> RouterChange:
    """Give the router with all its interfaces, sorted."""
    interfaces = [leg for legs in node.interfaces.values() for leg in legs]
    interfaces.sort(key=lambda leg: (leg.port_id, leg.cidr))
    return RouterChange(admin_state_up=node.admin_state_up, set_interfaces=tuple(interfaces))


def group_in_full(region: Region, node: GroupNode, *, rules: bool, members: bool) -> GroupChange:
    """Give the rules, the members or both, sorted. O(ports of the group) with members."""
    found = set()
    if members:
        for row in node.ports.values():
            found.update(entries.members(row, region.networks[row.network_id].vni))
    return GroupChange(
        stateful=node.stateful,
        set_rules=tuple(rule for _, rule in sorted(node.rules.items())) if rules else (),
        set_members=tuple(sorted(found)),
    )


def _field(value: object) -> msgspec.Raw:
    return _EMPTY if value == () else msgspec.Raw(_encoder.encode(value))
