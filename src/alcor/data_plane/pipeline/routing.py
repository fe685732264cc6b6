"""Flows for routers: gateway ARP, ping answers, routes. An interface is a unit, and so are all extra routes."""

from collections.abc import Iterable, Mapping

from alcor.data_plane.pipeline import tables
from alcor.data_plane.pipeline.flow import (
    Action,
    DecTtl,
    Field,
    Flow,
    FlowKey,
    Goto,
    Move,
    SetField,
    Term,
)
from alcor.data_plane.pipeline.matching import (
    ICMP,
    ICMP_ECHO_REPLY,
    ICMP_ECHO_REQUEST,
    IS_ARP,
    IS_ARP_REQUEST,
    IS_IPV4,
    prefix_terms,
)
from alcor.data_plane.pipeline.tables import Table
from alcor.model.addressing import Cidr, ip_to_int, ip_to_text
from alcor.model.goal_state import RouterInterface
from alcor.model.records import ExtraRoute

# Of senders, for next hops that share a destination: a power of two, and no less than a router has routes.
_SHARES = 32


def interface_flows(interface: RouterInterface, router_id: str, number: int, router_mac: int) -> list[Flow]:
    """Make all flows of one interface. `router_mac` is this host's own.

    `number`: the router's for the address scope that the interface is in.
    """
    if len(interface.ip) != 4:
        return []
    address = int.from_bytes(interface.ip, "big")
    in_network = Term(Field.REG0, interface.vni)
    in_router = Term(Field.REG3, number)
    to_address = Term(Field.IP_DST, address)
    origin = f"interface {interface.port_id} of router {router_id}"
    ask = (IS_ARP, IS_ARP_REQUEST, Term(Field.ARP_TPA, address), in_network)
    enter = (Term(Field.ETH_DST, interface.mac), in_network)
    ping = (
        IS_IPV4,
        Term(Field.IP_PROTO, ICMP),
        to_address,
        Term(Field.ICMP_TYPE, ICMP_ECHO_REQUEST),
        in_router,
    )
    network, prefix_len = interface.cidr
    route = (IS_IPV4, *prefix_terms(Field.IP_DST, network, prefix_len), in_router)
    return [
        Flow(
            FlowKey(Table.ARP, tables.NORMAL, ask),
            (SetField(Field.ARP_THA, interface.mac), Goto(Table.ARP_REPLY)),
            origin,
        ),
        Flow(
            FlowKey(Table.FORWARD, tables.NORMAL, enter),
            (SetField(Field.REG3, number), Goto(Table.ROUTE)),
            origin,
        ),
        Flow(
            FlowKey(Table.ROUTE, tables.ROUTE_PING, ping),
            (
                Move(Field.ETH_SRC, Field.ETH_DST),
                SetField(Field.ETH_SRC, router_mac),
                Move(Field.IP_SRC, Field.IP_DST),
                SetField(Field.IP_SRC, address),
                SetField(Field.IP_TTL, 64),
                SetField(Field.ICMP_TYPE, ICMP_ECHO_REPLY),
                Goto(Table.RETURN),
            ),
            f"{origin} answers ping",
        ),
        Flow(
            FlowKey(Table.ROUTE, tables.ROUTE_TO_SELF, (IS_IPV4, to_address, in_router)),
            (),
            f"{origin} answers nothing but ping",
        ),
        Flow(
            FlowKey(Table.ROUTE, _priority(prefix_len) + tables.ROUTE_CONNECTED, route),
            (Move(Field.IP_DST, Field.REG5), *_onward(interface.vni, router_mac)),
            origin,
        ),
    ]


def extra_route_flows(
    routes: Iterable[ExtraRoute],
    interfaces: Iterable[RouterInterface],
    router_id: str,
    numbers: Mapping[str, int],
    router_mac: int,
) -> list[Flow]:
    """Make the flows of a router's extra routes. `interfaces`: those that are there; others lead nowhere.

    `numbers`: the router's by address scope; a route is one of the scope that its next hop is in.

    Several next hops of one destination share it: senders are spread over them by the last bits of their
    address, so that the packets of a connection take one way.
    """
    legs = [interface for interface in interfaces if len(interface.ip) == 4]
    ways: dict[tuple[tuple[bytes, int], str], list[tuple[bytes, RouterInterface]]] = {}
    for route in routes:
        leg = next((leg for leg in legs if Cidr(*leg.cidr).contains(route.next_hop)), None)
        if leg is not None:
            ways.setdefault((route.destination, leg.scope), []).append((route.next_hop, leg))
    flows = []
    for ((network, prefix_len), scope), hops in ways.items():
        shares = 1 if len(hops) == 1 else _SHARES
        for share in range(shares):
            next_hop, leg = hops[share % len(hops)]
            sender = () if shares == 1 else (Term(Field.IP_SRC, share, shares - 1),)
            towards = prefix_terms(Field.IP_DST, network, prefix_len)
            match = (IS_IPV4, *sender, *towards, Term(Field.REG3, numbers[scope]))
            flows.append(
                Flow(
                    FlowKey(Table.ROUTE, _priority(prefix_len), match),
                    (SetField(Field.REG5, ip_to_int(next_hop)), *_onward(leg.vni, router_mac)),
                    f"route to {Cidr(network, prefix_len)} via {ip_to_text(next_hop)} of router {router_id}",
                )
            )
    return flows


def _priority(prefix_len: int) -> int:
    return tables.ROUTE_PREFIX + 2 * prefix_len


def _onward(vni: int, router_mac: int) -> tuple[Action, ...]:
    return (SetField(Field.REG0, vni), SetField(Field.ETH_SRC, router_mac), DecTtl(), Goto(Table.NEXT_HOP))
