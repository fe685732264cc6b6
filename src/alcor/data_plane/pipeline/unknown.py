"""Flows for addresses of an on-demand network that are not held: the agent asks who has them.

One subnet is one unit: what no placement answers, and is inside the subnet, goes to the agent. An address
outside, broadcast and multicast stay dropped. Four places, as a workload may know the MAC address already, and
a rule may ask whether an address is a group's member before or after the packet is forwarded:

    egress_rules   a packet that no rule allows, to an address whose groups are not known
    neighbour      a question for the address, or a routed packet that goes to it next
    remote         a packet for a MAC address that the workload still knows, but this host no longer
    ingress_rules  a packet that no rule allows, from an address whose groups are not known
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from alcor.data_plane.pipeline import hand_over, tables
from alcor.data_plane.pipeline.flow import Field, Flow, FlowKey, Match, SetField, Term
from alcor.data_plane.pipeline.hand_over import Reason
from alcor.data_plane.pipeline.matching import (
    IPV4,
    IS_ARP,
    IS_ICMPV6,
    IS_IPV6,
    IS_SOLICITATION,
    ordered,
    prefix_terms,
    version_of,
)
from alcor.data_plane.pipeline.tables import Table
from alcor.model.goal_state import SubnetEntry


class Asking(NamedTuple):
    """How a table asks: registers with the address's VNI and the key of the port to whose account it goes."""

    vni: Field
    port: Field
    resume: (
        Table  # where the packet goes on: rules need its connection to be tracked again, questions begin anew
    )
    asks_source: bool = False
    is_next_hop: bool = False  # a register has the address, which one says the IP version; else the packet


ASKING: Mapping[int, Asking] = {
    Table.ARP: Asking(Field.REG0, Field.REG1, Table.ARP),
    Table.ND: Asking(Field.REG0, Field.REG1, Table.ND),
    Table.EGRESS_RULES: Asking(Field.REG4, Field.REG1, Table.EGRESS_TRACK),
    Table.NEIGHBOUR: Asking(Field.REG0, Field.REG1, Table.NEIGHBOUR, is_next_hop=True),
    Table.REMOTE: Asking(Field.REG0, Field.REG1, Table.REMOTE),
    Table.INGRESS_RULES: Asking(Field.REG4, Field.REG2, Table.INGRESS_TRACK, asks_source=True),
}
RESUMED_FIELDS = (
    Field.REG0,
    Field.REG1,
    Field.REG2,
    Field.REG5,
    Field.XXREG2,
)  # what a packet must have again to go on

_UNICAST = Term(Field.ETH_DST, 0, 1 << 40)  # the group bit of a MAC address is not set


def unknown_flows(subnet: SubnetEntry, vni: int, viewers: Iterable[int]) -> list[Flow]:
    """Make the flows of one subnet. `viewers`: VNIs of local ports that exchange packets with its network."""
    network, prefix_len = subnet.cidr
    version = version_of(network)
    in_network = Term(Field.REG0, vni)
    to_address = prefix_terms(version.destination, network, prefix_len)
    from_address = prefix_terms(version.source, network, prefix_len)
    next_hop = prefix_terms(version.next_hop, network, prefix_len)
    question = (IS_ARP,) if version is IPV4 else (IS_IPV6, IS_ICMPV6, IS_SOLICITATION)
    asked_in = Table.ARP if version is IPV4 else Table.ND
    cases: tuple[tuple[Table, int, Match, Table], ...] = (
        (Table.NEIGHBOUR, tables.UNKNOWN_ASKED, ordered(*question, in_network, *next_hop), asked_in),
        (Table.NEIGHBOUR, tables.UNKNOWN, ordered(version.is_ip, in_network, *next_hop), Table.NEIGHBOUR),
        (Table.REMOTE, tables.UNKNOWN, ordered(_UNICAST, version.is_ip, *to_address, in_network), Table.REMOTE),
    )
    origin = f"subnet {subnet.id} asks who has the address"
    flows = [
        Flow(FlowKey(table, priority, match), hand_over.way(back, Reason.QUESTION), origin)
        for table, priority, match, back in cases
    ]
    for viewer in viewers:
        for table, address, reason in (
            (Table.EGRESS_RULES, to_address, Reason.QUESTION),
            (Table.INGRESS_RULES, from_address, Reason.ARRIVAL),
        ):
            match = ordered(version.is_ip, *address, Term(Field.REG0, viewer))
            key = FlowKey(table, tables.RULES_UNKNOWN, match)
            ask = (SetField(Field.REG4, vni), *hand_over.way(table, reason))
            flows.append(Flow(key, ask, f"subnet {subnet.id} asks for the address's groups"))
    return flows
