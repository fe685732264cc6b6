"""Flows for routers: their addresses, ping, routes. An interface is a unit, and so are all extra routes."""

from collections.abc import Iterable, Mapping

from alcor.data_plane.pipeline import discovery, tables
from alcor.data_plane.pipeline.flow import (
    Action,
    AnyFlow,
    DecTtl,
    Field,
    Flow,
    FlowKey,
    Goto,
    Match,
    Move,
    SetField,
    Term,
)
from alcor.data_plane.pipeline.matching import (
    IS_ARP,
    IS_ARP_REQUEST,
    IpVersion,
    ordered,
    prefix_terms,
    version_of,
)
from alcor.data_plane.pipeline.tables import Table
from alcor.model.addressing import Cidr, ip_to_int, ip_to_text, link_local_ip
from alcor.model.goal_state import RouterInterface
from alcor.model.records import ExtraRoute

# Of senders, for next hops that share a destination: a power of two, and no less than a router has routes.
_SHARES = 32


def interface_flows(interface: RouterInterface, router_id: str, number: int, router_mac: int) -> list[AnyFlow]:
    """Make all flows of one interface. `router_mac` is this host's own.

    `number`: the router's for the address scope that the interface is in.
    """
    version, address = version_of(interface.ip), ip_to_int(interface.ip)
    in_router = Term(Field.REG3, number)
    name = f"{interface.port_id} of router {router_id}"
    origin = f"interface {name}"
    enter = ordered(Term(Field.ETH_DST, interface.mac), version.is_ip, Term(Field.REG0, interface.vni))
    to_self = ordered(version.is_ip, Term(version.destination, address), in_router)
    network, prefix_len = interface.cidr
    route = ordered(version.is_ip, *prefix_terms(version.destination, network, prefix_len), in_router)
    onward = _onward(interface.vni, router_mac)
    return [
        *(_answer(own, interface, origin) for own in own_addresses(interface)),
        Flow(
            FlowKey(Table.FORWARD, tables.NORMAL, enter),
            (SetField(Field.REG3, number), Goto(Table.ROUTE)),
            origin,
        ),
        *(
            Flow(
                FlowKey(Table.ROUTE, tables.ROUTE_PING, _ping(version, ip_to_int(own), in_router)),
                _pong(version, ip_to_int(own), router_mac),
                f"{origin} answers ping",
            )
            for own in own_addresses(interface)
        ),
        Flow(
            FlowKey(Table.ROUTE, tables.ROUTE_TO_SELF, to_self),
            (),
            f"{origin} answers nothing but ping",
        ),
        Flow(
            FlowKey(Table.ROUTE, _priority(prefix_len) + tables.ROUTE_CONNECTED, route),
            (Move(version.destination, version.next_hop), *onward),
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
    legs = list(interfaces)
    ways: dict[tuple[tuple[bytes, int], str], list[tuple[bytes, RouterInterface]]] = {}
    for route in routes:
        leg = next((leg for leg in legs if Cidr(*leg.cidr).contains(route.next_hop)), None)
        if leg is not None and len(route.destination[0]) == len(route.next_hop):
            ways.setdefault((route.destination, leg.scope), []).append((route.next_hop, leg))
    flows = []
    for ((network, prefix_len), scope), hops in ways.items():
        version = version_of(network)
        shares = 1 if len(hops) == 1 else _SHARES
        for share in range(shares):
            next_hop, leg = hops[share % len(hops)]
            sender = () if shares == 1 else (Term(version.source, share, shares - 1),)
            towards = prefix_terms(version.destination, network, prefix_len)
            match = ordered(version.is_ip, *sender, *towards, Term(Field.REG3, numbers[scope]))
            flows.append(
                Flow(
                    FlowKey(Table.ROUTE, _priority(prefix_len), match),
                    (SetField(version.next_hop, ip_to_int(next_hop)), *_onward(leg.vni, router_mac)),
                    f"route to {Cidr(network, prefix_len)} via {ip_to_text(next_hop)} of router {router_id}",
                )
            )
    return flows


def _answer(ip: bytes, interface: RouterInterface, origin: str) -> Flow:
    number = int.from_bytes(ip, "big")
    if len(ip) != 4:
        return discovery.gateway_flow(number, interface.mac, interface.vni, origin)
    question = (IS_ARP, IS_ARP_REQUEST, Term(Field.ARP_TPA, number), Term(Field.REG0, interface.vni))
    answer = (SetField(Field.ETH_DST, interface.mac), Goto(Table.ARP_REPLY))
    return Flow(FlowKey(Table.ARP, tables.NORMAL, question), answer, origin)


def own_addresses(interface: RouterInterface) -> tuple[bytes, ...]:
    """Give the addresses by which an interface is spoken to: of IPv6 its link-local one as well."""
    ip = interface.ip
    return (ip,) if len(ip) == 4 else (ip, link_local_ip(interface.mac))


def _ping(version: IpVersion, address: int, in_router: Term) -> Match:
    return ordered(
        version.is_ip,
        Term(Field.IP_PROTO, version.icmp),
        Term(version.destination, address),
        Term(version.icmp_type, version.echo_request),
        in_router,
    )


def _pong(version: IpVersion, address: int, router_mac: int) -> tuple[Action, ...]:
    return (
        Move(Field.ETH_SRC, Field.ETH_DST),
        SetField(Field.ETH_SRC, router_mac),
        Move(version.source, version.destination),
        SetField(version.source, address),
        SetField(Field.IP_TTL, 64),
        SetField(version.icmp_type, version.echo_reply),
        Goto(Table.RETURN),
    )


def _priority(prefix_len: int) -> int:
    return tables.ROUTE_PREFIX + 2 * prefix_len


def _onward(vni: int, router_mac: int) -> tuple[Action, ...]:
    return (SetField(Field.REG0, vni), SetField(Field.ETH_SRC, router_mac), DecTtl(), Goto(Table.NEIGHBOUR))
