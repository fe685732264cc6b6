"""Flows for who is where: ARP answers, tunnels and next hops. One placement is one unit."""

from collections.abc import Iterable

from alcor.data_plane.pipeline import tables
from alcor.data_plane.pipeline.flow import Field, Flow, FlowKey, Goto, Output, SetField, Term
from alcor.data_plane.pipeline.matching import IS_ARP, IS_ARP_REQUEST, IS_IPV4
from alcor.data_plane.pipeline.tables import Table
from alcor.model.goal_state import Placement

# Bound here because looking up a member of an enumeration costs as much as making a flow.
_ARP_TPA, _ARP_THA, _REG0, _REG5 = Field.ARP_TPA, Field.ARP_THA, Field.REG0, Field.REG5
_ETH_DST, _IP_SRC, _IP_DST = Field.ETH_DST, Field.IP_SRC, Field.IP_DST
_ARP, _NEXT_HOP, _REMOTE = int(Table.ARP), int(Table.NEXT_HOP), int(Table.REMOTE)
_NORMAL = tables.NORMAL
_TO_ARP_REPLY = Goto(Table.ARP_REPLY)
_TO_LOCAL = Goto(Table.LOCAL)


def answer_key(vni: int, ip: int) -> FlowKey:
    """Give the key of the flow that answers ARP for an address; its first action sets the MAC address."""
    return FlowKey(_ARP, _NORMAL, (IS_ARP, IS_ARP_REQUEST, Term(_ARP_TPA, ip), Term(_REG0, vni)))


def next_hop_key(vni: int, ip: int) -> FlowKey:
    """Give the key of the flow by which a routed packet gets the MAC address of where it goes next."""
    return FlowKey(_NEXT_HOP, _NORMAL, (Term(_REG0, vni), Term(_REG5, ip)))


def placement_flows(
    placement: Placement,
    vni: int,
    *,
    is_remote: bool,
    is_routed: bool,
    tunnel_port: int,
    viewers: Iterable[int] = (),
) -> list[Flow]:
    """Make all flows of one placement. On the path of every port of a network, so kept plain and quick.

    `viewers`: VNIs of local ports that would else ask for the address's groups.
    """
    in_network = Term(_REG0, vni)
    mac = placement.mac
    origin = f"placement of port {placement.port_id}"
    answer = (SetField(_ARP_THA, mac), _TO_ARP_REPLY)
    flows = []
    for ip in placement.ips:
        if len(ip) != 4:
            continue
        number = int.from_bytes(ip, "big")
        match = (IS_ARP, IS_ARP_REQUEST, Term(_ARP_TPA, number), in_network)
        flows.append(Flow(FlowKey(_ARP, _NORMAL, match), answer, origin))
        for viewer in viewers:
            flows.extend(known_flows(number, viewer, origin))
        if is_routed:
            flows.append(Flow(next_hop_key(vni, number), (SetField(_ETH_DST, mac), _TO_LOCAL), origin))
    if is_remote:
        tunnel = (
            SetField(Field.TUN_ID, vni),
            SetField(Field.TUN_DST, int.from_bytes(placement.vtep, "big")),
            Output(tunnel_port),
        )
        flows.append(Flow(FlowKey(_REMOTE, _NORMAL, (Term(_ETH_DST, mac), in_network)), tunnel, origin))
    return flows


def known_flows(ip: int, viewer: int, origin: str) -> list[Flow]:
    """Let rules refuse what they do not allow: the address's groups are known."""
    sides = (
        (Table.EGRESS_RULES, Table.EGRESS_REFUSED, _IP_DST),
        (Table.INGRESS_RULES, Table.INGRESS_REFUSED, _IP_SRC),
    )
    return [
        Flow(
            FlowKey(rules, tables.RULES_KNOWN, (IS_IPV4, Term(field, ip), Term(_REG0, viewer))),
            (Goto(refused),),
            origin,
        )
        for rules, refused, field in sides
    ]
