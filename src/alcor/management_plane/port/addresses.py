"""Addresses drawn for one attempt: kept when it commits, given back when it does not."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

from alcor.contracts.store import AddressAllocator, Taken
from alcor.management_plane.port.fixed_ips import Draws, Place, WantedIp
from alcor.model import errors
from alcor.model.records import FixedIp, Subnet

AT_ONCE = 8  # subnets drawn from together: each may have to lease blocks from the store first


class DrawnAddresses:
    """An async context manager. Owner of what it drew until `keep`."""

    def __init__(self, allocator: AddressAllocator) -> None:
        self._allocator = allocator
        self._drawn: dict[str, list[bytes]] = {}
        self._kept = False
        self.draws = Draws({}, {})

    async def __aenter__(self) -> "DrawnAddresses":
        return self

    async def __aexit__(self, *exc: object) -> None:
        if not self._kept:
            for subnet_id, ips in self._drawn.items():
                self._allocator.give_back(subnet_id, ips)

    def keep(self) -> None:
        """The attempt was committed: the addresses are ports' now."""
        self._kept = True

    async def draw(
        self, wanted: Sequence[tuple[str, Sequence[WantedIp]]], subnets: Mapping[str, Sequence[Subnet]]
    ) -> None:
        """Draw all addresses that are not named, one call per subnet; `wanted` is by network."""
        anywhere: Counter[Place] = Counter()
        among: dict[Place, tuple[str, Sequence[Subnet], bool]] = {}
        inside: dict[str, tuple[Subnet, int]] = {}
        for network_id, wants in wanted:
            for want in wants:
                if want.subnet is None:
                    place = want.place(network_id)
                    anywhere[place] += 1
                    if place not in among:
                        among[place] = (network_id, want.among or subnets[network_id], bool(want.among))
                elif want.is_drawn:
                    _, count = inside.get(want.subnet.id, (want.subnet, 0))
                    inside[want.subnet.id] = (want.subnet, count + 1)
        few = asyncio.Semaphore(AT_ONCE)

        async def in_subnet(subnet: Subnet, count: int) -> None:
            async with few:
                self.draws.in_subnet[subnet.id] = await self._take(subnet, count)

        async def in_some(place: Place, count: int) -> None:
            network_id, some, in_order = among[place]
            async with few:
                found = await self._take_anywhere(network_id, some, count, in_order=in_order)
            found.reverse()  # consumed from the end: the first port gets the first address
            self.draws.anywhere[place] = found

        # All are waited for, also when one finds nothing: what they drew is given back together.
        ends = await asyncio.gather(
            *(in_subnet(subnet, count) for subnet, count in inside.values()),
            *(in_some(place, count) for place, count in anywhere.items()),
            return_exceptions=True,
        )
        for end in ends:
            if end is not None:
                raise end

    def drew(self, fixed: FixedIp) -> bool:
        """Was the address generated here, rather than asked for?"""
        return fixed.ip in self._drawn.get(fixed.subnet_id, ())

    def forget(self, taken: Taken) -> bool:
        """Forget an address that turned out to be somebody's. False when it was not drawn here."""
        if taken.constraint != "address" or not isinstance(taken.value, tuple):
            return False
        subnet_id, ip = taken.value
        ips = self._drawn.get(subnet_id, [])
        if ip not in ips:
            return False
        ips.remove(ip)
        self._allocator.discard(subnet_id, ip)
        return True

    async def _take_anywhere(
        self, network_id: str, subnets: Sequence[Subnet], count: int, *, in_order: bool
    ) -> list[FixedIp]:
        """Take from the first subnet that has room; halve the count when none has room for all.

        `in_order`: halve it as soon as one has not, so that a subnet is filled before the next gives any.
        """
        for subnet in subnets:
            try:
                return await self._take(subnet, count)
            except errors.Conflict as full:
                if full.reason != "IpAddressGenerationFailure":
                    raise
                if in_order and count > 1:
                    break
        if count == 1 or len(subnets) == 1:
            raise errors.Conflict(
                f"No more IP addresses available on network {network_id}.", reason="IpAddressGenerationFailure"
            )
        half = count // 2
        first = await self._take_anywhere(network_id, subnets, count - half, in_order=in_order)
        return first + await self._take_anywhere(network_id, subnets, half, in_order=in_order)

    async def _take(self, subnet: Subnet, count: int) -> list[FixedIp]:
        ips = await self._allocator.take(subnet, count)
        self._drawn.setdefault(subnet.id, []).extend(ips)
        return [FixedIp(subnet.id, ip) for ip in ips]
