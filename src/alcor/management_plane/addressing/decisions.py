"""Blocks of a subnet's pools, which to lease next, and the addresses in one that may be given. Pure.

pools     |---------|    |-------------|        what the tenant allows
blocks  |....|....|....|....|....|....|....|    aligned in the subnet's range, so that they do not move
span      first ... last, the same again        when pools change; named by their first address
seats     the pools' addresses in one block but the gateway's
"""

from collections.abc import Iterable, Mapping, Sequence, Set

import msgspec

from alcor.contracts.store import BlockState
from alcor.model.addressing import Cidr, ip_from_int, ip_to_int
from alcor.model.records import Subnet

BLOCK_MAX = 256  # addresses; a lease in the store per 256 ports is no cost, and little is idle in one process
BLOCK_MIN = 4
BLOCKS_PER_SUBNET = 16  # a small subnet is cut so that as many processes find a block

Span = tuple[bytes, bytes]


class Plan(msgspec.Struct, frozen=True):
    """How a subnet's pools are cut. `spans`: (first, last) block starts, inclusive, ascending, disjoint."""

    size: int
    base: int  # the subnet's first address
    length: int  # bytes of an address
    pools: tuple[tuple[int, int], ...]  # inclusive
    gateway: int | None
    spans: tuple[tuple[int, int], ...]

    def block_of(self, ip: bytes) -> bytes:
        """Name the block that an address is in."""
        return self.pack(self._start(ip_to_int(ip)))

    def seats(self, first_ip: bytes) -> list[bytes]:
        """Give the addresses of a block that may be given, ascending. At most `size`."""
        start = ip_to_int(first_ip)
        return [
            self.pack(number)
            for low, high in self.pools
            for number in range(max(low, start), min(high, start + self.size - 1) + 1)
            if number != self.gateway
        ]

    def is_seat(self, ip: bytes) -> bool:
        """May the address be given at all?"""
        number = ip_to_int(ip)
        return number != self.gateway and any(low <= number <= high for low, high in self.pools)

    def last_of(self, first_ip: bytes) -> bytes:
        """Give the last address of a block."""
        return self.pack(ip_to_int(first_ip) + self.size - 1)

    def packed_spans(self) -> list[Span]:
        """Give the spans as the store wants them."""
        return [(self.pack(first), self.pack(last)) for first, last in self.spans]

    def pack(self, number: int) -> bytes:
        return ip_from_int(number, length=self.length)

    def _start(self, number: int) -> int:
        return number - (number - self.base) % self.size


def plan(subnet: Subnet) -> Plan:
    """Cut a subnet's pools into blocks. O(pools)."""
    network, prefix_len = subnet.cidr
    size = max(min(BLOCK_MAX, Cidr(network, prefix_len).size // BLOCKS_PER_SUBNET), BLOCK_MIN)
    base = ip_to_int(network)
    pools = tuple((ip_to_int(first), ip_to_int(last)) for first, last in subnet.pools)
    spans: list[tuple[int, int]] = []
    for low, high in pools:
        first, last = (number - (number - base) % size for number in (low, high))
        if spans and first <= spans[-1][1]:  # two pools in one block
            spans[-1] = (spans[-1][0], max(last, spans[-1][1]))
        else:
            spans.append((first, last))
    gateway = ip_to_int(subnet.gateway_ip) if subnet.gateway_ip is not None else None
    return Plan(size, base, len(network), pools, gateway, tuple(spans))


def next_new(it: Plan, highest: Sequence[bytes | None], count: int) -> list[bytes]:
    """Name the lowest blocks above the highest ever leased in each span. `highest` is in the order of spans."""
    found: list[bytes] = []
    for (first, last), top in zip(it.spans, highest, strict=True):
        start = first if top is None else ip_to_int(top) + it.size
        for number in range(start, last + 1, it.size):
            if len(found) == count:
                return found
            found.append(it.pack(number))
    return found


def never_leased(it: Plan, known: Sequence[BlockState], count: int) -> list[bytes]:
    """Name the lowest blocks that were never leased, gaps included. O(blocks)."""
    leased = {block.first_ip for block in known}
    found: list[bytes] = []
    for first, last in it.spans:
        for number in range(first, last + 1, it.size):
            if len(found) == count:
                return found
            if (block := it.pack(number)) not in leased:
                found.append(block)
    return found


def to_borrow_from(it: Plan, known: Sequence[BlockState]) -> list[bytes]:
    """Name the blocks that may have room but are leased, highest first: their holders give the lowest first."""
    return [
        block.first_ip
        for block in reversed(known)
        if not block.exhausted and any(first <= ip_to_int(block.first_ip) <= last for first, last in it.spans)
    ]


def free(seats: Iterable[bytes], claimed: Set[bytes], given: Mapping[bytes, float]) -> list[bytes]:
    """Give the seats that nobody holds and that were not given lately, in their order."""
    return [ip for ip in seats if ip not in claimed and ip not in given]
