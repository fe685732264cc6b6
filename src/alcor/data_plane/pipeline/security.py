"""Security groups as conjunctions: names, clauses of rules, ports and members, and the flows they end in.

A conjunction is named (direction, group, remote group or empty, address group or empty). Without these remotes
it has two clauses: ports of the group, and a rule's prefix, protocol and port. With one it has three: ports,
addresses, and protocol and port. Addresses of a group's members are those that the port's network sees.

Both IP versions share a conjunction: rules and addresses say which they are of, so that no clause of the one
completes the other. What is neither (ports, and what a conjunction ends in) says nothing, and is there once.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from alcor.data_plane.pipeline import matching, tables
from alcor.data_plane.pipeline.flow import Conjunction, Field, Flow, FlowKey, ForgetTrack, Goto, Match, Term
from alcor.data_plane.pipeline.tables import Table
from alcor.model.goal_state import Prefix, Rule

_L4_FIELDS = {
    matching.TCP: Field.TCP_DST,
    matching.UDP: Field.UDP_DST,
    matching.SCTP: Field.SCTP_DST,
}
_TRACK_TABLES = {False: Table.EGRESS_TRACK, True: Table.INGRESS_TRACK}
_RULE_TABLES = {False: Table.EGRESS_RULES, True: Table.INGRESS_RULES}
_ACCEPT_TABLES = {False: Table.EGRESS_ACCEPT, True: Table.INGRESS_ACCEPT}
_PORT_FIELDS = {False: Field.REG1, True: Field.REG2}
_VERSIONS = {version.number: version for version in matching.IP_VERSIONS}


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
    """Can the pipeline hold a rule to the letter? Ports are matched for TCP, UDP and SCTP, types for ICMP.

    Each IP version has an ICMP of its own.
    """
    return rule.port_min is None or rule.protocol in (_VERSIONS[rule.ethertype].icmp, *_L4_FIELDS)


def conjunction_of(group_id: str, rule: Rule) -> ConjunctionName:
    """Name the conjunction that a rule belongs to."""
    return ConjunctionName(rule.is_ingress, group_id, rule.remote_group or "", rule.remote_addresses or "")


def accept_flow(name: ConjunctionName, number: int) -> Flow:
    """Make the flow that a satisfied conjunction ends in."""
    key = FlowKey(
        _RULE_TABLES[name.is_ingress],
        tables.RULES_CONJUNCTION,
        (Term(Field.CONJ_ID, number),),
    )
    return Flow(key, (Goto(_ACCEPT_TABLES[name.is_ingress]),), str(name))


def rule_clauses(group_id: str, rule: Rule, number: int) -> list[Clause]:
    """Give the clauses of one rule: one for each masked value of its port range."""
    version = _VERSIONS[rule.ethertype]
    remote: Match = (version.is_ip,)
    if rule.remote_group is None and rule.remote_prefix is not None:
        remote = _remote_terms(rule.remote_prefix, is_ingress=rule.is_ingress)
    clauses = conjunction_of(group_id, rule).clauses
    origin = f"rule {rule.id} of security group {group_id}"
    return [
        Clause(_clause_key(rule.is_ingress, *remote, *l4), (number, clauses, clauses), origin)
        for l4 in _l4_terms(rule, version)
    ]


def port_clause(name: ConjunctionName, number: int, port_id: str, port_key: int) -> Clause:
    """Give the clause by which a local port is in a group."""
    key = _clause_key(name.is_ingress, Term(_PORT_FIELDS[name.is_ingress], port_key))
    return Clause(key, (number, 1, name.clauses), f"port {port_id} is in the security group")


def member_clause(name: ConjunctionName, number: int, vni: int, address: Prefix) -> Clause:
    """Give the clause by which addresses, as seen from the network `vni`, are a member's."""
    terms = _remote_terms(address, is_ingress=name.is_ingress)
    key = _clause_key(name.is_ingress, *terms, Term(Field.REG0, vni))
    return Clause(key, (number, 2, 3), f"member of security group {name.remote}")


def address_clause(name: ConjunctionName, number: int, address: Prefix) -> Clause:
    """Give the clause by which addresses are in an address group, the same for every network."""
    key = _clause_key(name.is_ingress, *_remote_terms(address, is_ingress=name.is_ingress))
    return Clause(key, (number, 2, 3), f"in address group {name.addresses}")


def untracked_flows(port_id: str, port_key: int) -> list[Flow]:
    """Lead a port's packets past connection tracking. What another port's tracking found is forgotten first."""
    return [
        Flow(
            FlowKey(track, tables.TRACK_STATELESS, (Term(_PORT_FIELDS[is_ingress], port_key),)),
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


def _clause_key(is_ingress: bool, *terms: Term) -> FlowKey:
    return FlowKey(_RULE_TABLES[is_ingress], tables.RULES_CONJUNCTION, matching.ordered(*terms))


def _remote_terms(address: Prefix, *, is_ingress: bool) -> Match:
    """Match packets from these addresses, or to them."""
    version = matching.version_of(address[0])
    field = version.source if is_ingress else version.destination
    return (version.is_ip, *matching.prefix_terms(field, *address))


def _l4_terms(rule: Rule, version: matching.IpVersion) -> Iterator[Match]:
    if rule.protocol is None:
        yield ()
        return
    protocol = Term(Field.IP_PROTO, rule.protocol)
    if rule.port_min is None:
        yield (protocol,)
    elif rule.protocol == version.icmp:
        code = () if rule.port_max is None else (Term(version.icmp_code, rule.port_max),)
        yield (protocol, Term(version.icmp_type, rule.port_min), *code)
    else:
        high = rule.port_min if rule.port_max is None else rule.port_max
        for terms in matching.range_terms(_L4_FIELDS[rule.protocol], rule.port_min, high):
            yield (protocol, *terms)
