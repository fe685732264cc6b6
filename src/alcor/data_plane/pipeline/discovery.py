"""Flows for IPv6 neighbour discovery (RFC 4861): what a port may send of it, and answers, made in the switch.

    spoof -> nd           a gateway's address -> its MAC address, into ETH_DST; else
             neighbour    (VNI, target) -> the MAC address, into ETH_DST; local gives it back
             nd_reply     the solicitation becomes an advertisement, but for the address in its option
             nd_option    ... which is a field of advertisements only, and so needs a match that says it is one

Solicitations, router solicitations and DHCPv6 never leave the host, so their link-local source may be any:
guests make theirs from the MAC address or at random (RFC 7217). A question from `::` (is the address a
duplicate? RFC 4862, section 5.4) is answered as RFC 4861, section 7.2.4, says: to all nodes, which here is
the one that asked.
"""

from collections.abc import Iterator
from enum import IntEnum

from alcor.data_plane.pipeline import hand_over, tables
from alcor.data_plane.pipeline.flow import (
    Action,
    Field,
    Flow,
    FlowKey,
    Goto,
    Match,
    Move,
    SetField,
    Term,
)
from alcor.data_plane.pipeline.matching import (
    ICMPV6_ECHO_REQUEST,
    IS_ICMPV6,
    IS_IPV6,
    IS_SOLICITATION,
    LINK_LOCAL_PREFIX,
    MULTICAST_PREFIX,
    ND_HOP_LIMIT,
    NEIGHBOUR_ADVERTISEMENT,
    NEIGHBOUR_SOLICITATION,
    REDIRECT,
    ROUTER_ADVERTISEMENT,
    ROUTER_SOLICITATION,
    UDP,
    ordered,
    prefix_terms,
)
from alcor.data_plane.pipeline.tables import Table
from alcor.model.goal_state import LocalPort


class Whose(IntEnum):
    """Whose address it is that a solicitation asks for; in reg4 until it is answered, of other packets 0."""

    HOST = 1
    ROUTER = 2


_ROUTER_FLAG, _SOLICITED, _OVERRIDE = 0x80000000, 0x40000000, 0x20000000  # RFC 4861, section 4.4
_TARGET_OPTION = 2
_ALL_NODES = int.from_bytes(b"\xff\x02" + bytes(13) + b"\x01", "big")
_UNDECIDED = Term(Field.IPV6_SRC, 0)  # `::`: the sender has no address yet
_LOCAL_SOURCE = prefix_terms(Field.IPV6_SRC, *LINK_LOCAL_PREFIX)
_FROM_NEIGHBOUR = Term(Field.IP_TTL, ND_HOP_LIMIT)
_NO_CODE = Term(Field.ICMPV6_CODE, 0)
_DHCP_PORTS = (Term(Field.IP_PROTO, UDP), Term(Field.UDP_SRC, 546), Term(Field.UDP_DST, 547))
_TO_ND = Goto(Table.ND)
_TO_AGENT = hand_over.way(Table.SPOOF, hand_over.Reason.ANSWER)


def gateway_flow(ip: int, mac: int, vni: int, origin: str) -> Flow:
    """Answer who has an address of a router's."""
    match = (IS_IPV6, IS_ICMPV6, Term(Field.REG0, vni), IS_SOLICITATION, Term(Field.ND_TARGET, ip))
    answer = (SetField(Field.ETH_DST, mac), SetField(Field.REG4, Whose.ROUTER), Goto(Table.ND_REPLY))
    return _flow(Table.ND, tables.NORMAL, match, answer, origin)


def static_flows() -> Iterator[Flow]:
    """Make the flows that every host has."""
    refused = {
        ROUTER_SOLICITATION: "not a router solicitation that a host may send",
        ROUTER_ADVERTISEMENT: "workloads advertise no routers",
        NEIGHBOUR_SOLICITATION: "not from the port's own address",
        NEIGHBOUR_ADVERTISEMENT: "neighbours are answered by the host",
        REDIRECT: "workloads redirect nobody",
    }
    for kind, why in refused.items():
        match: Match = (IS_IPV6, IS_ICMPV6, Term(Field.ICMPV6_TYPE, kind))
        yield _flow(Table.SPOOF, tables.SPOOF_REFUSED, match, (), f"anti-spoofing: {why}")
    to_many = ordered(IS_IPV6, *prefix_terms(Field.IPV6_DST, *MULTICAST_PREFIX))
    yield _flow(Table.SPOOF, tables.SPOOF_REFUSED, to_many, (), "multicast is not carried")
    look_up = (SetField(Field.REG4, Whose.HOST), Move(Field.ND_TARGET, Field.XXREG2), Goto(Table.NEIGHBOUR))
    asks = (IS_IPV6, IS_ICMPV6, IS_SOLICITATION)
    yield _flow(Table.ND, tables.ND_QUESTION, asks, look_up, "a neighbour solicitation")
    known = ordered(*asks, Term(Field.REG4, Whose.HOST))
    yield _flow(Table.LOCAL, tables.LOCAL_QUESTION, known, (Goto(Table.ND_REPLY),), _ORIGIN)
    for whose, flag in ((Whose.HOST, 0), (Whose.ROUTER, _ROUTER_FLAG)):
        for priority, source in ((tables.NORMAL, ()), (tables.ND_REPLY_UNDECIDED, (_UNDECIDED,))):
            match = ordered(IS_IPV6, IS_ICMPV6, Term(Field.REG4, whose), IS_SOLICITATION, *source)
            yield _flow(Table.ND_REPLY, priority, match, _turned(flag, to_all=bool(source)), _ORIGIN)
    is_turned = (IS_IPV6, IS_ICMPV6, Term(Field.ICMPV6_TYPE, NEIGHBOUR_ADVERTISEMENT))
    option = (Move(Field.ETH_SRC, Field.ND_TLL), Goto(Table.RETURN))
    yield _flow(Table.ND_OPTION, tables.NORMAL, is_turned, option, _ORIGIN)


_ORIGIN = "answer to a neighbour solicitation"


def _turned(flag: int, *, to_all: bool) -> tuple[Action, ...]:
    """Turn a solicitation into the advertisement, all but what only an advertisement has."""
    back: Action = Move(Field.IPV6_SRC, Field.IPV6_DST)
    if to_all:
        back = SetField(Field.IPV6_DST, _ALL_NODES)
    else:
        flag |= _SOLICITED
    return (
        Move(Field.ETH_DST, Field.ND_SLL),
        Move(Field.ETH_SRC, Field.ETH_DST),
        Move(Field.ND_SLL, Field.ETH_SRC),
        back,
        Move(Field.ND_TARGET, Field.IPV6_SRC),
        SetField(Field.ND_RESERVED, flag | _OVERRIDE),
        SetField(Field.ND_OPTIONS_TYPE, _TARGET_OPTION),
        SetField(Field.ICMPV6_TYPE, NEIGHBOUR_ADVERTISEMENT),
        Goto(Table.ND_OPTION),
    )


def guarded_flows(port: LocalPort, key: int, ips: list[int]) -> list[Flow]:
    """Let a port with these IPv6 addresses ask for neighbours, routers and addresses, and ping its gateway."""
    sender, own_mac = Term(Field.REG1, key), Term(Field.ETH_SRC, port.mac)
    origin = f"own neighbour discovery of port {port.id}"
    sources = ((_UNDECIDED,), _LOCAL_SOURCE, *((Term(Field.IPV6_SRC, ip),) for ip in ips))
    is_echo = Term(Field.ICMPV6_TYPE, ICMPV6_ECHO_REQUEST)
    ping = ordered(own_mac, IS_IPV6, IS_ICMPV6, sender, *_LOCAL_SOURCE, is_echo)
    return [
        *(_question_for_itself(port, ip, key) for ip in ips),
        *(
            _flow(Table.SPOOF, tables.SPOOF_ARP, asking(own_mac, sender, *source), (_TO_ND,), origin)
            for source in sources
        ),
        *_to_agent(port, own_mac, sender),
        _flow(
            Table.SPOOF,
            tables.SPOOF_IP,
            ping,
            (Goto(Table.EGRESS_TRACK),),
            f"link-local ping of port {port.id}",
        ),
    ]


def unguarded_flows(port: LocalPort, key: int, ips: list[int]) -> list[Flow]:
    """Let a port without port security ask in any name, and send any IPv6 packet to one receiver."""
    sender = Term(Field.REG1, key)
    origin = f"port {port.id} without port security"
    return [
        *(_question_for_itself(port, ip, key) for ip in ips),
        _flow(Table.SPOOF, tables.SPOOF_ARP, asking(sender), (_TO_ND,), origin),
        *_to_agent(port, sender),
        _flow(Table.SPOOF, tables.SPOOF_IP, (IS_IPV6, sender), (Goto(Table.FORWARD),), origin),
    ]


def asking(*sender: Term) -> Match:
    """Match a sender's solicitations for neighbours: those that no router has forwarded."""
    return ordered(IS_IPV6, IS_ICMPV6, _FROM_NEIGHBOUR, IS_SOLICITATION, _NO_CODE, *sender)


def saying(mac: int, network: bytes, prefix_len: int, sender: Term) -> Match:
    """Match advertisements by which a sender says that it has an address of a prefix, under a MAC address."""
    target = prefix_terms(Field.ND_TARGET, network, prefix_len)
    said = (Term(Field.ICMPV6_TYPE, NEIGHBOUR_ADVERTISEMENT), *target, Term(Field.ND_TLL, mac))
    return ordered(Term(Field.ETH_SRC, mac), IS_IPV6, IS_ICMPV6, _FROM_NEIGHBOUR, _NO_CODE, sender, *said)


def question(ip: int, key: int) -> Match:
    """Match what a local port asks for an address, in whatever name."""
    return (IS_IPV6, IS_ICMPV6, Term(Field.REG1, key), IS_SOLICITATION, Term(Field.ND_TARGET, ip))


def unsettled_sources(mac: int, sender: Term) -> Iterator[Match]:
    """Match the solicitations that a sender makes before it has an address: from none, and link-local ones."""
    for source in ((_UNDECIDED,), _LOCAL_SOURCE):
        yield asking(Term(Field.ETH_SRC, mac), sender, *source)


def _to_agent(port: LocalPort, *sender: Term) -> Iterator[Flow]:
    router = (IS_IPV6, IS_ICMPV6, _FROM_NEIGHBOUR, Term(Field.ICMPV6_TYPE, ROUTER_SOLICITATION))
    for what, match in (
        ("router solicitation", ordered(*router, _NO_CODE, *sender)),
        ("DHCPv6", ordered(IS_IPV6, *_DHCP_PORTS, *sender)),
    ):
        yield _flow(Table.SPOOF, tables.SPOOF_DHCP, match, _TO_AGENT, f"{what} of port {port.id}")


def _question_for_itself(port: LocalPort, ip: int, key: int) -> Flow:
    """Drop a question for the port's own address: the answer would say that it is a duplicate (RFC 4862)."""
    origin = f"address probe of port {port.id}"
    return _flow(Table.SPOOF, tables.SPOOF_OWN_ADDRESS, question(ip, key), (), origin)


def _flow(table: Table, priority: int, match: Match, actions: tuple[Action, ...], origin: str) -> Flow:
    return Flow(FlowKey(table, priority, match), actions, origin)
