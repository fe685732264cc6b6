"""Flows for a router's interfaces: gateway ARP, ping answers, routes. One interface is one unit."""

from alcor.data_plane.pipeline import tables
from alcor.data_plane.pipeline.flow import (
    DecTtl,
    Field,
    Flow,
    FlowKey,
    Goto,
    Move,
    OutputInPort,
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
from alcor.model.goal_state import RouterInterface


def interface_flows(interface: RouterInterface, router_id: str, number: int, router_mac: int) -> list[Flow]:
    """Make all flows of one interface. `number` is the router's, `router_mac` this host's own."""
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
                OutputInPort(),
            ),
            f"{origin} answers ping",
        ),
        Flow(
            FlowKey(Table.ROUTE, tables.ROUTE_TO_SELF, (IS_IPV4, to_address, in_router)),
            (),
            f"{origin} answers nothing but ping",
        ),
        Flow(
            FlowKey(Table.ROUTE, tables.ROUTE_PREFIX + prefix_len, route),
            (
                SetField(Field.REG0, interface.vni),
                SetField(Field.ETH_SRC, router_mac),
                DecTtl(),
                Goto(Table.NEXT_HOP),
            ),
            origin,
        ),
    ]
