"""Leases on blocks of addresses over the store in memory, with the semantics of `store.BlockLeases`."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import BlockState, Change
from alcor.model.records import Subnet


class MemoryBlockLeases:
    """Implements `BlockLeases`. Owner of the blocks; the store owns the claims."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._blocks: dict[str, dict[bytes, BlockState]] = defaultdict(dict)
        store.listen(self._reopen)

    async def lease_known(
        self,
        subnet_id: str,
        holder: str,
        *,
        spans: Sequence[tuple[bytes, bytes]],
        count: int,
        until: int,
        now: int,
    ) -> list[bytes]:
        await asyncio.sleep(0)  # as a server, which answers later
        held = self._blocks[subnet_id]
        free = [
            block.first_ip
            for block in sorted(held.values(), key=lambda block: block.first_ip)
            if not block.exhausted
            and block.until < now
            and any(low <= block.first_ip <= high for low, high in spans)
        ][:count]
        for first_ip in free:
            held[first_ip] = BlockState(first_ip, holder, until, exhausted=False)
        return free

    async def lease_new(
        self, subnet_id: str, holder: str, *, first_ips: Sequence[bytes], until: int
    ) -> list[bytes]:
        await asyncio.sleep(0)  # as a server, which answers later
        held = self._blocks[subnet_id]
        new = [first_ip for first_ip in first_ips if first_ip not in held]
        for first_ip in new:
            held[first_ip] = BlockState(first_ip, holder, until, exhausted=False)
        return new

    async def highest(self, subnet_id: str, *, spans: Sequence[tuple[bytes, bytes]]) -> list[bytes | None]:
        await asyncio.sleep(0)  # as a server, which answers later
        held = self._blocks[subnet_id]
        return [max((ip for ip in held if low <= ip <= high), default=None) for low, high in spans]

    async def renew(
        self, subnet_id: str, holder: str, *, first_ips: Sequence[bytes], until: int
    ) -> list[bytes]:
        await asyncio.sleep(0)  # as a server, which answers later
        mine = self._mine(subnet_id, holder, first_ips)
        for block in mine:
            self._blocks[subnet_id][block.first_ip] = msgspec.structs.replace(block, until=until)
        return [block.first_ip for block in mine]

    async def release(self, subnet_id: str, holder: str, *, first_ips: Sequence[bytes]) -> None:
        await asyncio.sleep(0)  # as a server, which answers later
        for block in self._mine(subnet_id, holder, first_ips):
            self._blocks[subnet_id][block.first_ip] = msgspec.structs.replace(block, until=0)

    async def exhaust(
        self, subnet_id: str, holder: str, *, seats: Mapping[bytes, Sequence[bytes]], revision_number: int
    ) -> list[bytes]:
        await asyncio.sleep(0)  # as a server, which answers later
        if self._store.revision_number(Subnet, subnet_id) not in (None, revision_number):
            return []
        full = [
            block
            for block in self._mine(subnet_id, holder, list(seats))
            if all(self._store.holder(("address", (subnet_id, ip))) for ip in seats[block.first_ip])
        ]
        for block in full:
            self._blocks[subnet_id][block.first_ip] = msgspec.structs.replace(block, until=0, exhausted=True)
        return [block.first_ip for block in full]

    async def claimed(self, subnet_id: str, *, ranges: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        await asyncio.sleep(0)  # as a server, which answers later
        found = []
        for first, last in ranges:
            for number in range(int.from_bytes(first, "big"), int.from_bytes(last, "big") + 1):
                ip = number.to_bytes(len(first), "big")
                if self._store.holder(("address", (subnet_id, ip))):
                    found.append(ip)
        return found

    async def blocks(self, subnet_id: str) -> list[BlockState]:
        await asyncio.sleep(0)  # as a server, which answers later
        return sorted(self._blocks[subnet_id].values(), key=lambda block: block.first_ip)

    def _mine(self, subnet_id: str, holder: str, first_ips: Sequence[bytes]) -> list[BlockState]:
        held = self._blocks[subnet_id]
        blocks = [held[ip] for ip in first_ips if ip in held]
        return [block for block in blocks if block.holder == holder and block.until > 0]

    def _reopen(self, change: Change) -> None:
        for subnet in change.deletes.subnets:
            self._blocks.pop(subnet.id, None)
        moved: set[str] = {fixed.subnet_id for port in change.deletes.ports for fixed in port.fixed_ips}
        if any(port.revision_number for port in change.puts.ports):
            moved.update(self._blocks)  # an update may have released addresses that it no longer names
        moved.update(subnet.id for subnet in change.puts.subnets)
        for subnet_id in moved & self._blocks.keys():
            for first_ip, block in self._blocks[subnet_id].items():
                self._blocks[subnet_id][first_ip] = msgspec.structs.replace(block, exhausted=False)
