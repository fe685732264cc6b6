"""Creating ports with what was kept from earlier reads decides as creating them with fresh reads does."""

import asyncio
from collections.abc import Callable, Sequence

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from alcor.contracts.memory_leases import MemoryBlockLeases
from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import Change, Query, R, Write
from alcor.management_plane.addressing.allocator import LeasedAllocator
from alcor.management_plane.caller import Caller
from alcor.management_plane.port.decisions import FixedIpFields, PortFields
from alcor.management_plane.port.read_cache import Kept, ReadCache
from alcor.management_plane.port.service import PortService
from alcor.management_plane.security_group import decisions as group_decisions
from alcor.model import errors
from alcor.model.ids import GroupId, NetworkId, ProjectId, RequestId, SubnetId, Vni
from alcor.model.records import KIND_OF, Network, Port, RecordSet, SecurityGroup, Subnet
from alcor.runtime.clock import SystemClock

PROJECT = ProjectId("p")
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

    async def put(self, record: Network | Subnet | SecurityGroup) -> None:
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
            networks = RecordSet(networks=(_network(0, True), _network(1, True)))
            groups = RecordSet(security_groups=(_group(0), _group(1), _group(2)))
            for records in (networks, groups):
                self.service.on_change(Change(0, 0, RequestId(""), PROJECT, records, RecordSet()))
        try:
            _, (port,) = await self.service.create(CALLER, [ask])
        except errors.AlcorError as error:
            return type(error), error.reason, error.message
        ips = tuple(sorted(port.fixed_ips))
        return port.network_id, ips, port.security_groups, port.port_security_enabled

    async def close(self) -> None:
        await self._allocator.close()


def _write(**parts: RecordSet) -> Write:
    return Write(request_id=RequestId("other"), project_id=PROJECT, **parts)


def _set(record: Network | Subnet | SecurityGroup | Port) -> RecordSet:
    return msgspec.structs.replace(RecordSet(), **{f"{KIND_OF[type(record)]}s": (record,)})


def _network(number: int, secured: bool) -> Network:
    return Network(
        id=NetworkId(_id(1, number)), project_id=PROJECT, vni=Vni(number + 1), port_security_enabled=secured
    )


def _subnet(number: int, size: int) -> Subnet:
    """Subnets 0 and 1 are of network 0, 2 and 3 of network 1; `size` addresses can be given."""
    first = b"\x0a" + bytes((number, 0))
    return Subnet(
        id=SubnetId(_id(2, number)),
        project_id=PROJECT,
        network_id=NetworkId(_id(1, number // 2)),
        cidr=(first + b"\0", 24),
        pools=((first + b"\x02", first + bytes((1 + size,))),),
    )


def _group(number: int) -> SecurityGroup:
    group_id = DEFAULT_GROUP if number == 2 else GroupId(_id(3, number))
    return SecurityGroup(id=group_id, project_id=PROJECT, is_default=number == 2)


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
        st.tuples(st.just("hear"), st.none()),
    ),
    min_size=5,
    max_size=40,
)


@given(_operations)
@example(
    [("create", _ask(0, None, None))] * 3 + [("put", _subnet(0, 4)), ("create", _ask(0, None, None))]
)  # pools widened unheard
def test_creating_with_what_was_kept_is_creating_with_fresh_reads(operations: list[tuple[str, object]]) -> None:
    asyncio.run(_compare(operations))


async def _compare(operations: list[tuple[str, object]]) -> None:
    keeping, forgetful = World(is_forgetful=False), World(is_forgetful=True)
    for world in (keeping, forgetful):
        await world.put(_network(0, True))
        await world.put(_subnet(0, 3))
    for name, what in operations:
        outcomes = []
        for world in (keeping, forgetful):
            match what:
                case PortFields():
                    outcomes.append(await world.create(what))
                case Network() | Subnet() | SecurityGroup() if name == "put":
                    await world.put(what)
                case Network() | Subnet() | SecurityGroup():
                    await world.remove(type(what), what.id)
                case _:
                    await world.hear()
        assert outcomes[:1] == outcomes[1:], what
    for world in (keeping, forgetful):
        await world.close()


def test_the_second_creation_reads_nothing() -> None:
    async def run() -> int:
        world = World(is_forgetful=False)
        await world.put(_network(0, True))
        await world.put(_subnet(0, 4))
        await world.create(_ask(0, None, None))  # makes the default group, too
        await world.create(_ask(0, None, None))
        before = world.session.reads
        await world.create(_ask(0, None, None))
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

    def change(number: int) -> Change:
        network, group = stored(number)
        puts = RecordSet(networks=(network,), security_groups=(group,))
        return Change(1, 0, RequestId(""), PROJECT, puts, RecordSet())

    for name, number in steps:
        if name == "begin":
            network, group = stored(number)
            found = Kept({network.id: network}, {network.id: (_subnet(0, 1),)}, {group.id: group})
            under_way.append((cache.begin(), found))
        elif name == "end" and under_way:
            reading, found = under_way.pop(number % len(under_way))
            cache.keep(reading, found)
            cache.end(reading)
        elif name == "change":
            numbers[number] += 1
            cache.on_change(change(number))
        elif name == "late":
            cache.on_change(change(number))  # the feed repeats it
        kept = cache.find([_id(1, each) for each in range(3)], [_id(3, each) for each in range(3)])
        truth = dict(record for each in range(3) for record in ((it.id, it) for it in stored(each)))
        assert all(truth[id_] == record for id_, record in (kept.networks | kept.groups).items())
        assert len(kept.networks) <= 2
        assert len(kept.groups) <= 2
        assert kept.subnets.keys() == kept.networks.keys()
