"""Ports: read, draw addresses, decide, commit; one or ten thousand alike."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NoReturn

import msgspec
from msgspec import UNSET, UnsetType

from alcor.contracts.store import (
    AddressAllocator,
    Change,
    Exists,
    Guard,
    KeyTaken,
    OverQuota,
    Query,
    Store,
    Taken,
    Unchanged,
    Write,
)
from alcor.management_plane import access, settlement, writes
from alcor.management_plane.caller import Caller
from alcor.management_plane.port import decisions, fixed_ips, groups, guests, macs
from alcor.management_plane.port.addresses import DrawnAddresses
from alcor.management_plane.port.decisions import PortFields
from alcor.management_plane.port.fixed_ips import Draws, Surroundings, WantedIp
from alcor.management_plane.port.read_cache import Kept, ReadCache
from alcor.management_plane.security_group import decisions as group_decisions
from alcor.management_plane.security_group import templates
from alcor.management_plane.trunk import followers
from alcor.model import errors
from alcor.model.addressing import ip_to_text, mac_to_text
from alcor.model.ids import GroupId
from alcor.model.records import (
    DefaultRule,
    FixedIp,
    Network,
    Port,
    PortGroup,
    RecordSet,
    SecurityGroup,
    Subnet,
)
from alcor.runtime.clock import Clock, new_ids, random_bytes


class _Read(msgspec.Struct, frozen=True):
    """What one attempt read: the surroundings, the groups, and the projects whose default group is not made.

    `kept`: the part of it that was not read for this attempt. `asked_groups`: ids that the caller named.
    `grants`: the policies by which the caller uses what is not its own. `templates`: the rules of the default
    groups that are to be made.
    """

    surroundings: Surroundings
    groups: dict[str, SecurityGroup]
    without_default: tuple[str, ...]
    kept: Kept
    asked_groups: tuple[str, ...]
    grants: access.Grants
    templates: Sequence[DefaultRule]


_NOTHING = Kept({}, {}, {}, {})


class PortService:
    """Makes, changes and removes ports."""

    def __init__(self, store: Store, allocator: AddressAllocator, clock: Clock) -> None:
        self._store = store
        self._allocator = allocator
        self._clock = clock
        self._cache = ReadCache()
        store.listen(self._cache.on_change)

    async def create(
        self, caller: Caller, asks: Sequence[PortFields], *, port_group: PortGroup | None = None
    ) -> tuple[int, list[Port]]:
        """Make ports (and the group that they belong to), all or none; give the revision and the records."""
        ids = new_ids(len(asks))
        afresh = False

        async def attempt() -> tuple[int, list[Port]]:
            nonlocal afresh
            read = await self._read(caller, asks, afresh=afresh)
            afresh = True
            try:
                return await self._create(caller, asks, ids, read, port_group)
            except (OverQuota, KeyTaken):
                raise  # rests on nothing that was read
            except (errors.Invalid, errors.Missing, errors.Conflict) as refusal:
                if read.kept == _NOTHING:
                    raise
                raise settlement.Again from refusal  # what was kept may be out of date: never refuse by it

        return await settlement.settle(attempt)

    def on_change(self, change: Change) -> None:
        """Hear of a commit of any process: what it changed is read anew."""
        self._cache.on_change(change)

    async def _create(
        self,
        caller: Caller,
        asks: Sequence[PortFields],
        ids: Sequence[str],
        read: _Read,
        port_group: PortGroup | None,
    ) -> tuple[int, list[Port]]:
        networks, subnets = read.surroundings.networks, read.surroundings.subnets
        network_ids = sorted({str(fields.network_id) for fields in asks})
        access.require(caller, Network, networks, network_ids, read.grants)
        access.require(caller, SecurityGroup, read.groups, read.asked_groups, read.grants)
        if read.grants:
            for fields in asks:
                if not caller.owns(networks[str(fields.network_id)]):
                    guests.check_created(fields)
        wanted = _wanted(asks, subnets)
        async with DrawnAddresses(self._allocator) as drawn:
            await drawn.draw(
                [(str(fields.network_id), wants) for fields, wants in zip(asks, wanted, strict=True)], subnets
            )
            ports = self._decide(caller, asks, ids, wanted, read, drawn.draws, port_group)
            groups.check(ports, read.groups)
            write = self._write(caller, ports, read, port_group)
            try:
                revision = await self._store.commit(write)
            except Taken as taken:
                _explain(taken, [fields.mac_address for fields in asks], was_drawn=drawn.forget(taken))
            drawn.keep()
        for want in (want for wants in wanted for want in wants if want.ip is not None):
            assert want.subnet is not None
            assert want.ip is not None
            self._allocator.discard(want.subnet.id, want.ip)
        return revision, ports

    async def update(
        self, caller: Caller, port_id: str, fields: PortFields, *, expected: int | None
    ) -> tuple[int, Port]:
        """Change a port; addresses that it no longer holds are free again."""

        async def attempt() -> tuple[int, Port]:
            before = await access.fetch_own(self._store, caller, Port, port_id, "update_port")
            settlement.check_expected(before, expected)
            if before.network_owner and not caller.is_admin:
                guests.check_updated(fields)
            groups, guards = await self._joined_groups(caller, before, fields)
            wanted, subnets = await self._wanted_after(before, fields)
            async with DrawnAddresses(self._allocator) as drawn:
                if wanted is not None:
                    to_draw = fixed_ips.to_draw(before, wanted)
                    await drawn.draw([(before.network_id, to_draw)], {before.network_id: subnets})
                after = decisions.update(
                    before,
                    fields,
                    wanted=wanted,
                    draws=drawn.draws,
                    drawn_mac=decisions.macs_from(random_bytes(5))[0],
                    now_us=self._clock.now_us(),
                    foreign_groups=guests.foreign(groups, before.project_id),
                )
                moved, as_read = await followers.moved(self._store, before, after, self._clock.now_us())
                used = sorted({fixed.subnet_id for fixed in after.fixed_ips} if wanted is not None else ())
                write = writes.changing(
                    caller,
                    before,
                    updates=RecordSet(ports=(after, *moved)),
                    guards=(
                        *as_read,
                        *guards,
                        *(Exists("subnet", subnet_id) for subnet_id in used),
                    ),
                )
                try:
                    revision = await self._store.commit(write)
                except Taken as taken:
                    _explain(taken, [fields.mac_address], was_drawn=drawn.forget(taken))
                drawn.keep()
            self._release(set(before.fixed_ips) - set(after.fixed_ips))
            for fixed in set(after.fixed_ips) - set(before.fixed_ips):
                if not drawn.drew(fixed):
                    self._allocator.discard(fixed.subnet_id, fixed.ip)
            return revision, after

        return await settlement.settle(attempt)

    async def _wanted_after(
        self, before: Port, fields: PortFields
    ) -> tuple[Sequence[WantedIp] | None, Sequence[Subnet]]:
        """Give the addresses that a port is to have, None: as before; and what was read to know it."""
        is_moved = fields.mac_address is not UNSET and any(len(it.ip) != 4 for it in before.fixed_ips)
        if fields.fixed_ips is UNSET and not is_moved:
            return None, ()
        subnets = await self._store.select(Subnet, Query(where={"network_id": (before.network_id,)}))
        if fields.fixed_ips is UNSET:
            return fixed_ips.as_held(before, subnets), subnets
        owner = before.device_owner if fields.device_owner is UNSET else fields.device_owner
        wanted = fixed_ips.wanted_ips(fields.fixed_ips, before.network_id, subnets, owner, before.fixed_ips)
        return wanted, subnets

    async def delete(self, caller: Caller, port_id: str, *, expected: int | None) -> int:
        """Remove a port: its project may, and the network's. Raises Conflict for a router's or trunk's."""

        async def attempt() -> int:
            port = await access.fetch_one(self._store, caller, Port, port_id)
            settlement.check_expected(port, expected)
            decisions.check_deletable(port)
            write = writes.removing(caller, port, deletes=RecordSet(ports=(port,)))
            revision = await self._store.commit(write)
            self.release([port])
            return revision

        return await settlement.settle(attempt)

    def release(self, ports: Sequence[Port]) -> None:
        """Give back the addresses of ports whose removal was committed."""
        self._release({fixed for port in ports for fixed in port.fixed_ips})

    def _release(self, addresses: set[FixedIp]) -> None:
        by_subnet: dict[str, list[bytes]] = defaultdict(list)
        for fixed in sorted(addresses):
            by_subnet[fixed.subnet_id].append(fixed.ip)
        for subnet_id, ips in by_subnet.items():
            self._allocator.give_back(subnet_id, ips)

    async def _read(self, caller: Caller, asks: Sequence[PortFields], *, afresh: bool) -> _Read:
        network_ids = sorted({str(fields.network_id) for fields in asks})
        projects = sorted(
            {_project(caller, fields) for fields in asks if decisions.needs_default_group(fields)}
        )
        default_ids = {group_decisions.default_group_id(project): project for project in projects}
        asked: set[str] = set()
        for fields in asks:
            if fields.security_groups is not UNSET:
                asked.update(fields.security_groups)
        group_ids = sorted(asked | set(default_ids))
        kept = _NOTHING if afresh else self._cache.find(network_ids, group_ids, caller.project_id)
        found = await self._fetch(
            [id_ for id_ in network_ids if id_ not in kept.networks],
            [id_ for id_ in group_ids if id_ not in kept.groups],
        )
        known = found.groups | kept.groups
        without = tuple(project for group_id, project in default_ids.items() if group_id not in known)
        surroundings = Surroundings(found.networks | kept.networks, found.subnets | kept.subnets)
        grants = await self._grants(caller, [*surroundings.networks.values(), *known.values()], kept)
        first_rules = await templates.read(self._store) if without else ()
        return _Read(surroundings, known, without, kept, tuple(sorted(asked)), grants, first_rules)

    async def _grants(
        self, caller: Caller, records: Sequence[Network | SecurityGroup], kept: Kept
    ) -> access.Grants:
        """Give the policies by which the caller uses what is not its own; what is its own costs nothing."""
        foreign = [record.id for record in records if not caller.sees(record)]
        if not foreign:
            return access.NO_GRANTS
        unknown = [id_ for id_ in foreign if id_ not in kept.grants]
        if not unknown:
            return kept.grants
        reading = self._cache.begin()
        try:
            found = await access.grants_on(self._store, caller.project_id, unknown)
            self._cache.keep(reading, Kept({}, {}, {}, found), caller.project_id)
        finally:
            self._cache.end(reading)
        return found | kept.grants

    async def _fetch(self, network_ids: Sequence[str], group_ids: Sequence[str]) -> Kept:
        if not network_ids and not group_ids:
            return _NOTHING
        reading = self._cache.begin()
        try:
            # The networks not after their subnets: a subnet that is not seen then is one that the guard on its
            # network, which it revises, does see.
            networks, groups = await asyncio.gather(
                self._store.get(Network, network_ids), self._store.get(SecurityGroup, group_ids)
            )
            of_networks = await self._store.select(Subnet, Query(where={"network_id": network_ids}))
            subnets: dict[str, list[Subnet]] = {network_id: [] for network_id in network_ids}
            for subnet in of_networks:
                subnets[subnet.network_id].append(subnet)
            found = Kept(networks, dict(subnets), groups, {})
            self._cache.keep(reading, found)
        finally:
            self._cache.end(reading)
        return found

    def _decide(
        self,
        caller: Caller,
        asks: Sequence[PortFields],
        ids: Sequence[str],
        wanted: Sequence[tuple[WantedIp, ...]],
        read: _Read,
        draws: Draws,
        port_group: PortGroup | None,
    ) -> list[Port]:
        now_us = self._clock.now_us()
        macs = decisions.macs_from(random_bytes(5 * len(asks)))
        networks = read.surroundings.networks
        default_of: dict[str, GroupId] = {}
        foreign_of: dict[str, frozenset[GroupId]] = {}
        ports = []
        for fields, port_id, mac, wants in zip(asks, ids, macs, wanted, strict=True):
            project_id = _project(caller, fields)
            if project_id not in default_of:
                default_of[project_id] = group_decisions.default_group_id(project_id)
                foreign_of[project_id] = guests.foreign(read.groups.values(), project_id)
            ports.append(
                decisions.create(
                    fields,
                    port_id=port_id,
                    drawn_mac=mac,
                    network=networks[str(fields.network_id)],
                    wanted=wants,
                    draws=draws,
                    project_id=project_id,
                    default_group=default_of[project_id],
                    port_group_id="" if port_group is None else port_group.id,
                    now_us=now_us,
                    foreign_groups=foreign_of[project_id],
                )
            )
        return ports

    def _write(self, caller: Caller, ports: Sequence[Port], read: _Read, port_group: PortGroup | None) -> Write:
        now_us = self._clock.now_us()
        used_groups = {group_id for port in ports for group_id in port.security_groups}
        made = [
            group_decisions.default_group(project, read.templates, now_us)
            for project in read.without_default
            if group_decisions.default_group_id(project) in used_groups
        ]
        used_subnets = {fixed.subnet_id for port in ports for fixed in port.fixed_ips}
        guards: list[Guard] = []
        for network_id, network in read.surroundings.networks.items():
            # A subnet that came meanwhile may be one that every port has an address of: it revises the network.
            # A subnet that was just read need only be there still; what was kept must be as it was, and of the
            # subnets also those that were not chosen.
            guards.append(Unchanged("network", network.id, network.revision_number))
            is_kept = network_id in read.kept.networks
            for it in read.surroundings.subnets[network_id]:
                if is_kept:
                    guards.append(Unchanged("subnet", it.id, it.revision_number))
                elif it.id in used_subnets:
                    guards.append(Exists("subnet", it.id))
        guards += groups.guards(ports, read.groups)
        guards += templates.guards_of(rule for _, rules in made for rule in rules)
        guards += writes.unchanged(read.grants.values())
        return writes.making(
            caller,
            inserts=RecordSet(
                ports=tuple(ports),
                security_groups=tuple(group for group, _ in made),
                security_group_rules=tuple(rule for _, rules in made for rule in rules),
                port_groups=() if port_group is None else (port_group,),
            ),
            guards=tuple(guards),
            within=("port", "port_group", *group_decisions.DEFAULT_WITHIN),
        )

    async def _joined_groups(
        self, caller: Caller, port: Port, fields: PortFields
    ) -> tuple[Sequence[SecurityGroup], tuple[Guard, ...]]:
        """Read the groups that the port is to be in and was not, and what that rests on."""
        if fields.security_groups is UNSET:
            return (), ()
        wanted = sorted(set(fields.security_groups) - set(port.security_groups))
        found, grants = await access.fetch_granted(self._store, caller, SecurityGroup, wanted)
        stays = sorted(set(fields.security_groups) - set(wanted)) if wanted else []
        together = found | (await self._store.get(SecurityGroup, stays) if stays else {})
        after = msgspec.structs.replace(port, security_groups=tuple(sorted(map(GroupId, together))))
        groups.check([after], together)
        return list(found.values()), (*groups.guards([after], together), *writes.unchanged(grants.values()))


def _wanted(asks: Sequence[PortFields], subnets: Mapping[str, Sequence[Subnet]]) -> list[tuple[WantedIp, ...]]:
    """Give the addresses that ports ask for; those that say nothing of them ask alike."""
    usual: dict[tuple[str, str | UnsetType], tuple[WantedIp, ...]] = {}
    found = []
    for fields in asks:
        network_id, owner = str(fields.network_id), fields.device_owner
        wants = usual.get((network_id, owner)) if fields.fixed_ips is UNSET else None
        if wants is None:
            wants = fixed_ips.wanted_ips(fields.fixed_ips, network_id, subnets[network_id], owner)
            if fields.fixed_ips is UNSET:
                usual[network_id, owner] = wants
        found.append(wants)
    return found


def _project(caller: Caller, fields: PortFields) -> str:
    return caller.project_id if fields.project_id is UNSET else fields.project_id


def _explain(taken: Taken, asked_macs: Sequence[str | UnsetType | None], *, was_drawn: bool) -> NoReturn:
    """Say which asked value is taken, or decide again when it was generated."""
    value = taken.value
    if taken.constraint == "mac" and isinstance(value, tuple):
        network_id, mac = value
        if mac in {macs.parsed_mac(text) for text in asked_macs if isinstance(text, str)}:
            raise errors.Conflict(
                f"Unable to complete operation for network {network_id}. "
                f"The mac address {mac_to_text(mac)} is in use.",
                reason="MacAddressInUse",
            ) from taken
    if taken.constraint == "address" and isinstance(value, tuple) and not was_drawn:
        subnet_id, ip = value
        raise errors.Conflict(
            f"Unable to complete operation for subnet {subnet_id}. The IP address {ip_to_text(ip)} is in use.",
            reason="IpAddressInUse",
        ) from taken
    raise settlement.Again from taken
