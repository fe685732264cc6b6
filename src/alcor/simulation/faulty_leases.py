"""Leases on blocks of addresses through one process's session with the store: what it does, they suffer."""

from collections.abc import Mapping, Sequence

from alcor.contracts.store import BlockLeases, BlockState
from alcor.simulation.faulty_store import StoreSession


class SessionLeases:
    """Implements `BlockLeases` over another, by a session."""

    def __init__(self, leases: BlockLeases, session: StoreSession) -> None:
        self._leases = leases
        self._session = session

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
        return await self._session.carry_out(
            lambda: self._leases.lease_known(subnet_id, holder, spans=spans, count=count, until=until, now=now)
        )

    async def lease_new(
        self, subnet_id: str, holder: str, *, first_ips: Sequence[bytes], until: int
    ) -> list[bytes]:
        return await self._session.carry_out(
            lambda: self._leases.lease_new(subnet_id, holder, first_ips=first_ips, until=until)
        )

    async def highest(self, subnet_id: str, *, spans: Sequence[tuple[bytes, bytes]]) -> list[bytes | None]:
        return await self._session.carry_out(lambda: self._leases.highest(subnet_id, spans=spans))

    async def renew(
        self, subnet_id: str, holder: str, *, first_ips: Sequence[bytes], until: int
    ) -> list[bytes]:
        return await self._session.carry_out(
            lambda: self._leases.renew(subnet_id, holder, first_ips=first_ips, until=until)
        )

    async def release(self, subnet_id: str, holder: str, *, first_ips: Sequence[bytes]) -> None:
        await self._session.carry_out(lambda: self._leases.release(subnet_id, holder, first_ips=first_ips))

    async def exhaust(
        self, subnet_id: str, holder: str, *, seats: Mapping[bytes, Sequence[bytes]], revision_number: int
    ) -> list[bytes]:
        return await self._session.carry_out(
            lambda: self._leases.exhaust(subnet_id, holder, seats=seats, revision_number=revision_number)
        )

    async def claimed(self, subnet_id: str, *, ranges: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        return await self._session.carry_out(lambda: self._leases.claimed(subnet_id, ranges=ranges))

    async def blocks(self, subnet_id: str) -> list[BlockState]:
        return await self._session.carry_out(lambda: self._leases.blocks(subnet_id))
