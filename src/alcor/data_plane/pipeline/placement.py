"""Flows for who is where: ARP answers, tunnels and next hops. One placement is one unit.

A host has them for every port that it may reach: so all are of a pattern, and what is kept of a placement is
the entry itself, of which its flows are made whenever they are looked at.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from alcor.data_plane.pipeline import tables
from alcor.data_plane.pipeline.flow import Action, Field, Goto, Output, Pattern, PatternFlow, SetField
from alcor.data_plane.pipeline.matching import IS_ARP, IS_ARP_REQUEST, IS_IPV4
from alcor.data_plane.pipeline.tables import Table
from alcor.model.goal_state import Placement

KIND = "placement of port"


def _answer(mac: int) -> tuple[Action, ...]:
    return SetField(Field.ARP_THA, mac), Goto(Table.ARP_REPLY)


def _next_hop(mac: int) -> tuple[Action, ...]:
    return SetField(Field.ETH_DST, mac), Goto(Table.LOCAL)


def _tunnel(vni: int, vtep: int, tunnel_port: int) -> tuple[Action, ...]:
    return SetField(Field.TUN_ID, vni), SetField(Field.TUN_DST, vtep), Output(tunnel_port)


ANSWER = Pattern(Table.ARP, tables.NORMAL, (IS_ARP, IS_ARP_REQUEST), (Field.ARP_TPA, Field.REG0), _answer)
NEXT_HOP = Pattern(Table.NEXT_HOP, tables.NORMAL, (), (Field.REG0, Field.REG5), _next_hop)
REMOTE = Pattern(Table.REMOTE, tables.NORMAL, (), (Field.ETH_DST, Field.REG0), _tunnel)
# Rules refuse what they do not allow, to and from an address whose groups are known.
KNOWN_TO = Pattern(
    Table.EGRESS_RULES,
    tables.RULES_KNOWN,
    (IS_IPV4,),
    (Field.IP_DST, Field.REG0),
    lambda: (Goto(Table.EGRESS_REFUSED),),
)
KNOWN_FROM = Pattern(
    Table.INGRESS_RULES,
    tables.RULES_KNOWN,
    (IS_IPV4,),
    (Field.IP_SRC, Field.REG0),
    lambda: (Goto(Table.INGRESS_REFUSED),),
)


class View(NamedTuple):
    """What a host knows of a network beside its placements."""

    vni: int
    vtep: bytes  # the host's own
    tunnel_port: int
    is_routed: bool
    viewers: tuple[int, ...] = ()  # VNIs of local ports that would else ask for an address's groups


class PlacementFlows(msgspec.Struct, frozen=True, gc=False):
    """The flows of one placement. On the path of every port of a network, so kept plain and quick."""

    entry: Placement
    view: View

    def __iter__(self) -> Iterator[PatternFlow]:
        entry, view = self.entry, self.view
        for ip in entry.ips:
            if len(ip) == 4:
                yield from address_flows(int.from_bytes(ip, "big"), entry.mac, view, KIND, entry.port_id)
        if entry.vtep != view.vtep:
            yield tunnel_flow(entry.mac, entry.vtep, view, KIND, entry.port_id)


def address_flows(ip: int, mac: int, view: View, kind: str, name: str) -> Sequence[PatternFlow]:
    """Make the flows by which an address is found at a MAC address."""
    there, found = (ip, view.vni), (mac,)
    flows = [PatternFlow(ANSWER, there, found, kind, name)]
    if view.is_routed:
        flows.append(PatternFlow(NEXT_HOP, (view.vni, ip), found, kind, name))
    for viewer in view.viewers:
        flows.append(PatternFlow(KNOWN_TO, (ip, viewer), (), kind, name))
        flows.append(PatternFlow(KNOWN_FROM, (ip, viewer), (), kind, name))
    return flows


def tunnel_flow(mac: int, vtep: bytes, view: View, kind: str, name: str) -> PatternFlow:
    """Make the flow by which a MAC address is reached on another host."""
    what = (view.vni, int.from_bytes(vtep, "big"), view.tunnel_port)
    return PatternFlow(REMOTE, (mac, view.vni), what, kind, name)
