"""After any sequence of sharing and using: nobody uses what it may not, and lists show what may be seen."""

import asyncio
import contextlib
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from alcor.contracts.memory_store import MemoryAllocator, MemoryStore
from alcor.contracts.store import Query, Write
from alcor.management_plane import access
from alcor.management_plane.caller import Caller
from alcor.management_plane.network.decisions import NetworkFields
from alcor.management_plane.network.service import NetworkService
from alcor.management_plane.port.decisions import PortFields
from alcor.management_plane.port.service import PortService
from alcor.management_plane.rbac_policy.decisions import PolicyFields
from alcor.management_plane.rbac_policy.service import PolicyService
from alcor.model import errors
from alcor.model.ids import GroupId, NetworkId, ProjectId, RequestId, SubnetId, Vni
from alcor.model.records import (
    ACCESS_AS_SHARED,
    EVERYBODY,
    Network,
    Port,
    RbacPolicy,
    RecordSet,
    SecurityGroup,
    Subnet,
)
from alcor.runtime.clock import SystemClock

PROJECTS = ("red", "green", "blue")
NETWORKS = [
    Network(
        id=NetworkId(f"00000000-0000-7000-8001-{n:012x}"), project_id=ProjectId(PROJECTS[n]), vni=Vni(n + 1)
    )
    for n in range(2)
]
GROUPS = [
    SecurityGroup(id=GroupId(f"00000000-0000-7000-8003-{n:012x}"), project_id=ProjectId(PROJECTS[n]))
    for n in range(2)
]
SUBNETS = [
    Subnet(
        id=SubnetId(f"00000000-0000-7000-8002-{n:012x}"),
        project_id=it.project_id,
        network_id=it.id,
        cidr=(b"\x0a\0\0\0", 16),
        pools=((b"\x0a\0\0\x02", b"\x0a\0\xff\0"),),
    )
    for n, it in enumerate(NETWORKS)
]
OBJECTS = {record.id: record for record in (*NETWORKS, *GROUPS)}
_project = st.sampled_from(PROJECTS)
_object = st.sampled_from(sorted(OBJECTS))
_network = st.sampled_from([it.id for it in NETWORKS])
_groups = st.lists(st.sampled_from([it.id for it in GROUPS]), unique=True, max_size=2)
_target = st.sampled_from((*PROJECTS, EVERYBODY))
_number = st.integers(0, 50)
_operations = st.lists(
    st.one_of(
        st.tuples(st.just("share"), _object, _target),
        st.tuples(st.just("retarget"), _number, _target),
        st.tuples(st.just("unshare"), _number),
        st.tuples(st.just("open"), _network, st.booleans()),
        st.tuples(st.just("port"), _project, _network, _groups),
        st.tuples(st.just("groups"), _number, _groups),
        st.tuples(st.just("remove"), _number),
    ),
    max_size=30,
)


class World:
    """Services over one store. Who asks to share or change is an administrator, who makes ports is not."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        clock = SystemClock()
        self._policies = PolicyService(self.store, clock)
        self._networks = NetworkService(self.store, clock)
        self._ports = PortService(self.store, MemoryAllocator(self.store), clock)

    async def begin(self) -> None:
        records = RecordSet(networks=tuple(NETWORKS), subnets=tuple(SUBNETS), security_groups=tuple(GROUPS))
        await self.store.commit(
            Write(request_id=RequestId("begin"), project_id=ProjectId("red"), inserts=records)
        )

    async def do(self, name: str, *what: Any) -> None:
        admin = Caller(ProjectId("admin"), is_admin=True, request_id=RequestId("r"))
        match name, what:
            case "share", (object_id, target):
                is_network = isinstance(OBJECTS[object_id], Network)
                asked = PolicyFields(
                    object_type="network" if is_network else "security_group",
                    object_id=object_id,
                    action=ACCESS_AS_SHARED,
                    target_tenant=target,
                )
                await self._policies.create(admin, [asked])
            case "retarget", (number, target) if policy := await self._some(RbacPolicy, number):
                await self._policies.update(
                    admin, policy.id, PolicyFields(target_project=target), expected=None
                )
            case "unshare", (number,) if policy := await self._some(RbacPolicy, number):
                await self._policies.delete(admin, policy.id, expected=None)
            case "open", (network_id, shared):
                await self._networks.update(admin, network_id, NetworkFields(shared=shared), expected=None)
            case "port", (project, network_id, groups):
                fields = PortFields(network_id=network_id, security_groups=tuple(groups))
                await self._ports.create(_member(project), [fields])
            case "groups", (number, groups) if port := await self._some(Port, number):
                fields = PortFields(security_groups=tuple(groups))
                await self._ports.update(_member(port.project_id), port.id, fields, expected=None)
            case "remove", (number,) if port := await self._some(Port, number):
                await self._ports.delete(_member(port.project_id), port.id, expected=None)

    async def _some(self, kind: Any, number: int) -> Any:
        found = await self.store.select(kind, Query())
        return found[number % len(found)] if found else None

    async def check(self) -> None:
        policies = await self.store.select(RbacPolicy, Query())

        def may_use(project: str, object_id: str) -> bool:
            return OBJECTS[object_id].project_id == project or any(
                policy.object_id == object_id and policy.target in (project, EVERYBODY) for policy in policies
            )

        ports = await self.store.select(Port, Query())
        for port in ports:
            for object_id in (port.network_id, *port.security_groups):
                assert may_use(port.project_id, object_id), (port, object_id)
            owners = {OBJECTS[id_].project_id for id_ in (port.network_id, *port.security_groups)}
            assert bool(port.borrowed) == (owners != {port.project_id})
        for project in PROJECTS:
            for kind, records in ((Network, NETWORKS), (SecurityGroup, GROUPS)):
                seen = await self.store.select(kind, Query(any_of=access.visible(kind, project)))
                assert [it.id for it in seen] == [it.id for it in records if may_use(project, it.id)]
            shown = await self.store.select(Port, Query(any_of=access.visible(Port, project)))
            assert {it.id for it in shown} == {
                it.id for it in ports if project in (it.project_id, OBJECTS[it.network_id].project_id)
            }


def _member(project: str) -> Caller:
    return Caller(ProjectId(project), is_admin=False, request_id=RequestId("r"))


@given(_operations)
@example(  # a name and everybody, each enough for the port: one of them stays
    [
        ("share", NETWORKS[0].id, "green"),
        ("share", NETWORKS[0].id, EVERYBODY),
        ("port", "green", NETWORKS[0].id, []),
        ("unshare", 0),
        ("unshare", 0),
        ("open", NETWORKS[0].id, False),
    ]
)
@example(
    [
        ("share", GROUPS[0].id, "green"),
        ("port", "green", NETWORKS[1].id, [GROUPS[0].id]),
        ("retarget", 0, "blue"),
        ("groups", 0, []),
        ("retarget", 0, "blue"),
        ("groups", 0, [GROUPS[0].id]),
    ]
)
def test_nobody_uses_what_is_not_shared_and_lists_show_what_is(operations: list[tuple[Any, ...]]) -> None:
    async def run() -> None:
        world = World()
        await world.begin()
        for operation in operations:
            with contextlib.suppress(errors.Conflict, errors.Missing):
                await world.do(*operation)
            await world.check()

    asyncio.run(run())
