"""Auto-allocated topologies: read, decide, commit all of it at once."""

import msgspec

from alcor.contracts.store import AddressAllocator, Query, Store, Taken, Write
from alcor.management_plane import access, settlement, writes
from alcor.management_plane.auto_topology import decisions
from alcor.management_plane.caller import Caller
from alcor.management_plane.network import decisions as network_decisions
from alcor.management_plane.network.decisions import NetworkFields
from alcor.management_plane.port import decisions as port_decisions
from alcor.management_plane.router import decisions as router_decisions
from alcor.management_plane.router.decisions import RouterFields
from alcor.management_plane.router.joined import Joined
from alcor.management_plane.router.service import RouterService
from alcor.management_plane.subnet import decisions as subnet_decisions
from alcor.management_plane.subnet import sources
from alcor.management_plane.subnet.decisions import SubnetFields
from alcor.management_plane.subnet.siblings import Siblings
from alcor.management_plane.subnet.sources import Sources
from alcor.management_plane.turns import Turns
from alcor.model import errors
from alcor.model.ids import ProjectId
from alcor.model.records import Network, Port, RecordSet, Router, Subnet
from alcor.runtime.clock import Clock, new_ids, random_bytes


class TopologyService:
    """Makes and removes the topologies of projects."""

    def __init__(
        self,
        store: Store,
        allocator: AddressAllocator,
        clock: Clock,
        *,
        routers: RouterService,
        turns: Turns,
    ) -> None:
        self._store = store
        self._allocator = allocator
        self._routers = routers
        self._clock = clock
        self._turns = turns

    async def check(self, caller: Caller, project_id: str) -> None:
        """Raise Conflict AutoAllocationFailure where no topology could be made, for want of a default pool."""
        await self._pools(_of_project(caller, project_id), _subnet_fields(project_id))

    async def get(self, caller: Caller, project_id: str) -> tuple[str, int | None]:
        """Give the network of a project's topology, made if it is not there, and the revision that made it.

        Raises Conflict AutoAllocationFailure, or what refuses its parts.
        """
        network_id = decisions.network_id_of(project_id)

        async def attempt() -> tuple[str, int | None]:
            if await self._store.get(Network, [network_id]):
                return network_id, None
            write = await self._made(_of_project(caller, project_id), project_id)
            try:
                return network_id, await self._store.commit(write)
            except Taken as taken:  # somebody else made it just now; or a drawn value is taken
                raise settlement.Again from taken

        async with self._turns.of([sources.DEFAULT]):
            return await settlement.settle(attempt)

    async def delete(self, caller: Caller, project_id: str) -> int | None:
        """Remove a project's topology; give the revision; None: there was none. Raises Conflict in use."""
        network_id = decisions.network_id_of(project_id)

        async def attempt() -> int | None:
            network = (await self._store.get(Network, [network_id])).get(network_id)
            if network is None:
                return None
            router = await self._router(project_id)
            interfaces = [] if router is None else await self._routers.interfaces(router)
            where = {"network_id": (network_id,)}
            subnets = await self._store.select(Subnet, Query(where=where))
            ports = await self._store.select(Port, Query(where=where, limit=len(interfaces) + 1))
            policies = await access.policies_on(self._store, network_id)
            pools = await sources.of(self._store, subnets)
            now_us = self._clock.now_us()
            write = network_decisions.delete(network, subnets, policies, caller, pools=pools, now_us=now_us)
            write = decisions.delete(write, network, router, interfaces, ports)
            revision = await self._store.commit(write)
            for port in write.deletes.ports:
                for fixed in port.fixed_ips:
                    self._allocator.give_back(fixed.subnet_id, [fixed.ip])
            return revision

        async with self._turns.of([sources.DEFAULT]):
            return await settlement.settle(attempt)

    async def _made(self, owner: Caller, project_id: str) -> Write:
        now_us = self._clock.now_us()
        network = network_decisions.create(
            NetworkFields(name=decisions.NETWORK_NAME),
            network_id=decisions.network_id_of(project_id),
            caller=owner,
            drawn_vni=network_decisions.vni_from(random_bytes(3)),
            now_us=now_us,
        )
        fields = _subnet_fields(project_id)
        pools = await self._pools(owner, fields)
        try:
            fields, pool = await pools.cut(fields, project_id)
        except errors.Conflict as full:
            if full.reason != "SubnetAllocationError":
                raise
            raise decisions.failure("Unable to provide tenant private network") from full
        subnet_id, port_id = new_ids(2)
        subnet = subnet_decisions.create(
            fields,
            subnet_id=subnet_id,
            network=network,
            siblings=Siblings(),
            caller=owner,
            now_us=now_us,
            pool=pool,
        )
        before = await self._router(project_id)
        router = before or router_decisions.create(
            RouterFields(name=decisions.ROUTER_NAME),
            router_id=decisions.router_id_of(project_id),
            caller=owner,
            now_us=now_us,
        )
        interface = router_decisions.interface_by_subnet(
            router,
            subnet,
            network,
            Joined((), {}) if before is None else await self._routers.joined(before),
            port_id=port_id,
            mac=port_decisions.macs_from(random_bytes(5))[0],
            now_us=now_us,
        )
        return Write(
            request_id=owner.request_id,
            actor=owner.actor,
            project_id=ProjectId(project_id),
            inserts=RecordSet(
                networks=(network,),
                subnets=(subnet,),
                ports=(interface,),
                routers=(router,) if before is None else (),
            ),
            updates=RecordSet(
                subnetpools=pools.revised(now_us),
                routers=() if before is None else (settlement.revised(before, now_us),),
            ),
            guards=(
                *pools.guards(),
                *writes.unchanged(() if before is None else (before,)),
            ),
            within=("network", "subnet", "router"),
        )

    async def _pools(self, owner: Caller, fields: SubnetFields) -> Sources:
        found = Sources(self._store, owner)
        try:
            await found.read([fields], [])
        except errors.Invalid as none:
            raise decisions.failure("No default subnetpools defined") from none
        return found

    async def _router(self, project_id: str) -> Router | None:
        router_id = decisions.router_id_of(project_id)
        return (await self._store.get(Router, [router_id])).get(router_id)


def _of_project(caller: Caller, project_id: str) -> Caller:
    """Give the project that is acted for: the pool must be one that it may use itself."""
    return msgspec.structs.replace(caller, project_id=ProjectId(project_id), is_admin=False)


def _subnet_fields(project_id: str) -> SubnetFields:
    return SubnetFields(
        name=decisions.SUBNET_NAME,
        network_id=decisions.network_id_of(project_id),
        ip_version=4,
        use_default_subnetpool=True,
    )
