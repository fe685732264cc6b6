"""Terms that several tables match on, what the two IP versions call things, and ranges as masked values."""

from collections.abc import Iterator
from typing import NamedTuple

from alcor.data_plane.pipeline.flow import Field, Match, Term

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
ETHERTYPE_IPV6 = 0x86DD
ARP_REQUEST = 1
ARP_REPLY = 2
ICMP = 1
TCP = 6
UDP = 17
ICMPV6 = 58
SCTP = 132
ICMP_ECHO_REPLY = 0
ICMP_ECHO_REQUEST = 8
ICMPV6_ECHO_REQUEST = 128
ICMPV6_ECHO_REPLY = 129
ROUTER_SOLICITATION = 133  # types of ICMPv6 (RFC 4861, section 4)
ROUTER_ADVERTISEMENT = 134
NEIGHBOUR_SOLICITATION = 135
NEIGHBOUR_ADVERTISEMENT = 136
REDIRECT = 137
ND_HOP_LIMIT = 255  # nobody has forwarded it (RFC 4861, section 3.1)

IS_IPV4 = Term(Field.ETH_TYPE, ETHERTYPE_IPV4)
IS_IPV6 = Term(Field.ETH_TYPE, ETHERTYPE_IPV6)
IS_ICMPV6 = Term(Field.IP_PROTO, ICMPV6)
IS_ARP = Term(Field.ETH_TYPE, ETHERTYPE_ARP)
IS_ARP_REQUEST = Term(Field.ARP_OP, ARP_REQUEST)
IS_SOLICITATION = Term(Field.ICMPV6_TYPE, NEIGHBOUR_SOLICITATION)
LINK_LOCAL_PREFIX = (b"\xfe\x80" + bytes(14), 10)  # RFC 4291, section 2.5.6
MULTICAST_PREFIX = (b"\xff" + bytes(15), 8)


class IpVersion(NamedTuple):
    """What one version of IP calls the same things."""

    number: int
    ethertype: int
    is_ip: Term
    source: Field
    destination: Field
    next_hop: Field  # the register with the address that a routed packet goes to next
    icmp: int  # the protocol
    icmp_type: Field
    icmp_code: Field
    echo_request: int
    echo_reply: int
    bits: int  # of an address


IPV4 = IpVersion(
    4,
    ETHERTYPE_IPV4,
    IS_IPV4,
    Field.IP_SRC,
    Field.IP_DST,
    Field.REG5,
    ICMP,
    Field.ICMP_TYPE,
    Field.ICMP_CODE,
    ICMP_ECHO_REQUEST,
    ICMP_ECHO_REPLY,
    32,
)
IPV6 = IpVersion(
    6,
    ETHERTYPE_IPV6,
    IS_IPV6,
    Field.IPV6_SRC,
    Field.IPV6_DST,
    Field.XXREG2,
    ICMPV6,
    Field.ICMPV6_TYPE,
    Field.ICMPV6_CODE,
    ICMPV6_ECHO_REQUEST,
    ICMPV6_ECHO_REPLY,
    128,
)
IP_VERSIONS = (IPV4, IPV6)


def version_of(ip: bytes) -> IpVersion:
    """Give the IP version of a packed address."""
    return IPV4 if len(ip) == 4 else IPV6


def ordered(*terms: Term) -> Match:
    """Put terms into the order of fields, by which prerequisites come first."""
    return tuple(sorted(terms, key=_field))


def prefix_terms(field: Field, network: bytes, prefix_len: int) -> tuple[Term, ...]:
    """Match an IP prefix: no term for the whole space, an exact one for a single address."""
    bits = len(network) * 8
    if prefix_len == 0:
        return ()
    if prefix_len == bits:
        return (Term(field, int.from_bytes(network, "big")),)
    full = (1 << bits) - 1
    mask = full << (bits - prefix_len) & full
    return (Term(field, int.from_bytes(network, "big") & mask, mask),)


def range_terms(field: Field, low: int, high: int) -> Iterator[tuple[Term, ...]]:
    """Cover the 16-bit range (inclusive) with as few masked values as there can be, ascending."""
    while low <= high:
        size = low & -low or 0x10000
        while size > high - low + 1:
            size >>= 1
        mask = 0x10000 - size
        if mask == 0xFFFF:
            yield (Term(field, low),)
        elif mask == 0:
            yield ()
        else:
            yield (Term(field, low, mask),)
        low += size


def _field(term: Term) -> Field:
    return term.field
