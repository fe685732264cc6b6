"""Laws of address allocation: never twice, used again after release, full only when full; any interleaving."""

import asyncio

import hypothesis
import pytest
from hypothesis import strategies

from alcor.contracts.memory_leases import MemoryBlockLeases
from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import Change, Taken, Write
from alcor.management_plane.addressing.allocator import GIVEN_S, LEASE_S, LeasedAllocator
from alcor.model import errors
from alcor.model.addressing import Cidr, ip_from_int, ip_to_int
from alcor.model.ids import NetworkId, PortId, ProjectId, RequestId, SubnetId
from alcor.model.records import FixedIp, Port, RecordSet, Subnet
from alcor.runtime.clock import new_ids

PROJECT = ProjectId("p")


class SetClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def now_us(self) -> int:
        return int(self.now_s * 1e6)

    def monotonic_s(self) -> float:
        return self.now_s


def make_subnet(prefix_len: int, seats: int) -> Subnet:
    network = ip_to_int(b"\x0a\0\0\0")
    return Subnet(
        id=SubnetId("s"),
        project_id=PROJECT,
        network_id=NetworkId("n"),
        cidr=Cidr(b"\x0a\0\0\0", prefix_len),
        gateway_ip=ip_from_int(network + 1),
        pools=((ip_from_int(network + 2), ip_from_int(network + 1 + seats)),),
    )


def make_vast_subnet(seats: int) -> Subnet:
    """Give a /64 of IPv6 whose last addresses are its pool."""
    cidr = Cidr.from_text("2001:db8::/64")
    last = ip_to_int(cidr.network) + cidr.size - 1
    return Subnet(
        id=SubnetId("s"),
        project_id=PROJECT,
        network_id=NetworkId("n"),
        cidr=cidr,
        gateway_ip=ip_from_int(ip_to_int(cidr.network) + 1, length=16),
        pools=((ip_from_int(last - seats + 1, length=16), ip_from_int(last, length=16)),),
    )


class Region:
    """Processes with an allocator each, on one store. The model: which address which port holds."""

    def __init__(self, seats: int, processes: int = 2, *, is_vast: bool = False) -> None:
        self.clock = SetClock()
        self.store = MemoryStore(self.clock)
        self.leases = MemoryBlockLeases(self.store)
        self.subnet = make_vast_subnet(seats) if is_vast else make_subnet(26 if seats <= 60 else 22, seats)
        self.seats = seats
        self.allocators = [self._process(number) for number in range(processes)]
        self.held: dict[bytes, Port] = {}
        self.store.listen(self._heard)

    def _process(self, number: int) -> LeasedAllocator:
        return LeasedAllocator(self.leases, self.clock, holder=f"process-{number}-{self.clock.now_s}")

    def _heard(self, change: Change) -> None:
        """A process hears of its own commits only."""
        self.allocators[int(change.request_id)].on_commit(change)

    async def create(self, process: int, count: int) -> list[bytes]:
        allocator = self.allocators[process]
        while True:
            ips = await allocator.take(self.subnet, count)
            assert len(set(ips)) == count
            ports = tuple(
                Port(
                    id=PortId(id_),
                    project_id=PROJECT,
                    network_id=NetworkId("n"),
                    mac=ip_to_int(ip),
                    fixed_ips=(FixedIp(self.subnet.id, ip),),
                )
                for id_, ip in zip(new_ids(count), ips, strict=True)
            )
            try:
                await self.store.commit(self._write(process, inserts=RecordSet(ports=ports)))
            except Taken as refused:
                _, value = refused.value  # type: ignore[misc]
                taken = ip_from_int(value, length=len(ips[0])) if refused.constraint == "mac" else value
                allocator.give_back(self.subnet.id, [ip for ip in ips if ip != taken])
                allocator.discard(self.subnet.id, taken)
                continue
            self.held.update(zip(ips, ports, strict=True))
            return ips

    async def delete(self, process: int, ips: list[bytes]) -> None:
        ports = tuple(self.held.pop(ip) for ip in ips)
        await self.store.commit(self._write(process, deletes=RecordSet(ports=ports)))
        self.allocators[process].give_back(self.subnet.id, ips)

    def crash(self, process: int) -> None:
        self.allocators[process] = self._process(process)

    def _write(self, process: int, **parts: RecordSet) -> Write:
        return Write(request_id=RequestId(str(process)), project_id=PROJECT, **parts)


STEPS = strategies.lists(
    strategies.tuples(
        strategies.sampled_from(["create", "create", "delete", "crash", "wait", "unused", "concurrent"]),
        strategies.integers(0, 1),
        strategies.integers(1, 25),
    ),
    max_size=40,
)


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(seats=strategies.sampled_from([1, 14, 45, 600]), is_vast=strategies.booleans(), steps=STEPS)
def test_no_address_is_held_twice_and_full_means_full(
    seats: int, is_vast: bool, steps: list[tuple[str, int, int]]
) -> None:
    async def run() -> None:
        region = Region(seats, is_vast=is_vast)
        for action, process, count in steps:
            room = seats - len(region.held)
            match action:
                case "create" if count <= room:
                    ips = await region.create(process, count)
                    assert all(region.subnet.pools[0][0] <= ip <= region.subnet.pools[0][1] for ip in ips)
                case "create":
                    with pytest.raises(errors.Conflict) as refused:
                        await region.create(process, count)
                    assert refused.value.reason == "IpAddressGenerationFailure"
                case "delete":
                    await region.delete(process, sorted(region.held)[:count])
                case "crash":
                    region.crash(process)
                case "wait":
                    region.clock.now_s += count * 5
                case "unused" if count <= room:
                    allocator = region.allocators[process]
                    ips = await allocator.take(region.subnet, count)
                    allocator.give_back(region.subnet.id, ips)
                case "concurrent" if 4 * count <= room:
                    await asyncio.gather(*(region.create(number % 2, count) for number in range(4)))

    asyncio.run(run())


async def test_the_first_addresses_are_the_lowest() -> None:
    region = Region(600)
    assert [ip[-1] for ip in await region.create(0, 3)] == [2, 3, 4]
    await region.delete(0, [b"\x0a\0\0\x03"])
    assert [ip[-1] for ip in await region.create(0, 2)] == [3, 5]


async def test_a_subnet_of_ipv6_costs_no_more_than_one_of_ipv4() -> None:
    """Counted: calls of the store, and the blocks they name, however many addresses there are."""
    counts = []
    for subnet in (make_subnet(8, 1 << 23), make_vast_subnet((1 << 64) - 2)):
        region = Region(1)
        region.subnet, region.seats = subnet, 600
        leases = CountingLeases(region.store)
        allocator = LeasedAllocator(leases, region.clock)
        given = await allocator.take(subnet, 600)
        assert given == [
            ip_from_int(ip_to_int(subnet.pools[0][0]) + n, length=len(given[0])) for n in range(600)
        ]
        counts.append((leases.leased, len(await leases.blocks(subnet.id))))
    assert counts[0] == counts[1] == (1, 3)


async def test_what_is_given_is_not_given_again_while_it_may_be_under_way() -> None:
    region = Region(600, processes=1)
    given = await region.allocators[0].take(region.subnet, 600)
    assert len(set(given)) == 600
    for _ in range(3):
        with pytest.raises(errors.Conflict):
            await region.allocators[0].take(region.subnet, 1)
    region.clock.now_s += GIVEN_S + LEASE_S
    assert len(await region.allocators[0].take(region.subnet, 600)) == 600


async def test_a_dead_process_s_addresses_are_used_again_after_its_lease() -> None:
    region = Region(45)
    await region.allocators[0].take(region.subnet, 45)
    region.crash(0)
    region.clock.now_s += LEASE_S + 1
    assert len(await region.create(0, 45)) == 45


async def test_changed_pools_are_followed() -> None:
    region = Region(14, processes=1)
    await region.create(0, 14)
    region.subnet = make_subnet(26, 30)
    region.seats = 30
    assert [ip[-1] for ip in await region.create(0, 16)] == list(range(16, 32))


async def test_closing_returns_the_leases() -> None:
    region = Region(600)
    await region.create(0, 1)
    await region.allocators[0].close()
    assert [ip[-1] for ip in await region.create(1, 1)] == [3]


async def test_after_a_taken_address_the_next_lowest_is_given() -> None:
    region = Region(600, processes=1)
    allocator = region.allocators[0]
    port = Port(
        id=PortId(new_ids(1)[0]),
        project_id=PROJECT,
        network_id=NetworkId("n"),
        mac=1,
        fixed_ips=(FixedIp(region.subnet.id, b"\x0a\0\0\x03"),),
    )
    assert await allocator.take(region.subnet, 1) == [b"\x0a\0\0\x02"]
    await region.store.commit(region._write(0, inserts=RecordSet(ports=(port,))))
    assert await allocator.take(region.subnet, 1) == [b"\x0a\0\0\x03"]
    allocator.discard(region.subnet.id, b"\x0a\0\0\x03")
    assert await allocator.take(region.subnet, 1) == [b"\x0a\0\0\x04"]


async def test_an_address_that_was_somebody_s_is_given_when_another_process_released_it() -> None:
    region = Region(4)
    await region.create(1, 1)
    (ip,) = await region.create(0, 1)
    region.allocators[1].discard(region.subnet.id, ip)  # it found out the hard way
    await region.delete(0, [ip])
    assert len(await region.create(1, 3)) == 3


class CountingLeases(MemoryBlockLeases):
    """Counts how often the store is asked to lease blocks."""

    leased = 0

    async def lease_known(self, *arguments: object, **more: object) -> list[bytes]:
        self.leased += 1
        return await super().lease_known(*arguments, **more)  # type: ignore[arg-type]


async def test_the_first_ports_of_a_new_subnet_do_not_wait_for_a_lease() -> None:
    region = Region(200, processes=0)
    leases = CountingLeases(region.store)
    allocator = LeasedAllocator(leases, region.clock)
    region.allocators.append(allocator)
    await region.store.commit(region._write(0, inserts=RecordSet(subnets=(region.subnet,))))
    await asyncio.sleep(0.01)
    assert leases.leased == 1
    assert await allocator.take(region.subnet, 3) == [b"\x0a\0\0\2", b"\x0a\0\0\3", b"\x0a\0\0\4"]
    assert leases.leased == 1
    await allocator.close()
    assert all(block.until <= region.clock.now_us() for block in await leases.blocks(region.subnet.id))
