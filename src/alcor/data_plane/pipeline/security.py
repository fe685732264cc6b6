"""Security groups as conjunctions: names, clauses of rules, ports and members, and the flows they end in.

A conjunction is named (direction, group, remote group or empty, address group or empty). Without these remotes
it has two clauses: ports of the group, and a rule's prefix, protocol and port. With one it has three: ports,
addresses, and protocol and port. Addresses of a group's members are those that the port's network sees.

Both IP versions share a conjunction: rules and addresses say which they are of, so that no clause of the one
completes the other. What is neither (ports, and what a conjunction ends in) says nothing, and is there once.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from alcor.data_plane.pipeline import matching, tables
from alcor.data_plane.pipeline.clauses import BETWEEN_ORIGINS
from alcor.data_plane.pipeline.flow import (
    Action,
    AnyFlow,
    Conjunction,
    Field,
    Flow,
    FlowKey,
    ForgetTrack,
    Goto,
    Match,
    Pattern,
    PatternFlow,
    Term,
)
from alcor.data_plane.pipeline.tables import Table
from alcor.model.goal_state import Placement, Prefix, Rule

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


class NumberedName(NamedTuple):
    """A conjunction and its number."""

    name: ConjunctionName
    number: int


class MemberClauses(NamedTuple):
    """What the addresses of members, as seen from the network `vni`, do for conjunctions."""

    is_ingress: bool
    vni: int
    numbers: tuple[int, ...]  # of the conjunctions, ascending
    groups: str  # that they are members of, in words


def member_clauses(is_ingress: bool, vni: int, names: Iterable[NumberedName]) -> MemberClauses:
    """Say what members of the groups that these conjunctions name do for them."""
    found = list(names)
    numbers = sorted(number for _, number in found)
    remotes = sorted({name.remote for name, _ in found})
    return MemberClauses(is_ingress, vni, tuple(numbers), f"{BETWEEN_ORIGINS}{_MEMBER} ".join(remotes))


class MemberView(msgspec.Struct, frozen=True):
    """What all members of the same groups in the same network have in common."""

    clauses: tuple[MemberClauses, ...]


class MemberFlows(msgspec.Struct, frozen=True, gc=False):
    """The clauses of one member: of many ports that may speak to ours, so made like those of placements."""

    placement: Placement
    view: MemberView

    def __iter__(self) -> Iterator[AnyFlow]:
        placement = self.placement
        addresses = [(ip, len(ip) * 8) for ip in placement.ips]
        addresses += [(pair.network, pair.prefix_len) for pair in placement.pairs]
        return iter(
            [_member_flow(it, address) for address in dict.fromkeys(addresses) for it in self.view.clauses]
        )


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


def rule_flows(group_id: str, rule: Rule, number: int) -> list[AnyFlow]:
    """Give the clauses of one rule: one for each masked value of its port range."""
    version = _VERSIONS[rule.ethertype]
    remote: Match = (version.is_ip,)
    if rule.remote_group is None and rule.remote_prefix is not None:
        remote = _remote_terms(rule.remote_prefix, is_ingress=rule.is_ingress)
    clauses = conjunction_of(group_id, rule).clauses
    actions = (Conjunction(number, clauses, clauses),)
    origin = f"rule {rule.id} of security group {group_id}"
    return [
        Flow(_clause_key(rule.is_ingress, *remote, *l4), actions, origin) for l4 in _l4_terms(rule, version)
    ]


def port_flows(names: Iterable[NumberedName], port_id: str, port_key: int) -> list[AnyFlow]:
    """Give the clauses by which a local port is in its groups."""
    origin = f"port {port_id} is in the security group"
    found: list[AnyFlow] = []
    for is_ingress, field in _PORT_FIELDS.items():
        ordered = sorted((number, name.clauses) for name, number in names if name.is_ingress == is_ingress)
        if ordered:
            actions = tuple(Conjunction(number, 1, clauses) for number, clauses in ordered)
            found.append(Flow(_clause_key(is_ingress, Term(field, port_key)), actions, origin))
    return found


def address_flows(names: Iterable[NumberedName], set_id: str, address: Prefix) -> list[AnyFlow]:
    """Give the clauses by which addresses are in an address group, the same for every network."""
    found: list[AnyFlow] = []
    for is_ingress in _PORT_FIELDS:
        numbers = sorted(number for name, number in names if name.is_ingress == is_ingress)
        if numbers:
            key = _clause_key(is_ingress, *_remote_terms(address, is_ingress=is_ingress))
            found.append(Flow(key, _remotes(*numbers), f"in address group {set_id}"))
    return found


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


def _member_flow(it: MemberClauses, address: Prefix) -> AnyFlow:
    ip, prefix_len = address
    if prefix_len == len(ip) * 8:
        pattern, is_vni_first = _MEMBERS[it.is_ingress, len(ip)]
        number = int.from_bytes(ip, "big")
        where = (it.vni, number) if is_vni_first else (number, it.vni)
        return PatternFlow(pattern, where, it.numbers, _MEMBER, it.groups)
    terms = _remote_terms(address, is_ingress=it.is_ingress)
    key = _clause_key(it.is_ingress, *terms, Term(Field.REG0, it.vni))
    return Flow(key, _remotes(*it.numbers), f"{_MEMBER} {it.groups}")


def _remotes(*numbers: int) -> tuple[Action, ...]:
    """Satisfy the second clause of these conjunctions: the remote's addresses."""
    return tuple(Conjunction(number, 2, 3) for number in numbers)


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


def _member_pattern(version: matching.IpVersion, *, is_ingress: bool) -> tuple[Pattern, bool]:
    """Give the pattern of members' addresses; does it match on the VNI first?"""
    field = version.source if is_ingress else version.destination
    slots = tuple(sorted((Field.REG0, field)))
    table = _RULE_TABLES[is_ingress]
    pattern = Pattern(table, tables.RULES_CONJUNCTION, (version.is_ip,), slots, _remotes)
    return pattern, slots[0] == Field.REG0


_MEMBER = "member of security group"
_MEMBERS = {
    (is_ingress, version.bits // 8): _member_pattern(version, is_ingress=is_ingress)
    for is_ingress in _RULE_TABLES
    for version in matching.IP_VERSIONS
}
