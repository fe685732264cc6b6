"""Leases on blocks of addresses, and the allocator on them: the same in memory and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from alcor.adapters.postgres.store import PostgresStore
from alcor.contracts.memory_leases import MemoryBlockLeases
from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import BlockLeases, Store, Taken, Write
from alcor.management_plane.addressing.allocator import LeasedAllocator
from alcor.model import errors
from alcor.model.addressing import Cidr
from alcor.model.ids import NetworkId, PortId, ProjectId, RequestId, SubnetId
from alcor.model.records import FixedIp, Port, RecordSet, Subnet
from alcor.runtime.clock import SystemClock, new_ids

PROJECT = ProjectId("p")
Pair = tuple[Store, BlockLeases]
FAR = 2**60


@pytest.fixture(params=["memory", "postgres"])
async def pair(request: pytest.FixtureRequest, postgres_store: PostgresStore) -> AsyncIterator[Pair]:
    if request.param == "memory":
        store = MemoryStore()
        yield store, MemoryBlockLeases(store)
    else:
        yield postgres_store, postgres_store.leases()


def ip(number: int) -> bytes:
    return (0x0A000000 + number).to_bytes(4, "big")


def subnet(seats: int, prefix_len: int = 22) -> Subnet:
    return Subnet(
        id=SubnetId(new_ids(1)[0]),
        project_id=PROJECT,
        network_id=NetworkId(new_ids(1)[0]),
        cidr=Cidr(ip(0), prefix_len),
        pools=((ip(2), ip(1 + seats)),),
    )


def write(**parts: RecordSet) -> Write:
    return Write(request_id=RequestId(new_ids(1)[0]), project_id=PROJECT, **parts)


def ports_of(it: Subnet, ips: list[bytes]) -> tuple[Port, ...]:
    return tuple(
        Port(
            id=PortId(id_),
            project_id=PROJECT,
            network_id=it.network_id,
            mac=int.from_bytes(address, "big"),
            fixed_ips=(FixedIp(it.id, address),),
        )
        for id_, address in zip(new_ids(len(ips)), ips, strict=True)
    )


async def test_a_block_is_leased_to_one_holder_until_its_end(pair: Pair) -> None:
    _, leases = pair
    id_, spans = new_ids(1)[0], [(ip(0), ip(256))]
    assert await leases.highest(id_, spans=spans) == [None]
    assert await leases.lease_new(id_, "a", first_ips=[ip(0), ip(64)], until=100) == [ip(0), ip(64)]
    assert await leases.lease_new(id_, "b", first_ips=[ip(64), ip(128)], until=100) == [ip(128)]
    assert await leases.highest(id_, spans=[*spans, (ip(0), ip(64))]) == [ip(128), ip(64)]
    assert await leases.lease_known(id_, "b", spans=spans, count=9, until=200, now=100) == []
    assert await leases.renew(id_, "a", first_ips=[ip(0), ip(128)], until=300) == [ip(0)]
    assert await leases.lease_known(id_, "b", spans=spans, count=9, until=FAR, now=200) == [ip(64), ip(128)]
    assert await leases.renew(id_, "a", first_ips=[ip(64)], until=300) == []
    await leases.release(id_, "b", first_ips=[ip(128), ip(0)])
    assert await leases.lease_known(id_, "c", spans=spans, count=9, until=FAR, now=200) == [ip(128)]
    assert [(it.first_ip, it.holder) for it in await leases.blocks(id_)] == [
        (ip(0), "a"),
        (ip(64), "b"),
        (ip(128), "c"),
    ]


async def test_a_block_is_exhausted_until_one_of_its_addresses_is_released(pair: Pair) -> None:
    store, leases = pair
    it = subnet(4)
    ports = ports_of(it, [ip(2), ip(3)])
    await store.commit(write(inserts=RecordSet(subnets=(it,), ports=ports)))
    await leases.lease_new(it.id, "a", first_ips=[ip(0), ip(16)], until=FAR)
    assert sorted(await leases.claimed(it.id, ranges=[(ip(0), ip(2)), (ip(3), ip(9))])) == [ip(2), ip(3)]
    assert await leases.exhaust(it.id, "b", seats={ip(0): [ip(2), ip(3)]}, revision_number=0) == []
    assert await leases.exhaust(
        it.id, "a", seats={ip(0): [ip(2), ip(3)], ip(16): [ip(17)]}, revision_number=0
    ) == [ip(0)]
    spans = [(ip(0), ip(16))]
    assert await leases.lease_known(it.id, "b", spans=spans, count=9, until=FAR, now=5) == []
    await store.commit(write(deletes=RecordSet(ports=ports[:1])))
    assert await leases.lease_known(it.id, "b", spans=spans, count=9, until=FAR, now=5) == [ip(0)]


async def test_a_block_is_not_exhausted_by_the_pools_of_an_older_subnet(pair: Pair) -> None:
    store, leases = pair
    it = subnet(1)
    (port,) = ports_of(it, [ip(2)])
    await store.commit(write(inserts=RecordSet(subnets=(it,), ports=(port,))))
    await leases.lease_new(it.id, "a", first_ips=[ip(0)], until=FAR)
    wider = msgspec.structs.replace(it, pools=((ip(2), ip(3)),), revision_number=1)
    await store.commit(write(updates=RecordSet(subnets=(wider,))))
    assert await leases.exhaust(it.id, "a", seats={ip(0): [ip(2)]}, revision_number=0) == []
    assert [block.exhausted for block in await leases.blocks(it.id)] == [False]


async def test_an_update_that_releases_an_address_reopens_its_block(pair: Pair) -> None:
    store, leases = pair
    it = subnet(4)
    (port,) = ports_of(it, [ip(2)])
    await store.commit(write(inserts=RecordSet(subnets=(it,), ports=(port,))))
    await leases.lease_new(it.id, "a", first_ips=[ip(0)], until=FAR)
    assert await leases.exhaust(it.id, "a", seats={ip(0): [ip(2)]}, revision_number=0) == [ip(0)]
    moved = msgspec.structs.replace(port, fixed_ips=(FixedIp(it.id, ip(99)),), revision_number=1)
    await store.commit(write(updates=RecordSet(ports=(moved,))))
    assert [block.exhausted for block in await leases.blocks(it.id)] == [False]


async def test_processes_share_a_subnet_to_its_last_address(pair: Pair) -> None:
    store, leases = pair
    it = subnet(600)
    await store.commit(write(inserts=RecordSet(subnets=(it,))))
    allocators = [LeasedAllocator(leases, SystemClock()) for _ in range(4)]
    for allocator in allocators:
        store.listen(allocator.on_commit)
    held: list[Port] = []

    async def create(number: int) -> None:
        allocator = allocators[number % 4]
        for _ in range(20):
            ips = await allocator.take(it, 6)
            ports = ports_of(it, ips)
            try:
                await store.commit(write(inserts=RecordSet(ports=ports)))
            except Taken as refused:  # borrowed by another
                value = refused.value[1]  # type: ignore[index]
                taken = value if isinstance(value, bytes) else value.to_bytes(4, "big")
                allocator.give_back(it.id, [ip for ip in ips if ip != taken])
                allocator.discard(it.id, taken)
                continue
            held.extend(ports)
            return
        raise AssertionError("no way to the last addresses")

    await asyncio.gather(*(create(number) for number in range(80)))
    for number in range(20):
        await create(number)
    assert len({port.fixed_ips[0].ip for port in held}) == 600
    for number in range(4):
        with pytest.raises(errors.Conflict) as refused:
            await create(number)
        assert refused.value.reason == "IpAddressGenerationFailure"
    await store.commit(write(deletes=RecordSet(ports=(held[7],))))
    assert await allocators[3].take(it, 1) == [held[7].fixed_ips[0].ip]
    for allocator in allocators:
        await allocator.close()
