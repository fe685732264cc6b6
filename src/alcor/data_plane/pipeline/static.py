"""Flows that every host has, whatever it holds."""

from collections.abc import Iterator

from alcor.data_plane.pipeline import discovery, hand_over, tables
from alcor.data_plane.pipeline.flow import (
    VLAN_PRESENT,
    Action,
    Commit,
    CtState,
    Field,
    Flow,
    FlowKey,
    Goto,
    Match,
    Move,
    OutputInPort,
    SetField,
    Term,
    Track,
)
from alcor.data_plane.pipeline.matching import (
    ARP_REPLY,
    IP_VERSIONS,
    IS_ARP,
    IS_ARP_REQUEST,
    IS_IPV6,
    LINK_LOCAL_PREFIX,
    ordered,
    prefix_terms,
)
from alcor.data_plane.pipeline.tables import EGRESS, INGRESS, Direction, Table

_EVERYTHING: Match = ()

_UNMATCHED = {
    Table.CLASSIFY: "no workload is known at this port",
    Table.SPOOF: "anti-spoofing: not the port's own address, or neither ARP nor IP",
    Table.ARP: "not an ARP question",
    Table.ARP_REPLY: "not ARP",
    Table.ND: "not a neighbour solicitation",
    Table.ND_REPLY: "not a neighbour solicitation",
    Table.ND_OPTION: "not a neighbour advertisement",
    Table.EGRESS_TRACK: "not IP",
    Table.EGRESS_REFUSED: "no egress rule of the security groups allows it",
    Table.ROUTE: "the router has no interface and no route towards the destination in the same address scope",
    Table.NEIGHBOUR: "nobody in this network has the address",
    Table.REMOTE: "nobody in this network has the destination MAC address",
    Table.INGRESS_TRACK: "not IP",
    Table.INGRESS_REFUSED: "no ingress rule of the security groups allows it",
    Table.DELIVER: "the workload of the port is not plugged",
}


def static_flows(tunnel_port: int) -> list[Flow]:
    """Make the flows that depend on nothing but the tunnel's OpenFlow port."""
    from_tunnel = Term(Field.IN_PORT, tunnel_port)
    return [
        *(
            _flow(
                Table.CLASSIFY,
                tables.NORMAL,
                (from_tunnel, version.is_ip),
                (Move(Field.TUN_ID, Field.REG0), Goto(Table.LOCAL)),
                "from the tunnel",
            )
            for version in IP_VERSIONS
        ),
        _flow(
            Table.CLASSIFY,
            tables.CLASSIFY_TAGGED,
            (Term(Field.VLAN_VID, VLAN_PRESENT, VLAN_PRESENT),),
            (),
            "no sub-port of the port has this VLAN",
        ),
        *_arp_questions(),
        *discovery.static_flows(),
        *_link_local(),
        _flow(Table.RETURN, tables.DEFAULT, _EVERYTHING, (OutputInPort(),), "back to the sender"),
        *_rules(EGRESS, Table.FORWARD, Field.REG1),
        *_expired(),
        _flow(Table.FORWARD, tables.DEFAULT, _EVERYTHING, (Goto(Table.LOCAL),), "not for a router"),
        _flow(Table.LOCAL, tables.DEFAULT, _EVERYTHING, (Goto(Table.REMOTE),), "not on this host"),
        _flow(
            Table.REMOTE,
            tables.REMOTE_FROM_TUNNEL,
            (from_tunnel,),
            (),
            "from the tunnel only to ports of this host",
        ),
        *_rules(INGRESS, Table.DELIVER, Field.REG2),
        *(_flow(table, tables.DEFAULT, _EVERYTHING, (), why) for table, why in _UNMATCHED.items()),
        *hand_over.hand_over_flows(),
    ]


def _arp_questions() -> Iterator[Flow]:
    """Look for what is asked for where a routed packet's next hop is looked for, too: one flow serves both.

    The MAC address found, or a gateway's, is the question's destination then; so it becomes its reply.
    """
    look_up = (Move(Field.ARP_TPA, Field.REG5), Goto(Table.NEIGHBOUR))
    yield _flow(Table.ARP, tables.ARP_QUESTION, (IS_ARP, IS_ARP_REQUEST), look_up, "an ARP question")
    yield _flow(Table.LOCAL, tables.LOCAL_QUESTION, (IS_ARP,), (Goto(Table.ARP_REPLY),), "ARP answer")
    yield _flow(
        Table.ARP_REPLY,
        tables.NORMAL,
        (IS_ARP,),
        (
            Move(Field.ETH_DST, Field.ARP_THA),
            Move(Field.ETH_SRC, Field.ETH_DST),
            Move(Field.ARP_THA, Field.ETH_SRC),
            Move(Field.ARP_SHA, Field.ARP_THA),
            Move(Field.ETH_SRC, Field.ARP_SHA),
            Move(Field.ARP_SPA, Field.REG4),
            Move(Field.ARP_TPA, Field.ARP_SPA),
            Move(Field.REG4, Field.ARP_TPA),
            SetField(Field.ARP_OP, ARP_REPLY),
            Goto(Table.RETURN),
        ),
        "ARP answer",
    )


def _expired() -> list[Flow]:
    """Hand over what may not be forwarded once more, for ICMP time exceeded (RFC 1812, 5.3.1; RFC 4443)."""
    return [
        _flow(
            Table.ROUTE,
            tables.ROUTE_EXPIRED,
            (version.is_ip, Term(Field.IP_TTL, ttl)),
            hand_over.way(Table.ROUTE, hand_over.Reason.ANSWER),
            "the time to live is used up",
        )
        for version in IP_VERSIONS
        for ttl in (0, 1)
    ]


def _link_local() -> list[Flow]:
    """Keep packets from link-local addresses on their link: they are for the gateway (RFC 4291, 2.5.6)."""
    source = ordered(IS_IPV6, *prefix_terms(Field.IPV6_SRC, *LINK_LOCAL_PREFIX))
    return [
        _flow(
            Table.FORWARD,
            tables.FORWARD_LINK_LOCAL,
            source,
            (),
            "from a link-local address to the gateway only",
        ),
        _flow(Table.ROUTE, tables.ROUTE_LINK_LOCAL, source, (), "link-local addresses are not routed"),
    ]


def _rules(direction: Direction, onward: Table, zone: Field) -> list[Flow]:
    """Make the fixed part of connection tracking in one direction.

    Conjunctions decide about new packets and the original direction, between replies and what is not allowed.
    """
    track, rules, accept, refused = direction
    trk, est, rpl, rel = CtState.TRK, CtState.EST, CtState.RPL, CtState.REL
    unmarked = Term(Field.CT_MARK, 0)
    forth = (Goto(onward),)
    return [
        *(
            _flow(track, tables.NORMAL, (version.is_ip,), (Track(zone, rules),), "connection tracking")
            for version in IP_VERSIONS
        ),
        _flow(rules, tables.RULES_INVALID, (_state(trk | CtState.INV),), (), "not part of any connection"),
        _flow(rules, tables.RULES_REPLY, (_state(trk | est | rpl), unmarked), forth, "reply of a connection"),
        _flow(rules, tables.RULES_REPLY, (_state(trk | rel), unmarked), forth, "related to a connection"),
        *(
            _flow(
                rules,
                tables.RULES_MARKED_REPLY,
                (_state(state),),
                (),
                "the rule that allowed the connection was revoked",
            )
            for state in (trk | est | rpl, trk | rel)
        ),
        _flow(rules, tables.DEFAULT, _EVERYTHING, (Goto(refused),), "no rule allows it"),
        *(
            _flow(
                refused,
                tables.NORMAL,
                (version.is_ip, Term(Field.CT_STATE, trk | est, trk | est | rpl), unmarked),
                (Commit(zone, 1),),
                f"no {rules.title.split('_')[0]} rule of the security groups allows it any longer",
            )
            for version in IP_VERSIONS
        ),
        _flow(accept, tables.NORMAL, (_state(trk | est), unmarked), forth, "connection known and allowed"),
        _flow(accept, tables.NORMAL, (Term(Field.CT_STATE, 0, trk),), forth, "allowed without a connection"),
        *(
            _flow(accept, tables.DEFAULT, (version.is_ip,), (Commit(zone, 0), *forth), "connection allowed")
            for version in IP_VERSIONS
        ),
    ]


def _state(bits: int) -> Term:
    return Term(Field.CT_STATE, bits, bits)


def _flow(table: Table, priority: int, match: Match, actions: tuple[Action, ...], origin: str) -> Flow:
    return Flow(FlowKey(table, priority, match), actions, origin)
