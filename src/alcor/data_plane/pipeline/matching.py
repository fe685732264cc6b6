"""Terms that several tables match on, and ranges turned into masked values."""

from collections.abc import Iterator

from alcor.data_plane.pipeline.flow import Field, Term

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
ARP_REQUEST = 1
ARP_REPLY = 2
ICMP = 1
TCP = 6
UDP = 17
SCTP = 132
ICMP_ECHO_REPLY = 0
ICMP_ECHO_REQUEST = 8

IS_IPV4 = Term(Field.ETH_TYPE, ETHERTYPE_IPV4)
IS_ARP = Term(Field.ETH_TYPE, ETHERTYPE_ARP)
IS_ARP_REQUEST = Term(Field.ARP_OP, ARP_REQUEST)

_FULL_IPV4 = 0xFFFFFFFF


def prefix_terms(field: Field, network: bytes, prefix_len: int) -> tuple[Term, ...]:
    """Match an IPv4 prefix: no term for the whole space, an exact one for a single address."""
    if prefix_len == 0:
        return ()
    if prefix_len == 32:
        return (Term(field, int.from_bytes(network, "big")),)
    mask = _FULL_IPV4 << (32 - prefix_len) & _FULL_IPV4
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
