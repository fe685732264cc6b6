"""Routers and their interfaces: read, decide, commit."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec
from msgspec import UNSET

from alcor.contracts.store import AddressAllocator, Exists, Guard, Query, Store, Taken
from alcor.management_plane import access, settlement, writes
from alcor.management_plane.caller import Caller
from alcor.management_plane.port import decisions as port_decisions
from alcor.management_plane.router import decisions, routes
from alcor.management_plane.router.decisions import InterfaceFields, RouterFields
from alcor.management_plane.router.joined import Joined
from alcor.management_plane.zones import ZoneBook
from alcor.model import errors
from alcor.model.addressing import ip_to_text
from alcor.model.records import (
    ROUTER_INTERFACE,
    ExtraRoute,
    Network,
    Port,
    RbacPolicy,
    RecordSet,
    Router,
    Subnet,
)
from alcor.runtime.clock import Clock, new_ids, random_bytes

Routes: TypeAlias = tuple[ExtraRoute, ...]


class RouterService:
    """Makes, changes and removes routers, and joins them to subnets."""

    def __init__(
        self, store: Store, allocator: AddressAllocator, clock: Clock, zones: ZoneBook | None = None
    ) -> None:
        """`zones`: shared with whoever else asks."""
        self._store = store
        self._zones = zones or ZoneBook(store)
        self._allocator = allocator
        self._clock = clock

    async def create(self, caller: Caller, asks: Sequence[RouterFields]) -> tuple[int, list[Router]]:
        """Make routers, all or none; give the revision and the records in order."""
        await self._zones.require(hint for fields in asks for hint in settlement.either(fields.zone_hints, ()))
        now_us = self._clock.now_us()
        routers = [
            decisions.create(fields, router_id=router_id, caller=caller, now_us=now_us)
            for fields, router_id in zip(asks, new_ids(len(asks)), strict=True)
        ]
        write = writes.making(caller, inserts=RecordSet(routers=tuple(routers)), within=("router",))
        return await self._store.commit(write), routers

    async def update(
        self, caller: Caller, router_id: str, fields: RouterFields, *, expected: int | None
    ) -> tuple[int, Router]:
        """Change a router."""

        async def attempt() -> tuple[int, Router]:
            before = await access.fetch_one(self._store, caller, Router, router_id)
            settlement.check_expected(before, expected)
            return await self._update(caller, before, fields)

        return await settlement.settle(attempt)

    async def change_routes(
        self, caller: Caller, router_id: str, decide: Callable[[Router], Routes], *, expected: int | None
    ) -> tuple[int, Router]:
        """Give a router the extra routes that `decide` makes of those it has."""

        async def attempt() -> tuple[int, Router]:
            before = await access.fetch_one(self._store, caller, Router, router_id)
            settlement.check_expected(before, expected)
            return await self._update(caller, before, RouterFields(routes=decide(before)))

        return await settlement.settle(attempt)

    async def _update(self, caller: Caller, before: Router, fields: RouterFields) -> tuple[int, Router]:
        joined = None if fields.routes is UNSET else await self.joined(before)
        after = decisions.update(before, fields, joined, now_us=self._clock.now_us())
        if joined is not None:
            new = routes.next_hops(set(after.routes) - set(before.routes), joined)
            holders = await self._store.get(Port, list((await self._store.holders(new)).values()))
            routes.check_holders(after.routes, holders.values())
        write = writes.changing(caller, before, updates=RecordSet(routers=(after,)))
        return await self._store.commit(write), after

    async def delete(self, caller: Caller, router_id: str, *, expected: int | None) -> int:
        """Remove a router. Raises Conflict RouterInUse while it has interfaces."""

        async def attempt() -> int:
            router = await access.fetch_one(self._store, caller, Router, router_id)
            settlement.check_expected(router, expected)
            decisions.check_deletable(router, await self.interfaces(router))
            write = writes.removing(
                caller,
                router,
                deletes=RecordSet(routers=(router,)),  # its interfaces revise it, so this is the guard
            )
            return await self._store.commit(write)

        return await settlement.settle(attempt)

    async def add_interface(
        self, caller: Caller, router_id: str, fields: InterfaceFields
    ) -> tuple[int, Router, Port]:
        """Join the router to a subnet; give the revision, the router and the interface's port.

        The router is revised, so that no two interfaces overlap; the subnet too, so that its gateway does not
        change meanwhile.
        """
        decisions.check_asked_to_add(fields)

        async def attempt() -> tuple[int, Router, Port]:
            router = await access.fetch_one(self._store, caller, Router, router_id)
            joined = await self.joined(router)
            if fields.port_id is not None:
                return await self._add_port(caller, router, joined, fields.port_id)
            return await self._add_subnet(caller, router, joined, str(fields.subnet_id))

        return await settlement.settle(attempt)

    async def remove_interface(
        self, caller: Caller, router_id: str, fields: InterfaceFields
    ) -> tuple[int, Router, Port]:
        """Part the router from a subnet; the interface's port goes with its last one.

        Gives the revision, the router, and the port with what was taken from it.
        """

        async def attempt() -> tuple[int, Router, Port]:
            router = await access.fetch_one(self._store, caller, Router, router_id)
            joined = await self.joined(router)
            port = decisions.interface_to_remove(router, fields, joined.interfaces)
            now_us = self._clock.now_us()
            left = decisions.parted(port, fields.subnet_id if fields.port_id is None else None, now_us)
            gone = [fixed for fixed in port.fixed_ips if left is None or fixed not in left.fixed_ips]
            routes.check_unused(router, [joined.subnets[fixed.subnet_id] for fixed in gone])
            after = settlement.revised(router, now_us)
            write = writes.changing(
                caller,
                router,
                updates=RecordSet(routers=(after,), ports=() if left is None else (left,)),
                deletes=RecordSet(ports=(port,) if left is None else ()),
                guards=writes.unchanged([port]),
            )
            revision = await self._store.commit(write)
            for fixed in gone:
                self._allocator.give_back(fixed.subnet_id, [fixed.ip])
            return revision, after, msgspec.structs.replace(port, fixed_ips=tuple(gone))

        return await settlement.settle(attempt)

    async def interfaces(self, router: Router) -> list[Port]:
        """Give the router's interfaces, by id."""
        where = {"device_id": (router.id,), "device_owner": (ROUTER_INTERFACE,)}
        return await self._store.select(Port, Query(where=where))

    async def _add_subnet(
        self, caller: Caller, router: Router, joined: Joined, subnet_id: str
    ) -> tuple[int, Router, Port]:
        subnet = await access.fetch_one(self._store, caller, Subnet, subnet_id)
        network = (await self._store.get(Network, [subnet.network_id])).get(subnet.network_id)
        if network is None:
            raise settlement.Again  # it went with its subnet since that was read
        grants: tuple[Guard, ...] = ()
        if not caller.owns(subnet):
            where = {"object_id": (network.id,), "target": (caller.project_id,)}
            grant = decisions.named_grant(subnet, await self._store.select(RbacPolicy, Query(where=where)))
            grants = writes.unchanged([grant])
        now_us = self._clock.now_us()
        port = decisions.interface_by_subnet(
            router,
            subnet,
            network,
            joined,
            port_id=new_ids(1)[0],
            mac=port_decisions.macs_from(random_bytes(5))[0],
            now_us=now_us,
        )
        after = settlement.revised(router, now_us)
        write = writes.changing(
            caller,
            router,
            inserts=RecordSet(ports=(port,)),
            updates=RecordSet(routers=(after,), subnets=(settlement.revised(subnet, now_us),)),
            guards=(
                Exists("network", subnet.network_id),
                *writes.unchanged([subnet]),
                *grants,
            ),
        )
        try:
            revision = await self._store.commit(write)
        except Taken as taken:
            if taken.constraint == "mac":
                raise settlement.Again from taken
            raise errors.Conflict(
                f"Unable to complete operation for network {subnet.network_id}. "
                f"The IP address {ip_to_text(port.fixed_ips[0].ip)} is in use.",
                reason="IpAddressInUse",
            ) from taken
        return revision, after, port

    async def _add_port(
        self, caller: Caller, router: Router, joined: Joined, port_id: str
    ) -> tuple[int, Router, Port]:
        port = await access.fetch_own(self._store, caller, Port, port_id, "update_port")
        subnet_ids = sorted({fixed.subnet_id for fixed in port.fixed_ips})
        subnets = await access.fetch(self._store, caller, Subnet, subnet_ids)
        now_us = self._clock.now_us()
        interface = decisions.interface_by_port(router, port, subnets, joined, now_us=now_us)
        after = settlement.revised(router, now_us)
        write = writes.changing(
            caller,
            router,
            updates=RecordSet(
                routers=(after,),
                ports=(interface,),
                subnets=tuple(settlement.revised(subnet, now_us) for subnet in subnets.values()),
            ),
            guards=writes.unchanged([port, *subnets.values()]),
        )
        return await self._store.commit(write), after, interface

    async def joined(self, router: Router) -> Joined:
        """Give what the router has."""
        interfaces = await self.interfaces(router)
        subnet_ids = sorted({fixed.subnet_id for port in interfaces for fixed in port.fixed_ips})
        subnets = await self._store.get(Subnet, subnet_ids) if subnet_ids else {}
        return Joined(interfaces, subnets)
