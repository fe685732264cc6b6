"""Security groups of a host: which clauses a change of rules, members, ports or routers touches."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from alcor.data_plane.pipeline import security
from alcor.data_plane.pipeline.address_sets import AddressSets
from alcor.data_plane.pipeline.flow import AnyFlow
from alcor.data_plane.pipeline.numbers import StableNumbers
from alcor.data_plane.pipeline.routers import Joined, in_both
from alcor.data_plane.pipeline.sections import merge
from alcor.data_plane.pipeline.security import ConjunctionName, MemberView, NumberedName
from alcor.data_plane.pipeline.units import Unit
from alcor.model.goal_state import AddressesChange, GroupChange, GroupSection, LocalPort, Placement
from alcor.model.ids import GroupId, NetworkId, PortId, RuleId

_CONJUNCTION_ID_MAX = 0xFFFFFFFF


class ActivePort(NamedTuple):
    """A local port that may send and receive: it and its network are up."""

    port: LocalPort
    vni: int
    key: int

    @property
    def groups(self) -> tuple[str, ...]:
        """Name the groups that filter it: none without port security."""
        return self.port.groups if self.port.port_security else ()


MemberKey: TypeAlias = tuple[str, NetworkId, PortId]  # the unit of a member's clauses


MemberKind: TypeAlias = tuple[tuple[GroupId, ...], int]  # groups, VNI: what a member's clauses depend on


class Member(msgspec.Struct, frozen=True, gc=False):
    """A placement in the network with this VNI: its addresses are members of its groups."""

    placement: Placement
    vni: int

    @property
    def kind(self) -> MemberKind:
        return self.placement.groups, self.vni


class _Group:
    """What is known here of one group: its section, the ports that it filters and its members."""

    __slots__ = ("members", "names", "networks", "ports", "section", "users")

    def __init__(self) -> None:
        self.section = GroupSection()
        self.names: Counter[ConjunctionName] = Counter()  # of its rendered rules
        self.ports: set[str] = set()
        self.networks: Counter[int] = Counter()  # VNIs of these ports
        self.users: set[ConjunctionName] = set()  # conjunctions whose remote group this is
        self.members: dict[int, set[MemberKey]] = {}  # by VNI; none that is empty

    @property
    def is_unused(self) -> bool:
        """Is there nothing to know of it? That it is stateless is told before its ports are, rules or none."""
        section = self.section
        return section.stateful and not (self.ports or self.users or section.rules or self.members)


class SecurityGroups:
    """Owns the conjunctions of a host. `domain` gives the VNIs that a VNI exchanges packets with."""

    def __init__(self, domain: Callable[[int], Sequence[Collection[int]]]) -> None:
        self._domain = domain
        self._groups: dict[str, _Group] = {}
        self._groups_in: dict[int, set[str]] = {}  # VNI -> groups with ports in it
        self._groups_of_members: dict[int, set[str]] = {}  # VNI -> groups with members in it
        self._ports: dict[str, ActivePort] = {}
        self._members: dict[MemberKey, Member] = {}
        self._numbers: StableNumbers[ConjunctionName] = StableNumbers(_CONJUNCTION_ID_MAX)
        self._members_of: Counter[MemberKind] = Counter()
        self._views: dict[MemberKind, MemberView] = {}  # as last rendered with: shared by all of the kind
        self._address_sets = AddressSets()
        self._dirty_ports: set[str] = set()
        self._dirty_rules: set[tuple[str, RuleId]] = set()
        self._dirty_members: set[MemberKey] = set()
        self._dirty_names: set[ConjunctionName] = set()

    def set_port(self, port_id: str, active: ActivePort | None) -> None:
        """Take note of a port that came, changed or (None) went."""
        held = self._ports.pop(port_id, None)
        if active is not None:
            self._ports[port_id] = active
        self._dirty_ports.add(port_id)
        before = {(group, held.vni) for group in held.groups} if held else set()
        after = {(group, active.vni) for group in active.groups} if active else set()
        for group_id, vni in before - after:
            group = self._groups[group_id]
            group.ports.discard(port_id)
            group.networks[vni] -= 1
            if group.networks[vni] == 0:
                del group.networks[vni]
                self._groups_in[vni].discard(group_id)
                if not self._groups_in[vni]:
                    del self._groups_in[vni]
                self._remotes_changed(group, vni)
        for group_id, vni in after - before:
            group = self._group(group_id)
            group.ports.add(port_id)
            group.networks[vni] += 1
            if group.networks[vni] == 1:
                self._groups_in.setdefault(vni, set()).add(group_id)
                self._remotes_changed(group, vni)
        for group_id, _ in before - after:
            self._forget_if_unused(group_id)

    def set_member(self, key: MemberKey, member: Member | None) -> None:
        """Take note of a placement that came, changed or (None) went."""
        held = self._members.pop(key, None)
        if member is not None:
            self._members[key] = member
        if held == member:
            return
        self._count_members(held, -1)
        self._count_members(member, 1)
        before = held.placement.groups if held is not None else ()
        after = member.placement.groups if member is not None else ()
        if held is not None:
            for group_id in before:
                self._drop_member(group_id, key, held.vni)
        if member is not None:
            for group_id in after:
                self._group(group_id).members.setdefault(member.vni, set()).add(key)
                self._groups_of_members.setdefault(member.vni, set()).add(group_id)
        for group_id in before:
            if group_id not in after:
                self._forget_if_unused(group_id)
        if before or after:
            self._dirty_members.add(key)

    def change_group(self, group_id: str, change: GroupChange, *, is_full: bool) -> None:
        """Apply a change of the group's section."""
        group = self._group(group_id)
        section = group.section
        told = {rule.id for rule in change.set_rules}.union(section.rules if is_full else change.gone_rules)
        before = _needed(group_id, section, told)
        rules = set(
            merge(
                section.rules,
                ((rule.id, rule) for rule in change.set_rules),
                change.gone_rules,
                is_full=is_full,
            )
        )
        if section.stateful != change.stateful:
            section.stateful = change.stateful
            self._dirty_ports.update(group.ports)
        self._dirty_rules.update((group_id, rule_id) for rule_id in rules)
        if rules:
            self._rules_changed(group_id, group, before, _needed(group_id, section, told))
        self._forget_if_unused(group_id)

    def change_addresses(self, set_id: str, change: AddressesChange, *, is_full: bool) -> None:
        """Apply a change of an address group's section."""
        self._address_sets.change(set_id, change, is_full=is_full)

    def domains_changed(self, joined: Joined) -> None:
        """Take note that networks exchange packets with others than before."""
        for vni in joined.moved:
            for group_id in self._groups_in.get(vni, ()):  # its ports see members in other networks
                for remote in self._remotes_of(self._groups[group_id]):
                    for other in joined.partners(vni, remote.members.keys()):
                        self._dirty_members.update(remote.members[other])
            for group_id in self._groups_of_members.get(vni, ()):  # its members are seen by ports in others
                group = self._groups[group_id]
                users = {name.group for name in group.users}
                if any(joined.has_partner(vni, self._groups[user].networks.keys()) for user in users):
                    self._dirty_members.update(group.members[vni])

    def render(self) -> dict[Unit, Iterable[AnyFlow]]:
        """Give the flows of everything touched since the last call."""
        rendered: dict[Unit, Iterable[AnyFlow]] = {}
        for name in self._dirty_names:
            number = self._number(name)
            rendered["conjunction", *name] = () if number is None else (security.accept_flow(name, number),)
        for port_id in self._dirty_ports:
            rendered["grouped", port_id] = self._port_flows(port_id)
            rendered["untracked", port_id] = self._untracked_flows(port_id)
        for group_id, rule_id in self._dirty_rules:
            rendered["rule", group_id, rule_id] = self._rule_flows(group_id, rule_id)
        views: dict[MemberKind, MemberView] = {}
        for key in self._dirty_members:
            rendered[key] = self._member_flows(self._members.get(key), views)
        for set_id, address in self._address_sets.take_dirty():
            names = self._numbered(self._address_sets.users(set_id, address))
            rendered["address", set_id, *address] = security.address_flows(names, set_id, address)
        self._dirty_ports.clear()
        self._dirty_rules.clear()
        self._dirty_members.clear()
        self._dirty_names.clear()
        return rendered

    def _group(self, group_id: str) -> _Group:
        group = self._groups.get(group_id)
        if group is None:
            group = self._groups[group_id] = _Group()
        return group

    def _forget_if_unused(self, group_id: str) -> None:
        group = self._groups.get(group_id)
        if group is not None and group.is_unused:
            del self._groups[group_id]

    def _rules_changed(
        self,
        group_id: str,
        group: _Group,
        before: Counter[ConjunctionName],
        after: Counter[ConjunctionName],
    ) -> None:
        """Take note of conjunctions that some rules of a group needed, and of those that they need now."""
        came, gone = set(), set()
        for name in before.keys() | after.keys():
            rules_before = group.names[name]
            group.names[name] += after[name] - before[name]
            if not rules_before:
                came.add(name)
            elif not group.names[name]:
                del group.names[name]
                gone.add(name)
        for name in gone:
            self._numbers.release(name)
            if name.addresses:
                self._address_sets.disuse(name)
            if name.remote:
                remote = self._groups[name.remote]
                remote.users.discard(name)
                self._dirty_members.update(*remote.members.values())
                if name.remote != group_id:
                    self._forget_if_unused(name.remote)
        for name in came:
            self._numbers.take(name)
            if name.addresses:
                self._address_sets.use(name)
            if name.remote:
                remote = self._group(name.remote)
                remote.users.add(name)
                self._dirty_members.update(*remote.members.values())
        if came or gone:
            self._dirty_names.update(came, gone)
            self._dirty_ports.update(group.ports)

    def _remotes_changed(self, group: _Group, vni: int) -> None:
        """Render members again that ports in this network see, of groups that the rules of this one name."""
        domain = self._domain(vni)
        for remote in self._remotes_of(group):
            for part in domain:
                for other in in_both(remote.members.keys(), part):
                    self._dirty_members.update(remote.members[other])

    def _remotes_of(self, group: _Group) -> list[_Group]:
        return [self._groups[remote] for remote in {name.remote for name in group.names if name.remote}]

    def _drop_member(self, group_id: str, key: MemberKey, vni: int) -> None:
        of_vni = self._groups[group_id].members
        of_vni[vni].discard(key)
        if not of_vni[vni]:
            del of_vni[vni]
            self._groups_of_members[vni].discard(group_id)
            if not self._groups_of_members[vni]:
                del self._groups_of_members[vni]

    def _number(self, name: ConjunctionName) -> int | None:
        group = self._groups.get(name.group)
        return self._numbers.number_of(name) if group is not None and name in group.names else None

    def _untracked_flows(self, port_id: str) -> Iterable[AnyFlow]:
        """Give the flows of a port whose groups are all stateless: with one that is not, it is tracked."""
        active = self._ports.get(port_id)
        groups = active.groups if active is not None else ()
        if active is None or not groups or any(self._groups[id_].section.stateful for id_ in groups):
            return ()
        return security.untracked_flows(port_id, active.key)

    def _port_flows(self, port_id: str) -> Iterable[AnyFlow]:
        active = self._ports.get(port_id)
        if active is None:
            return ()
        names = {name for group_id in active.groups for name in self._groups[group_id].names}
        return security.port_flows(self._numbered(names), port_id, active.key)

    def _rule_flows(self, group_id: str, rule_id: RuleId) -> Iterable[AnyFlow]:
        group = self._groups.get(group_id)
        rule = group.section.rules.get(rule_id) if group else None
        if group is None or rule is None or not security.is_enforceable(rule):
            return ()
        name = security.conjunction_of(group_id, rule)
        return security.rule_flows(group_id, rule, self._numbers.number_of(name))

    def _member_flows(self, member: Member | None, views: dict[MemberKind, MemberView]) -> Iterable[AnyFlow]:
        """Give the flows of one member. `views`: those of this rendering."""
        if member is None:
            return ()
        view = views.get(member.kind)
        if view is None:
            view = views[member.kind] = self._member_view(*member.kind)
        return security.MemberFlows(member.placement, view) if view.clauses else ()

    def _member_view(self, groups: tuple[GroupId, ...], member_vni: int) -> MemberView:
        """Say what members do for networks that see them and have ports whose rules name their groups."""
        found: dict[tuple[bool, int], list[NumberedName]] = {}
        domain = self._domain(member_vni)
        for group_id in groups:
            for name, number in self._numbered(self._groups[group_id].users):
                for vni in self._groups[name.group].networks:
                    if any(vni in part for part in domain):
                        found.setdefault((name.is_ingress, vni), []).append(NumberedName(name, number))
        view = MemberView(tuple(security.member_clauses(*at, found[at]) for at in sorted(found)))
        if self._views.get((groups, member_vni)) != view:
            self._views[groups, member_vni] = view
        return self._views[groups, member_vni]

    def _count_members(self, member: Member | None, change: int) -> None:
        if member is None:
            return
        self._members_of[member.kind] += change
        if not self._members_of[member.kind]:
            del self._members_of[member.kind]
            self._views.pop(member.kind, None)

    def _numbered(self, names: Iterable[ConjunctionName]) -> list[NumberedName]:
        return [NumberedName(name, self._numbers.number_of(name)) for name in names]


def _needed(group_id: str, section: GroupSection, rule_ids: Iterable[RuleId]) -> Counter[ConjunctionName]:
    """Count the conjunctions that some rules need, those of them that the group has. O(rules named)."""
    rules = (section.rules.get(rule_id) for rule_id in rule_ids)
    return Counter(
        security.conjunction_of(group_id, rule)
        for rule in rules
        if rule is not None and security.is_enforceable(rule)
    )
