"""Security groups as conjunctions: names, clauses of rules, ports and members, and the flows they end in.

A conjunction is named (direction, group, remote group or empty, address group or empty). Without these remotes
it has two clauses: ports of the group, and a rule's prefix, protocol and port. With one it has three: ports,
addresses, and protocol and port. Addresses of a group's members are those that the port's network sees.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from alcor.data_plane.pipeline import matching, tables
from alcor.data_plane.pipeline.flow import Conjunction, Field, Flow, FlowKey, ForgetTrack, Goto, Match, Term
from alcor.data_plane.pipeline.tables import Table
from alcor.model.goal_state import Prefix, Rule

_IPV4 = 4
_L4_FIELDS = {
    matching.TCP: Field.TCP_DST,
    matching.UDP: Field.UDP_DST,
    matching.SCTP: Field.SCTP_DST,
}
_TRACK_TABLES = {False: Table.EGRESS_TRACK, True: Table.INGRESS_TRACK}
_RULE_TABLES = {False: Table.EGRESS_RULES, True: Table.INGRESS_RULES}
_ACCEPT_TABLES = {False: Table.EGRESS_ACCEPT, True: Table.INGRESS_ACCEPT}
_PORT_FIELDS = {False: Field.REG1, True: Field.REG2}
_REMOTE_FIELDS = {False: Field.IP_DST, True: Field.IP_SRC}


class ConjunctionName(NamedTuple):
    """What a conjunction is for. `remote`, `addresses`: the remote group or address group; empty: none."""

    is_ingress: bool
    group: str
    remote: str
    addresses: str = ""

    @property
    def clauses(self) -> int:
        return 3 if self.remote or self.addresses else 2

    def __str__(self) -> str:
        direction = "ingress" if self.is_ingress else "egress"
        remote = f" with members of {self.remote}" if self.remote else ""
        if self.addresses:
            remote = f" with addresses of {self.addresses}"
        return f"security group {self.group}: {direction}{remote}"


class Clause(NamedTuple):
    """One contribution to a flow: the flow's key, the conjunction it helps, and why."""

    key: FlowKey
    conjunction: tuple[int, int, int]  # id, clause, clauses
    origin: str


def is_enforceable(rule: Rule) -> bool:
    """Can the pipeline hold a rule to the letter? Ports are matched for TCP, UDP and SCTP, types for ICMP."""
    return rule.ethertype != _IPV4 or rule.port_min is None or rule.protocol in (matching.ICMP, *_L4_FIELDS)


def is_rendered(rule: Rule) -> bool:
    """Does the rule give flows? Those of IPv6 and those that are refused do not."""
    return rule.ethertype == _IPV4 and is_enforceable(rule)


def conjunction_of(group_id: str, rule: Rule) -> ConjunctionName:
    """Name the conjunction that a rule belongs to."""
    return ConjunctionName(rule.is_ingress, group_id, rule.remote_group or "", rule.remote_addresses or "")


def accept_flow(name: ConjunctionName, number: int) -> Flow:
    """Make the flow that a satisfied conjunction ends in."""
    key = FlowKey(
        _RULE_TABLES[name.is_ingress],
        tables.RULES_CONJUNCTION,
        (matching.IS_IPV4, Term(Field.CONJ_ID, number)),
    )
    return Flow(key, (Goto(_ACCEPT_TABLES[name.is_ingress]),), str(name))


def rule_clauses(group_id: str, rule: Rule, number: int) -> list[Clause]:
    """Give the clauses of one rule: one for each masked value of its port range."""
    remote: Match = ()
    if rule.remote_group is None and rule.remote_prefix is not None:
        network, prefix_len = rule.remote_prefix
        remote = matching.prefix_terms(_REMOTE_FIELDS[rule.is_ingress], network, prefix_len)
    clauses = conjunction_of(group_id, rule).clauses
    origin = f"rule {rule.id} of security group {group_id}"
    return [
        Clause(_clause_key(rule.is_ingress, (*remote, *l4)), (number, clauses, clauses), origin)
        for l4 in _l4_terms(rule)
    ]


def port_clause(name: ConjunctionName, number: int, port_id: str, port_key: int) -> Clause:
    """Give the clause by which a local port is in a group."""
    key = FlowKey(
        _RULE_TABLES[name.is_ingress],
        tables.RULES_CONJUNCTION,
        (matching.IS_IPV4, Term(_PORT_FIELDS[name.is_ingress], port_key)),
    )
    return Clause(key, (number, 1, name.clauses), f"port {port_id} is in the security group")


def member_clause(name: ConjunctionName, number: int, vni: int, ip: bytes, prefix_len: int = 32) -> Clause:
    """Give the clause by which addresses, as seen from the network `vni`, are a member's."""
    address = matching.prefix_terms(_REMOTE_FIELDS[name.is_ingress], ip, prefix_len)
    key = FlowKey(
        _RULE_TABLES[name.is_ingress],
        tables.RULES_CONJUNCTION,
        (matching.IS_IPV4, *address, Term(Field.REG0, vni)),
    )
    return Clause(key, (number, 2, 3), f"member of security group {name.remote}")


def address_clause(name: ConjunctionName, number: int, address: Prefix) -> Clause:
    """Give the clause by which addresses are in an address group, the same for every network."""
    terms = matching.prefix_terms(_REMOTE_FIELDS[name.is_ingress], *address)
    key = FlowKey(_RULE_TABLES[name.is_ingress], tables.RULES_CONJUNCTION, (matching.IS_IPV4, *terms))
    return Clause(key, (number, 2, 3), f"in address group {name.addresses}")


def untracked_flows(port_id: str, port_key: int) -> list[Flow]:
    """Lead a port's packets past connection tracking. What another port's tracking found is forgotten first."""
    return [
        Flow(
            FlowKey(
                track, tables.TRACK_STATELESS, (matching.IS_IPV4, Term(_PORT_FIELDS[is_ingress], port_key))
            ),
            (ForgetTrack(), Goto(_RULE_TABLES[is_ingress])),
            f"port {port_id} is in stateless security groups",
        )
        for is_ingress, track in _TRACK_TABLES.items()
    ]


def clause_flow(key: FlowKey, clauses: Iterable[tuple[tuple[int, int, int], str]]) -> Flow:
    """Merge what all conjunctions want of one match into one flow."""
    ordered = sorted(set(clauses))
    conjunctions = sorted({conjunction for conjunction, _ in ordered})
    origin = "; ".join(dict.fromkeys(origin for _, origin in ordered))
    return Flow(key, tuple(Conjunction(*conjunction) for conjunction in conjunctions), origin)


def _clause_key(is_ingress: bool, terms: Match) -> FlowKey:
    return FlowKey(
        _RULE_TABLES[is_ingress],
        tables.RULES_CONJUNCTION,
        tuple(sorted((matching.IS_IPV4, *terms), key=_field)),
    )


def _field(term: Term) -> Field:
    return term.field


def _l4_terms(rule: Rule) -> Iterator[Match]:
    if rule.protocol is None:
        yield ()
        return
    protocol = Term(Field.IP_PROTO, rule.protocol)
    if rule.port_min is None:
        yield (protocol,)
    elif rule.protocol == matching.ICMP:
        code = () if rule.port_max is None else (Term(Field.ICMP_CODE, rule.port_max),)
        yield (protocol, Term(Field.ICMP_TYPE, rule.port_min), *code)
    else:
        high = rule.port_min if rule.port_max is None else rule.port_max
        for terms in matching.range_terms(_L4_FIELDS[rule.protocol], rule.port_min, high):
            yield (protocol, *terms)
