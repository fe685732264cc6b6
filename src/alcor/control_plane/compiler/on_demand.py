"""On-demand networks: which hosts a placement concerns, and what asking and releasing changes. Pure.

a port of the network  ->  its own host, and the hosts that learned it
asking, releasing      ->  a delta for one host: a new step of its section, at the same revision
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from alcor.control_plane.compiler import entries
from alcor.control_plane.compiler.interest import Interest
from alcor.control_plane.compiler.sections import NOTHING_OF_NETWORK, HostSection
from alcor.control_plane.compiler.touched import Touched
from alcor.control_plane.nodes import NO_HOST, NetworkNode, PortRow
from alcor.control_plane.region import Region
from alcor.model.goal_state import NetworkChange, Placement
from alcor.model.ids import HostId, NetworkId, PortId

HostPlacements: TypeAlias = dict[HostId, tuple[list[Placement], list[PortId]]]


def is_turned(before: Touched, node: NetworkNode) -> bool:
    """Did the change make the network on-demand, or end that?"""
    entry = before.networks.get(node.id)
    return node.id in before.networks and node.on_demand != (entry is not None and entry.on_demand)


def settle(
    region: Region, interest: Interest, before: Touched, changes: Mapping[NetworkId, NetworkChange]
) -> dict[NetworkId, HostPlacements]:
    """Give each on-demand network's changed placements to the hosts they concern; end subscriptions with them.

    O(changed placements x hosts that learned them). All of a network end when it is told whole again.
    """
    learned = interest.learned
    found: dict[NetworkId, HostPlacements] = {}
    nodes = {network_id: region.networks.get(network_id) for network_id in changes}
    for network_id, change in changes.items():
        node = nodes[network_id]
        if node is None or not node.on_demand:
            continue
        placed = found[network_id] = {}
        for port_id in change.gone_placements:
            _give_gone(placed, _host_before(before, network_id, port_id), port_id)
            for host_id in learned.drop_port(network_id, port_id):
                _give_gone(placed, host_id, port_id)
    for network_id, placed in found.items():
        for placement in changes[network_id].set_placements:
            port_id = placement.port_id
            host_now, host_before = region.ports[port_id].host, _host_before(before, network_id, port_id)
            learned.drop(host_now, network_id, port_id)
            for host_id in (host_now, *learned.subscribers(port_id)):
                placed.setdefault(host_id, ([], []))[0].append(placement)
            if host_before != host_now:
                _give_gone(placed, host_before, port_id)
    for network_id, node in nodes.items():
        if node is not None and not node.on_demand and is_turned(before, node):
            for host_id in interest.network_holders(network_id):
                learned.drop_network(host_id, network_id)
    return found


def learn(region: Region, interest: Interest, host_id: HostId, rows: Sequence[PortRow]) -> HostSection | None:
    """Subscribe a host to ports of one on-demand network; None when there is nothing new in it for the host.

    The host must want the network. The section's step grows; `interest.learned.step` gives it.
    """
    if not rows:
        return None
    node = region.networks[rows[0].network_id]
    came: dict[PortId, Placement] = {}
    went: list[PortId] = []
    for row in rows:
        placement = entries.placement(row, region.vtep(row.host))
        if placement is None or not may_learn(interest, host_id, row):
            continue
        came[row.id] = placement
        oldest = interest.learned.add(host_id, node.id, row.id)
        if oldest is not None and came.pop(oldest, None) is None:
            went.append(oldest)
    return _delta(interest, host_id, node, tuple(came.values()), tuple(went))


def release(
    region: Region, interest: Interest, host_id: HostId, network_id: NetworkId, ports: Iterable[PortId]
) -> HostSection | None:
    """End subscriptions of a host in one network; None when it had none of them."""
    gone = tuple(port_id for port_id in ports if interest.learned.drop(host_id, network_id, port_id))
    node = region.networks.get(network_id)
    return _delta(interest, host_id, node, (), gone) if node is not None else None


def restore(
    region: Region, interest: Interest, host_id: HostId, network_id: NetworkId, ports: Iterable[PortId]
) -> None:
    """Make a host's subscriptions in one network those that it says it holds, as far as they may exist.

    A digest tells afterwards whether the host holds what it must. O(ports named and subscribed).
    """
    learned = interest.learned
    node = region.networks.get(network_id)
    wanted: dict[PortId, None] = {}
    if node is not None and node.on_demand and interest.has(host_id, node.key):
        for port_id in ports:
            row = node.bound.get(port_id)
            if row is not None and row.host != host_id and entries.placement(row, region.vtep(row.host)):
                wanted[row.id] = None
    held = list(learned.of(host_id, network_id))
    if node is None or set(held) == wanted.keys():
        return
    learned.drop_network(host_id, network_id)
    for port_id in wanted:
        learned.add(host_id, network_id, port_id)
    learned.advance(host_id, node.key)


def may_learn(interest: Interest, host_id: HostId, row: PortRow) -> bool:
    """Is the port another host's, and not learned already?"""
    return row.host not in (NO_HOST, host_id) and not interest.learned.has(host_id, row.id)


def _delta(
    interest: Interest,
    host_id: HostId,
    node: NetworkNode,
    came: tuple[Placement, ...],
    went: tuple[PortId, ...],
) -> HostSection | None:
    if not came and not went:
        return None
    interest.learned.advance(host_id, node.key)
    return HostSection(node.key, NOTHING_OF_NETWORK, is_full=False, set_placements=came, gone_placements=went)


def _host_before(before: Touched, network_id: NetworkId, port_id: PortId) -> HostId:
    row = before.ports.get(port_id)
    return row.host if row is not None and row.network_id == network_id else NO_HOST


def _give_gone(placed: HostPlacements, host_id: HostId, port_id: PortId) -> None:
    if host_id != NO_HOST:
        placed.setdefault(host_id, ([], []))[1].append(port_id)
