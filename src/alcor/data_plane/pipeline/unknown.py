"""Flows for addresses of an on-demand network that are not held: the agent asks who has them.

One subnet is one unit: what no placement answers, and is inside the subnet, goes to the agent. An address
outside, broadcast and multicast stay dropped. Three places, as a workload may know the MAC address already:

    arp       a question for the address
    next_hop  a routed packet
    remote    a packet for a MAC address that the workload still knows, but this host no longer
"""

from alcor.data_plane.pipeline import tables
from alcor.data_plane.pipeline.flow import Field, Flow, FlowKey, Match, Term, ToAgent
from alcor.data_plane.pipeline.matching import IS_ARP, IS_ARP_REQUEST, IS_IPV4, prefix_terms
from alcor.data_plane.pipeline.tables import Table
from alcor.model.goal_state import SubnetEntry

ASKING_TABLES = frozenset({int(Table.ARP), int(Table.NEXT_HOP), int(Table.REMOTE)})

_UNICAST = Term(Field.ETH_DST, 0, 1 << 40)  # the group bit of a MAC address is not set
_ASK = (ToAgent(),)


def unknown_flows(subnet: SubnetEntry, vni: int) -> list[Flow]:
    """Make the flows of one subnet."""
    network, prefix_len = subnet.cidr
    if len(network) != 4:
        return []
    in_network = Term(Field.REG0, vni)
    to_address = prefix_terms(Field.IP_DST, network, prefix_len)
    asked_for = prefix_terms(Field.ARP_TPA, network, prefix_len)
    matches: tuple[tuple[Table, Match], ...] = (
        (Table.ARP, (IS_ARP, IS_ARP_REQUEST, *asked_for, in_network)),
        (Table.NEXT_HOP, (IS_IPV4, *to_address, in_network)),
        (Table.REMOTE, (_UNICAST, IS_IPV4, *to_address, in_network)),
    )
    origin = f"subnet {subnet.id} asks who has the address"
    return [Flow(FlowKey(table, tables.UNKNOWN, match), _ASK, origin) for table, match in matches]
