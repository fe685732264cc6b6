"""Flows for who is where: the MAC address of an address, and tunnels to it. One placement is one unit.

A host has them for every port that it may reach: so all are of a pattern, and what is kept of a placement is
the entry itself, of which its flows are made whenever they are looked at.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from alcor.data_plane.pipeline import tables
from alcor.data_plane.pipeline.flow import Action, Field, Goto, Output, Pattern, PatternFlow, SetField
from alcor.data_plane.pipeline.matching import IS_IPV4, IS_IPV6
from alcor.data_plane.pipeline.tables import Table
from alcor.model.goal_state import Placement

KIND = "placement of port"


def _at(mac: int) -> tuple[Action, ...]:
    return SetField(Field.ETH_DST, mac), Goto(Table.LOCAL)


def _tunnel(vni: int, vtep: int, tunnel_port: int) -> tuple[Action, ...]:
    return SetField(Field.TUN_ID, vni), SetField(Field.TUN_DST, vtep), Output(tunnel_port)


# Of routed packets and of questions alike: what is asked for is in the register of the next hop then.
NEIGHBOUR = Pattern(Table.NEIGHBOUR, tables.NORMAL, (), (Field.REG0, Field.REG5), _at)
NEIGHBOUR_IPV6 = Pattern(Table.NEIGHBOUR, tables.NORMAL, (IS_IPV6,), (Field.REG0, Field.XXREG2), _at)
REMOTE = Pattern(Table.REMOTE, tables.NORMAL, (), (Field.ETH_DST, Field.REG0), _tunnel)


def _refuse_to() -> tuple[Action, ...]:
    return (Goto(Table.EGRESS_REFUSED),)


def _refuse_from() -> tuple[Action, ...]:
    return (Goto(Table.INGRESS_REFUSED),)


# Rules refuse what they do not allow, to and from an address whose groups are known.
_TO, _FROM = (Table.EGRESS_RULES, tables.RULES_KNOWN), (Table.INGRESS_RULES, tables.RULES_KNOWN)
KNOWN_TO = Pattern(*_TO, (IS_IPV4,), (Field.IP_DST, Field.REG0), _refuse_to)
KNOWN_FROM = Pattern(*_FROM, (IS_IPV4,), (Field.IP_SRC, Field.REG0), _refuse_from)
KNOWN_TO_IPV6 = Pattern(*_TO, (IS_IPV6,), (Field.REG0, Field.IPV6_DST), _refuse_to)
KNOWN_FROM_IPV6 = Pattern(*_FROM, (IS_IPV6,), (Field.REG0, Field.IPV6_SRC), _refuse_from)


class View(NamedTuple):
    """What a host knows of a network beside its placements."""

    vni: int
    vtep: bytes  # the host's own
    tunnel_port: int
    viewers: tuple[int, ...] = ()  # VNIs of local ports that would else ask for an address's groups


class PlacementFlows(msgspec.Struct, frozen=True, gc=False):
    """The flows of one placement. On the path of every port of a network, so kept plain and quick."""

    entry: Placement
    view: View

    def __iter__(self) -> Iterator[PatternFlow]:
        entry, view = self.entry, self.view
        flows: list[PatternFlow] = []
        for ip in entry.ips:
            flows += address_flows(ip, entry.mac, view, KIND, entry.port_id)
        if entry.vtep != view.vtep:
            flows.append(tunnel_flow(entry.mac, entry.vtep, view, KIND, entry.port_id))
        return iter(flows)


def neighbour_at(ip: bytes, vni: int) -> tuple[Pattern, tuple[int, int]]:
    """Name the flow that says which MAC address has an address: the first number of its actions."""
    return NEIGHBOUR if len(ip) == 4 else NEIGHBOUR_IPV6, (vni, int.from_bytes(ip, "big"))


def address_flows(ip: bytes, mac: int, view: View, kind: str, name: str) -> list[PatternFlow]:
    """Make the flows by which an address is found at a MAC address."""
    pattern, at = neighbour_at(ip, view.vni)
    number = at[1]
    flows = [PatternFlow(pattern, at, (mac,), kind, name)]
    for viewer in view.viewers:
        if pattern is NEIGHBOUR:
            flows.append(PatternFlow(KNOWN_TO, (number, viewer), (), kind, name))
            flows.append(PatternFlow(KNOWN_FROM, (number, viewer), (), kind, name))
        else:
            flows.append(PatternFlow(KNOWN_TO_IPV6, (viewer, number), (), kind, name))
            flows.append(PatternFlow(KNOWN_FROM_IPV6, (viewer, number), (), kind, name))
    return flows


def tunnel_flow(mac: int, vtep: bytes, view: View, kind: str, name: str) -> PatternFlow:
    """Make the flow by which a MAC address is reached on another host."""
    what = (view.vni, int.from_bytes(vtep, "big"), view.tunnel_port)
    return PatternFlow(REMOTE, (mac, view.vni), what, kind, name)
