"""Creating ports with what was kept from earlier reads decides as creating them with fresh reads does."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alcor.contracts.memory_leases import MemoryBlockLeases
from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import Change, Query, R, Write
from alcor.management_plane.addressing.allocator import LeasedAllocator
from alcor.management_plane.caller import Caller
from alcor.management_plane.port.decisions import PortFields
from alcor.management_plane.port.fixed_ips import FixedIpFields
from alcor.management_plane.port.read_cache import Kept, ReadCache
from alcor.management_plane.port.service import PortService
from alcor.management_plane.security_group import decisions as group_decisions
from alcor.model import errors
from alcor.model.ids import GroupId, NetworkId, PolicyId, ProjectId, RequestId, SubnetId, Vni
from alcor.model.records import (
    EVERYBODY,
    KIND_OF,
    Network,
    Port,
    RbacPolicy,
    RecordSet,
    SecurityGroup,
    Subnet,
)
from alcor.runtime.clock import SystemClock

PROJECT, OTHER = ProjectId("p"), ProjectId("q")
Stored = Network | Subnet | SecurityGroup | Port | RbacPolicy
CALLER = Caller(PROJECT, is_admin=False, request_id=RequestId("req"))
DEFAULT_GROUP = group_decisions.default_group_id(PROJECT)


def _id(kind: int, number: int) -> str:
    return f"00000000-0000-7000-800{kind}-{number:012x}"


class Session:
    """One process's way to a store: its listeners hear of its own commits only."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._listeners: list[Callable[[Change], None]] = []
        self.reads = 0

    async def get(self, kind: type[R], ids: Sequence[str]) -> dict[str, R]:
        self.reads += 1
        return await self._store.get(kind, ids)

    async def select(self, kind: type[R], query: Query) -> list[R]:
        self.reads += 1
        return await self._store.select(kind, query)

    async def commit(self, write: Write) -> int:
        revision = await self._store.commit(write)
        for change in await self._store.changes(after=revision - 1, limit=1):
            for on_commit in self._listeners:
                on_commit(change)
        return revision

    def listen(self, on_commit: Callable[[Change], None]) -> None:
        self._listeners.append(on_commit)


class World:
    """A store, and a service on it that keeps what it reads, or is told to forget before each creation."""

    def __init__(self, *, is_forgetful: bool) -> None:
        self.store = MemoryStore()
        self.session = Session(self.store)
        clock = SystemClock()
        self._allocator = LeasedAllocator(MemoryBlockLeases(self.store), clock)
        self.service = PortService(self.session, self._allocator, clock)  # type: ignore[arg-type]
        self._is_forgetful = is_forgetful
        self._heard = 0
        self._puts = 0

    async def put(self, record: Stored) -> None:
        """Another process inserts the record, or changes it."""
        # Real ids are never given twice: one that comes back here is told apart by its revision number.
        self._puts += 1
        record = msgspec.structs.replace(record, revision_number=self._puts)
        is_there = record.id in await self.store.get(type(record), [record.id])
        await self.store.commit(_write(**{"updates" if is_there else "inserts": _set(record)}))

    async def remove(self, kind: type[R], record_id: str) -> None:
        """Another process deletes the record, if it is there."""
        for record in (await self.store.get(kind, [record_id])).values():
            await self.store.commit(_write(deletes=_set(record)))

    async def hear(self) -> None:
        """The change feed catches up."""
        for change in await self.store.changes(after=self._heard, limit=1000):
            self.service.on_change(change)
            self._heard = change.revision

    async def create(self, ask: PortFields) -> object:
        if self._is_forgetful:
            await self.hear()
            networks = RecordSet(networks=tuple(_network(number, True) for number in range(3)))
            groups = RecordSet(security_groups=tuple(_group(number) for number in range(4)))
            for records in (networks, groups):
                self.service.on_change(Change(0, 0, RequestId(""), PROJECT, records, RecordSet()))
        try:
            _, (port,) = await self.service.create(CALLER, [ask])
        except errors.AlcorError as error:
            return type(error), error.reason, error.message
        ips = tuple(sorted(port.fixed_ips))
        return port.network_id, ips, port.security_groups, port.port_security_enabled, port.borrowed

    async def close(self) -> None:
        await self._allocator.close()


def _write(**parts: RecordSet) -> Write:
    return Write(request_id=RequestId("other"), project_id=PROJECT, **parts)


def _set(record: Stored) -> RecordSet:
    name = "rbac_policies" if isinstance(record, RbacPolicy) else f"{KIND_OF[type(record)]}s"
    return msgspec.structs.replace(RecordSet(), **{name: (record,)})


def _network(number: int, secured: bool) -> Network:
    """Network 2 is another project's."""
    return Network(
        id=NetworkId(_id(1, number)),
        project_id=OTHER if number == 2 else PROJECT,
        vni=Vni(number + 1),
        port_security_enabled=secured,
    )


def _policy(number: int, target: str) -> RbacPolicy:
    """Policies 0 and 1 are on network 2, 2 and 3 on group 3; each pair for two targets."""
    object_id = _id(1, 2) if number < 2 else _id(3, 3)
    return RbacPolicy(
        id=PolicyId(_id(4, number)),
        project_id=OTHER,
        object_type="network" if number < 2 else "security_group",
        object_id=object_id,
        target=EVERYBODY if number % 2 else target,
    )


def _subnet(number: int, size: int) -> Subnet:
    """Subnets 0 and 1 are of network 0, 2 and 3 of network 1, and so on; `size` addresses can be given."""
    first = b"\x0a" + bytes((number, 0))
    return Subnet(
        id=SubnetId(_id(2, number)),
        project_id=PROJECT,
        network_id=NetworkId(_id(1, number // 2)),
        cidr=(first + b"\0", 24),
        pools=((first + b"\x02", first + bytes((1 + size,))),),
    )


def _group(number: int) -> SecurityGroup:
    """Group 3 is another project's."""
    group_id = DEFAULT_GROUP if number == 2 else GroupId(_id(3, number))
    project_id = OTHER if number == 3 else PROJECT
    return SecurityGroup(id=group_id, project_id=project_id, is_default=number == 2)


def _ask(network: int, subnet: int | None, group: int | None) -> PortFields:
    parts: dict[str, object] = {}
    if subnet is not None:
        parts["fixed_ips"] = (FixedIpFields(subnet_id=_id(2, subnet)),)
    if group is not None:
        parts["security_groups"] = (_group(group).id,)
    return PortFields(network_id=_id(1, network), **parts)  # type: ignore[arg-type]


_two = st.integers(0, 1)
_four = st.integers(0, 3)
_operations = st.lists(
    st.one_of(
        st.tuples(st.just("create"), st.builds(_ask, _two, st.none() | _four, st.none() | _two)),
        st.tuples(st.just("create"), st.builds(_ask, _two, st.none(), st.none())),
        st.tuples(st.just("put"), st.builds(_network, _two, st.booleans())),
        st.tuples(st.just("put"), st.builds(_subnet, _four, st.integers(1, 4))),
        st.tuples(st.just("put"), st.builds(_group, st.integers(0, 2))),
        st.tuples(st.just("remove"), st.builds(_network, _two, st.booleans())),
        st.tuples(st.just("remove"), st.builds(_subnet, _four, st.just(1))),
        st.tuples(st.just("remove"), st.builds(_group, st.integers(0, 1))),
        st.tuples(
            st.just("create"), st.builds(_ask, st.just(2), st.none() | st.just(4), st.none() | st.just(3))
        ),
        st.tuples(st.just("put"), st.builds(_policy, _four, st.sampled_from((PROJECT, "r")))),
        st.tuples(st.just("remove"), st.builds(_policy, _four, st.just("r"))),
        st.tuples(st.just("hear"), st.none()),
    ),
    min_size=5,
    max_size=40,
)


@given(_operations)
@example(
    [("create", _ask(0, None, None))] * 3 + [("put", _subnet(0, 4)), ("create", _ask(0, None, None))]
)  # pools widened unheard
@example([*[("put", _policy(number, PROJECT)) for number in (0, 2)], *[("create", _ask(2, None, 3))] * 3])
@example(
    [
        ("put", _policy(0, PROJECT)),
        ("create", _ask(2, None, None)),
        ("put", _policy(0, "r")),  # it shares with somebody else now, unheard
        ("create", _ask(2, None, None)),
        ("put", _policy(1, "r")),
        ("create", _ask(2, None, None)),
    ]
)
def test_creating_with_what_was_kept_is_creating_with_fresh_reads(operations: list[tuple[str, object]]) -> None:
    asyncio.run(_compare(operations))


async def _compare(operations: list[tuple[str, object]]) -> None:
    keeping, forgetful = World(is_forgetful=False), World(is_forgetful=True)
    for world in (keeping, forgetful):
        await world.put(_network(0, True))
        await world.put(_subnet(0, 3))
        await world.put(_network(2, True))
        await world.put(_subnet(4, 3))
        await world.put(_group(3))
    for name, what in operations:
        outcomes = []
        for world in (keeping, forgetful):
            match what:
                case PortFields():
                    outcomes.append(await world.create(what))
                case Network() | Subnet() | SecurityGroup() | RbacPolicy() if name == "put":
                    await world.put(what)
                case Network() | Subnet() | SecurityGroup() | RbacPolicy():
                    await world.remove(type(what), what.id)
                case _:
                    await world.hear()
        assert outcomes[:1] == outcomes[1:], what
    for world in (keeping, forgetful):
        await world.close()


@pytest.mark.parametrize("number", [0, 2])
def test_the_second_creation_reads_nothing_on_shared_networks_neither(number: int) -> None:
    async def run() -> int:
        world = World(is_forgetful=False)
        await world.put(_network(number, True))
        await world.put(_subnet(2 * number, 4))
        await world.put(_policy(0, PROJECT))
        await world.create(_ask(number, None, None))  # makes the default group, too
        await world.create(_ask(number, None, None))
        before = world.session.reads
        assert isinstance((await world.create(_ask(number, None, None)))[0], str)  # type: ignore[index]
        await world.close()
        return world.session.reads - before

    assert asyncio.run(run()) == 0


@given(st.lists(st.tuples(st.sampled_from(("begin", "end", "change", "late")), st.integers(0, 2)), max_size=60))
def test_what_is_kept_is_what_is_stored_when_every_change_is_heard(steps: list[tuple[str, int]]) -> None:
    cache = ReadCache(networks_max=2, groups_max=2)
    numbers = [0, 0, 0]
    under_way = []

    def stored(number: int) -> tuple[Network, SecurityGroup]:
        name = str(numbers[number])
        group = msgspec.structs.replace(_group(0), id=GroupId(_id(3, number)), name=name)
        return msgspec.structs.replace(_network(number, True), name=name), group

    def policy(number: int) -> RbacPolicy:
        name = str(numbers[number])
        return msgspec.structs.replace(_policy(0, PROJECT), object_id=_id(5, number), name=name)

    def change(number: int) -> Change:
        network, group = stored(number)
        puts = RecordSet(networks=(network,), security_groups=(group,), rbac_policies=(policy(number),))
        return Change(1, 0, RequestId(""), PROJECT, puts, RecordSet())

    for name, number in steps:
        if name == "begin":
            network, group = stored(number)
            grant = policy(number)
            subnets = {network.id: (_subnet(0, 1),)}
            found = Kept({network.id: network}, subnets, {group.id: group}, {grant.object_id: grant})
            under_way.append((cache.begin(), found))
        elif name == "end" and under_way:
            reading, found = under_way.pop(number % len(under_way))
            cache.keep(reading, found, PROJECT)
            cache.end(reading)
        elif name == "change":
            numbers[number] += 1
            cache.on_change(change(number))
        elif name == "late":
            cache.on_change(change(number))  # the feed repeats it
        ids = [_id(kind, each) for kind in (1, 3, 5) for each in range(3)]
        kept = cache.find(ids, ids, PROJECT)
        assert cache.find(ids, ids, OTHER).grants == {}
        assert all(policy(int(id_[-1])) == grant for id_, grant in kept.grants.items())
        truth = dict(record for each in range(3) for record in ((it.id, it) for it in stored(each)))
        assert all(truth[id_] == record for id_, record in (kept.networks | kept.groups).items())
        assert len(kept.networks) <= 2
        assert len(kept.groups) <= 2
        assert kept.subnets.keys() == kept.networks.keys()
