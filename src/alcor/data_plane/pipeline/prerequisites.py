"""What a flow's match must say before its fields and actions mean anything: a switch refuses it otherwise.

As Open vSwitch checks when a flow is added (ovs-fields(7), "Prerequisites"): by the match alone, whatever an
earlier table, or an earlier action of the same flow, has seen or written.
"""

from collections.abc import Mapping
from types import MappingProxyType

from alcor.data_plane.pipeline import matching
from alcor.data_plane.pipeline.flow import AnyFlow, Commit, DecTtl, Field, Move, SetField, Track

_ARP = ((Field.ETH_TYPE, (matching.ETHERTYPE_ARP,)),)
_IPV4 = ((Field.ETH_TYPE, (matching.ETHERTYPE_IPV4,)),)
_IPV6 = ((Field.ETH_TYPE, (matching.ETHERTYPE_IPV6,)),)
_IP = ((Field.ETH_TYPE, (matching.ETHERTYPE_IPV4, matching.ETHERTYPE_IPV6)),)
_TCP, _UDP, _SCTP = (
    (*_IP, (Field.IP_PROTO, (protocol,))) for protocol in (matching.TCP, matching.UDP, matching.SCTP)
)
_ICMP = (*_IPV4, (Field.IP_PROTO, (matching.ICMP,)))
_ICMPV6 = (*_IPV6, (Field.IP_PROTO, (matching.ICMPV6,)))
_SOLICITATION = (*_ICMPV6, (Field.ICMPV6_TYPE, (matching.NEIGHBOUR_SOLICITATION,)))
_ADVERTISEMENT = (*_ICMPV6, (Field.ICMPV6_TYPE, (matching.NEIGHBOUR_ADVERTISEMENT,)))
_ND = (
    *_ICMPV6,
    (Field.ICMPV6_TYPE, (matching.NEIGHBOUR_SOLICITATION, matching.NEIGHBOUR_ADVERTISEMENT)),
)

_Needs = tuple[tuple[Field, tuple[int, ...]], ...]
_OF_FIELDS: Mapping[Field, _Needs] = MappingProxyType(
    {
        **dict.fromkeys((Field.ARP_OP, Field.ARP_SPA, Field.ARP_TPA, Field.ARP_SHA, Field.ARP_THA), _ARP),
        **dict.fromkeys((Field.IP_SRC, Field.IP_DST), _IPV4),
        **dict.fromkeys((Field.IPV6_SRC, Field.IPV6_DST), _IPV6),
        **dict.fromkeys((Field.IP_PROTO, Field.IP_TTL, Field.IP_FRAG), _IP),
        **dict.fromkeys((Field.TCP_SRC, Field.TCP_DST), _TCP),
        **dict.fromkeys((Field.UDP_SRC, Field.UDP_DST), _UDP),
        **dict.fromkeys((Field.SCTP_SRC, Field.SCTP_DST), _SCTP),
        **dict.fromkeys((Field.ICMP_TYPE, Field.ICMP_CODE), _ICMP),
        **dict.fromkeys((Field.ICMPV6_TYPE, Field.ICMPV6_CODE), _ICMPV6),
        **dict.fromkeys((Field.ND_TARGET, Field.ND_RESERVED, Field.ND_OPTIONS_TYPE), _ND),
        Field.ND_SLL: _SOLICITATION,
        Field.ND_TLL: _ADVERTISEMENT,
    }
)


def exists(field: Field, values: Mapping[Field, int]) -> bool:
    """Do these exact values say that a packet has the field?"""
    return all(values.get(needed) in allowed for needed, allowed in _OF_FIELDS.get(field, ()))


def missing(flow: AnyFlow) -> list[str]:
    """Name the fields and actions of a flow whose prerequisites its match does not say; none when it is fit."""
    exact = {term.field: term.value for term in flow.key.match if term.mask is None}
    named = [term.field for term in flow.key.match]
    found: list[str] = []
    for action in flow.actions:
        match action:
            case SetField(field=field):
                named.append(field)
            case Move(source=source, target=target):
                named += (source, target)
            case DecTtl() | Track() | Commit() if not exists(Field.IP_TTL, exact):
                found.append(type(action).__name__)
            case _:
                pass
    return [*(field.name for field in named if not exists(field, exact)), *found]
