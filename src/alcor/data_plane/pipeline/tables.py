"""Tables, registers and priorities of the pipeline; the drawing is in ARCHITECTURE.md.

    reg0  VNI of the network the packet is in
    reg1  key of the sending local port, also its conntrack zone
    reg2  key of the receiving local port, also its conntrack zone
    reg3  number of the router that the packet goes through, and of the address scope that it came in from
    reg4  scratch while an ARP request becomes its reply; whom a neighbour solicitation asks for;
          VNI of the unknown address that rules ask about
    reg5  address that is looked for: of a question what it asks for, of a routed packet its destination, or the
          next hop of an extra route
    reg6  why a packet is handed to the agent and by which table, see `hand_over`
    reg7  key of the local port to whose account that goes
    xxreg2  (reg8 to reg11) the same of an IPv6 packet

The tunnel identifier is 64 bits wide on a switch; a Move between it and a register concerns the low 32.
"""

from enum import IntEnum
from typing import NamedTuple


class Table(IntEnum):
    """A table of the pipeline; the numbers are what the switch sees."""

    CLASSIFY = 0
    SPOOF = 5
    ARP = 10
    ND = 12
    EGRESS_TRACK = 20
    EGRESS_RULES = 25
    EGRESS_ACCEPT = 26
    EGRESS_REFUSED = 27
    FORWARD = 40
    ROUTE = 45
    NEIGHBOUR = 47
    LOCAL = 50
    ARP_REPLY = 52
    ND_REPLY = 54
    ND_OPTION = 56
    REMOTE = 60
    INGRESS_TRACK = 70
    INGRESS_RULES = 72
    INGRESS_ACCEPT = 73
    INGRESS_REFUSED = 74
    DELIVER = 75
    RETURN = 77
    HAND_OVER = 80

    @property
    def title(self) -> str:
        """The name that people read."""
        return self.name.lower()


class Direction(NamedTuple):
    """The tables by which security groups decide in one direction, in the order of a packet's visits."""

    track: Table
    rules: Table
    accept: Table
    refused: Table


EGRESS = Direction(Table.EGRESS_TRACK, Table.EGRESS_RULES, Table.EGRESS_ACCEPT, Table.EGRESS_REFUSED)
INGRESS = Direction(Table.INGRESS_TRACK, Table.INGRESS_RULES, Table.INGRESS_ACCEPT, Table.INGRESS_REFUSED)

# Priorities. Within a table a larger number wins; everything that has one reason has one number.
DEFAULT = 0
NORMAL = 100
UNKNOWN = 50  # below every placement, above what drops
UNKNOWN_ASKED = 60  # a question, which goes back to where questions begin

CLASSIFY_TAGGED = 110  # frames with a VLAN tag: of a sub-port, or of nobody
CLASSIFY_SUB_PORT = 120

DELIVER_BACK = 110  # to where the packet came from, which a plain output would not do

SPOOF_OWN_ADDRESS = 110  # a question for the asker's own address is never answered
SPOOF_HELD_ADDRESS = 105  # nor one for an address of a pair that the asker holds
SPOOF_ARP = 100  # and neighbour solicitations
SPOOF_PAIR_ARP = 95  # below its own addresses: what it says of others is an announcement
SPOOF_DHCP = 90  # and router solicitations
SPOOF_REFUSED = 85  # IPv6 that no workload may send, above addresses from which it may send else
SPOOF_IP = 80

ARP_QUESTION = 10  # below gateways' own answers
ND_QUESTION = 10

ND_REPLY_UNDECIDED = 110  # to a sender without address

TRACK_STATELESS = 110  # above what leads to connection tracking

RULES_INVALID = 100
RULES_REPLY = 90
RULES_MARKED_REPLY = 80
RULES_CONJUNCTION = 50  # clauses and conj_id flows: Open vSwitch wants one priority for a conjunction
RULES_KNOWN = 30  # whose groups are known and not allowed: below what allows, above asking
RULES_UNKNOWN = 20

FORWARD_LINK_LOCAL = 50  # below routers' own MAC addresses

LOCAL_QUESTION = 200  # above where packets go: what was asked for is known now

ROUTE_PING = 400
ROUTE_TO_SELF = 390
ROUTE_LINK_LOCAL = 380
ROUTE_EXPIRED = 350  # above every prefix
ROUTE_PREFIX = 10  # plus twice the prefix length, 266 at most: the longest wins
ROUTE_CONNECTED = 1  # more: a subnet goes before an extra route for the same prefix

REMOTE_FROM_TUNNEL = 200
