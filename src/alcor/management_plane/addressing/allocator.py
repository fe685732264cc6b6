"""Gives free addresses from memory, out of blocks that the store leases to this process.

    take -> enough in the blocks held? yes: give the lowest
                                       no:  refill, once for all that wait, and look again
    refill: blocks leased before -> blocks never leased -> settle what was given away -> gaps -> borrow

*Settle* asks the store to mark blocks whose addresses are all claimed, and reads the others again. *Borrow* is
for a subnet that is nearly full while others hold leases on what is left: addresses out of their blocks, from
the top, with the store's constraint as the judge. Only when there is nothing to borrow is a subnet full.
"""

import asyncio
from bisect import insort
from collections.abc import Coroutine, Sequence

from alcor.contracts.store import BlockLeases, Change
from alcor.management_plane.addressing import decisions
from alcor.management_plane.addressing.decisions import Plan
from alcor.model import errors
from alcor.model.records import Subnet
from alcor.runtime.clock import Clock, new_ids

LEASE_S = 60.0  # a dead process's blocks are idle that long
RENEW_BELOW_S = 30.0
MARGIN_S = 5.0  # clocks of processes may differ by that much
GIVEN_S = 120.0  # longer than any request: what is not claimed by then never will be
BORROWED_S = 1.0  # somebody else may give it meanwhile
SPENT_MAX = 16  # blocks given away that are not settled yet
BLOCKS_MAX = 256  # in one refill: 65,536 addresses
BORROW_BLOCKS = 64  # read at a time when looking for an address to borrow
ROUNDS_MAX = 100
SUBNETS_MAX = 10_000  # known at once; the one that was not used for longest is let go


class LeasedAllocator:
    """Implements `AddressAllocator`. Owner of this process's leases.

    Wire it with `store.listen(allocator.on_commit)`; without that, an address that another process released
    within GIVEN_S of its gift here is taken for one under way.
    """

    def __init__(self, leases: BlockLeases, clock: Clock, *, holder: str | None = None) -> None:
        self._leases = leases
        self._clock = clock
        self._holder = holder or new_ids(1)[0]
        self._subnets: dict[str, _Subnet] = {}
        self._releases: set[asyncio.Task[None]] = set()

    async def take(self, subnet: Subnet, count: int) -> list[bytes]:
        """Give `count` addresses, the lowest first. Raises Conflict when the subnet is full, Unavailable."""
        state = self._state_of(subnet)
        state.wanted += count
        try:
            for _ in range(ROUNDS_MAX):
                if (found := state.pick(count)) is not None:
                    state.tend()
                    return found
                if not await state.refilled():
                    if (found := state.pick(count)) is not None:  # borrowed
                        return found
                    if state.was_picked_since_refill:
                        continue  # somebody else was given what was found, and may not be able to use it
                    raise errors.Conflict(
                        f"No more IP addresses available on subnet {subnet.id}.",
                        reason="IpAddressGenerationFailure",
                    )
        finally:
            state.wanted -= count
        raise errors.Unavailable(f"addresses of subnet {subnet.id} are contended", retry_after_s=1.0)

    def give_back(self, subnet_id: str, ips: Sequence[bytes]) -> None:
        """Make addresses free again: in memory if this process holds their block, else the store knows it."""
        if (state := self._subnets.get(subnet_id)) is not None:
            for ip in ips:
                state.give_back(ip)

    def discard(self, subnet_id: str, ip: bytes) -> None:
        """Do not give this address: somebody holds it."""
        if (state := self._subnets.get(subnet_id)) is not None:
            state.discard(ip)

    def on_commit(self, change: Change) -> None:
        """Learn that addresses given are claimed now, not under way: a listener of the store. O(its ports).

        Of a new subnet the first block is leased at once: its ports come soon, and need not wait for the store.
        """
        for port in change.puts.ports:
            for fixed in port.fixed_ips:
                if (state := self._subnets.get(fixed.subnet_id)) is not None:
                    state.given.pop(fixed.ip, None)
        for subnet in change.puts.subnets:
            if subnet.id not in self._subnets and not subnet.is_derived:
                self._state_of(subnet).foresee()

    async def close(self) -> None:
        """Return all leases."""
        for state in self._subnets.values():
            await state.close()
        self._subnets.clear()
        await asyncio.gather(*self._releases)

    def _state_of(self, subnet: Subnet) -> "_Subnet":
        state = self._subnets.pop(subnet.id, None)
        plan = state.plan if state is not None and state.is_for(subnet) else decisions.plan(subnet)
        if state is None:
            state = _Subnet(subnet, plan, self._leases, self._clock, self._holder)
        elif state.plan is not plan:
            state.replan(subnet, plan)
        state.revision_number = subnet.revision_number
        self._subnets[subnet.id] = state  # last: used most lately
        if len(self._subnets) > SUBNETS_MAX:
            oldest = self._subnets.pop(next(iter(self._subnets)))
            task = asyncio.create_task(oldest.close(), name="addressing_release")
            self._releases.add(task)
            task.add_done_callback(self._releases.discard)
        return state


class _Block:
    """A block held. `free`: addresses to give, descending, so that the lowest is taken off the end."""

    __slots__ = ("free", "until")

    def __init__(self, free: list[bytes], until: float) -> None:
        self.free = free
        self.until = until  # monotonic seconds


class _Subnet:
    """What this process knows of one subnet. Owner of its blocks and of what it has given."""

    def __init__(self, subnet: Subnet, plan: Plan, leases: BlockLeases, clock: Clock, holder: str) -> None:
        self.plan = plan
        self.wanted = 0  # addresses that callers wait for
        self.given: dict[bytes, float] = {}  # under way: address -> when; insertion order is time order
        self.was_picked_since_refill = False
        self.revision_number = subnet.revision_number
        self._id = subnet.id
        self._made_from = (subnet.pools, subnet.gateway_ip)
        self._leases = leases
        self._clock = clock
        self._holder = holder
        self._blocks: dict[bytes, _Block] = {}
        self._spent_max = SPENT_MAX
        self._stale: set[bytes] = set()
        self._found = 0  # addresses found in blocks, ever: whether a refill was of use
        self._borrowed: list[bytes] = []
        self._borrowed_at = 0.0
        self._refill_task: asyncio.Task[bool] | None = None

    def is_for(self, subnet: Subnet) -> bool:
        return self._made_from == (subnet.pools, subnet.gateway_ip)

    def replan(self, subnet: Subnet, plan: Plan) -> None:
        """Follow changed pools: keep the leases, recount what is free in them."""
        self.plan = plan
        self._made_from = (subnet.pools, subnet.gateway_ip)
        self._borrowed = []
        for first_ip, block in self._blocks.items():
            seats = set(plan.seats(first_ip))
            block.free = [ip for ip in block.free if ip in seats]

    def pick(self, count: int) -> list[bytes] | None:
        """Give the lowest `count` free addresses, or None when there are fewer."""
        if self._stale:
            return None
        now = self._clock.monotonic_s()
        usable = [self._blocks[ip] for ip in sorted(self._blocks) if self._blocks[ip].until - MARGIN_S > now]
        borrowed = self._borrowed if now - self._borrowed_at < BORROWED_S else []
        if sum(len(block.free) for block in usable) + len(borrowed) < count:
            return None
        found: list[bytes] = []
        for block in usable:
            while block.free and len(found) < count:
                found.append(block.free.pop())
        while len(found) < count:
            found.append(borrowed.pop())
        self.was_picked_since_refill = count > 0
        for ip in found:
            self.given.pop(ip, None)
            self.given[ip] = now
        return found

    def give_back(self, ip: bytes) -> None:
        self.given.pop(ip, None)
        block = self._blocks.get(self.plan.block_of(ip))
        if block is None or not self.plan.is_seat(ip):
            return
        insort(block.free, ip, key=_descending)
        index = block.free.index(ip)
        if index + 1 < len(block.free) and block.free[index + 1] == ip:
            del block.free[index]  # it was free already

    def discard(self, ip: bytes) -> None:
        # Not remembered as somebody's: who has it may release it through another process, which we do not hear.
        self.given.pop(ip, None)
        if (first_ip := self.plan.block_of(ip)) in self._blocks:
            self._stale.add(first_ip)  # others claim addresses in it: read it again before giving more
        self._borrowed = [it for it in self._borrowed if it != ip]

    def tend(self) -> None:
        """In the background: prolong leases when half of their time is over, settle what was given away."""
        if self._refill_task is not None:
            return
        now = self._clock.monotonic_s()
        if any(now + MARGIN_S < block.until < now + RENEW_BELOW_S for block in self._blocks.values()):
            self._start(self._renew())
        elif sum(not block.free for block in self._blocks.values()) > self._spent_max:
            self._start(self._settle())

    def foresee(self) -> None:
        """In the background: lease what the first ports will need."""
        self._start(self._refill_for(1))

    async def refilled(self) -> bool:
        """Look for more addresses, together with all others that wait. False: there are none."""
        task = self._refill_task
        if task is None or task.done():
            task = self._start(self._refill())
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Return the leases."""
        if self._refill_task is not None:
            await asyncio.wait([self._refill_task])
        if self._blocks:
            await self._leases.release(self._id, self._holder, first_ips=list(self._blocks))
        self._blocks.clear()

    def _start(self, work: Coroutine[None, None, bool]) -> "asyncio.Task[bool]":
        task = asyncio.create_task(work, name="addressing_refill")
        self._refill_task = task
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[bool]") -> None:
        if self._refill_task is task:
            self._refill_task = None
        if not task.cancelled():
            task.exception()  # whoever waits has it; a renewal that failed shows in the next refill

    async def _renew(self) -> bool:
        until_us, until = self._lease_end()
        mine = set(
            await self._leases.renew(self._id, self._holder, first_ips=list(self._blocks), until=until_us)
        )
        for first_ip in list(self._blocks):
            if first_ip in mine:
                self._blocks[first_ip].until = until
            else:
                del self._blocks[first_ip]  # somebody else has it by now
        return True

    async def _refill_for(self, count: int) -> bool:
        self.wanted += count
        try:
            return await self._refill()
        finally:
            self.wanted -= count

    async def _refill(self) -> bool:
        found = await self._look_for_more()
        self.was_picked_since_refill = False
        return found

    async def _look_for_more(self) -> bool:
        self._forget()
        before = self._found
        if stale := [ip for ip in sorted(self._stale) if ip in self._blocks]:
            await self._read(stale)
        self._stale.difference_update(stale)
        self._stale &= self._blocks.keys()
        for _ in range(ROUNDS_MAX):
            if (missing := self.wanted - self._available()) <= 0:
                break
            leased = await self._lease(min(-(-missing // self.plan.size), BLOCKS_MAX))
            if self.wanted > self._available():
                await self._settle()
            # A block that was leased and had nothing free may have hidden another: look again.
            if not leased and not await self._lease_gap_or_borrow(self.wanted - self._available()):
                return self._found > before
        return True

    def _forget(self) -> None:
        now = self._clock.monotonic_s()
        while self.given:
            ip, at = next(iter(self.given.items()))
            if at + GIVEN_S > now:
                break
            del self.given[ip]
        for first_ip in [ip for ip, block in self._blocks.items() if block.until - MARGIN_S <= now]:
            del self._blocks[first_ip]  # no longer ours, or not surely: it is leased again like any other
        self._borrowed = []

    def _available(self) -> int:
        return sum(len(block.free) for block in self._blocks.values()) + len(self._borrowed)

    async def _settle(self) -> bool:
        """Give up blocks that are all claimed; find what others released in those that are not."""
        spent = {ip: self.plan.seats(ip) for ip, block in self._blocks.items() if not block.free}
        if spent:
            exhausted = await self._leases.exhaust(
                self._id, self._holder, seats=spent, revision_number=self.revision_number
            )
            for first_ip in exhausted:
                self._blocks.pop(first_ip, None)
                del spent[first_ip]
            await self._read([ip for ip in spent if ip in self._blocks])
        # What is under way still is not settled: wait for as much again before asking again.
        self._spent_max = SPENT_MAX + len(spent)
        return True

    async def _lease(self, count: int) -> bool:
        until_us, until = self._lease_end()
        spans = self.plan.packed_spans()
        found = await self._leases.lease_known(
            self._id, self._holder, spans=spans, count=count, until=until_us, now=self._clock.now_us()
        )
        for _ in range(ROUNDS_MAX):
            if len(found) >= count:
                break
            highest = await self._leases.highest(self._id, spans=spans)
            wanted = decisions.next_new(self.plan, highest, count - len(found))
            if not wanted:
                break
            found += await self._leases.lease_new(self._id, self._holder, first_ips=wanted, until=until_us)
        await self._hold(found, until)
        return bool(found)

    async def _lease_gap_or_borrow(self, missing: int) -> bool:
        """Take what is left, the dear way. False: no block is left; what could be borrowed is in memory."""
        if missing <= 0:
            return True
        until_us, until = self._lease_end()
        known = await self._leases.blocks(self._id)
        gaps = decisions.never_leased(self.plan, known, -(-missing // self.plan.size))
        if gaps:
            found = await self._leases.lease_new(self._id, self._holder, first_ips=gaps, until=until_us)
            await self._hold(found, until)
            return True  # also when somebody else was faster: then there may be another
        await self._read(list(self._blocks))  # others may have released addresses in them
        missing = self.wanted - self._available()
        others = [ip for ip in decisions.to_borrow_from(self.plan, known) if ip not in self._blocks]
        for start in range(0, len(others), BORROW_BLOCKS):
            if missing <= 0:
                break
            some = others[start : start + BORROW_BLOCKS]
            claimed = await self._claimed(some)
            for first_ip in some:
                seats = reversed(self.plan.seats(first_ip))
                found = decisions.free(seats, claimed, self.given)[:missing]
                self._borrowed = found[::-1] + self._borrowed
                missing -= len(found)
        self._borrowed_at = self._clock.monotonic_s()
        return False

    async def _hold(self, first_ips: Sequence[bytes], until: float) -> None:
        for first_ip in first_ips:
            self._blocks[first_ip] = _Block([], until)
        await self._read(first_ips)

    async def _read(self, first_ips: Sequence[bytes]) -> None:
        """Read which addresses of the blocks are free."""
        if not first_ips:
            return
        claimed = await self._claimed(first_ips)
        for first_ip in first_ips:
            if (block := self._blocks.get(first_ip)) is not None:
                found = decisions.free(self.plan.seats(first_ip), claimed, self.given)[::-1]
                self._found += max(len(found) - len(block.free), 0)
                block.free = found

    async def _claimed(self, first_ips: Sequence[bytes]) -> set[bytes]:
        ranges = [(first_ip, self.plan.last_of(first_ip)) for first_ip in first_ips]
        return set(await self._leases.claimed(self._id, ranges=ranges))

    def _lease_end(self) -> tuple[int, float]:
        """Give the end of a lease that begins now: for the store, and by this process's own clock."""
        return self._clock.now_us() + int(LEASE_S * 1e6), self._clock.monotonic_s() + LEASE_S


def _descending(ip: bytes) -> int:
    return -int.from_bytes(ip, "big")
