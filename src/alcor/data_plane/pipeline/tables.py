"""Tables, registers and priorities of the pipeline; the drawing is in ARCHITECTURE.md.

    reg0  VNI of the network the packet is in
    reg1  key of the sending local port, also its conntrack zone
    reg2  key of the receiving local port, also its conntrack zone
    reg3  number of the router that the packet goes through
    reg4  scratch while an ARP request becomes its reply

The tunnel identifier is 64 bits wide on a switch; a Move between it and a register concerns the low 32.
"""

from enum import IntEnum


class Table(IntEnum):
    """A table of the pipeline; the numbers are what the switch sees."""

    CLASSIFY = 0
    SPOOF = 5
    ARP = 10
    ARP_REPLY = 11
    EGRESS_TRACK = 20
    EGRESS_RULES = 25
    EGRESS_ACCEPT = 26
    FORWARD = 40
    ROUTE = 45
    NEXT_HOP = 47
    LOCAL = 50
    REMOTE = 60
    INGRESS_TRACK = 70
    INGRESS_RULES = 72
    INGRESS_ACCEPT = 73
    DELIVER = 75

    @property
    def title(self) -> str:
        """The name that people read."""
        return self.name.lower()


# Priorities. Within a table a larger number wins; everything that has one reason has one number.
DEFAULT = 0
NORMAL = 100
UNKNOWN = 50  # below every placement, above what drops

SPOOF_OWN_ADDRESS = 110  # an ARP question for the asker's own address is never answered
SPOOF_ARP = 100
SPOOF_DHCP = 90
SPOOF_IPV4 = 80

RULES_INVALID = 100
RULES_REPLY = 90
RULES_MARKED_REPLY = 80
RULES_CONJUNCTION = 50  # clauses and conj_id flows: Open vSwitch wants one priority for a conjunction
RULES_REVOKE = 10

ROUTE_PING = 200
ROUTE_TO_SELF = 190
ROUTE_EXPIRED = 150
ROUTE_PREFIX = 10  # plus the prefix length

REMOTE_FROM_TUNNEL = 200
