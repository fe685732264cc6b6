"""Leases on blocks of addresses: `contracts.store.BlockLeases` on PostgreSQL.

No statement here scans what grows with the subnet, but for `blocks`. What tells a full block from one with
room is a flag per block, not a counter: a counter would be one more row that every port of the block rewrites,
in every commit. The holder sets the flag once, when it has given the block away; the commit that releases an
address of the block clears it. Both do so while they hold the revision's row, so that none misses the other.
"""

from collections.abc import Mapping, Sequence

import asyncpg

from alcor.adapters.postgres import sessions
from alcor.adapters.postgres.sessions import answered
from alcor.contracts.store import BlockState

_LEASE_KNOWN = """
UPDATE address_blocks b SET holder = $2, until = $3
FROM (
    SELECT a.first_ip FROM unnest($4::bytea[], $5::bytea[]) AS span(low, high)
    JOIN address_blocks a ON a.first_ip BETWEEN span.low AND span.high
    WHERE a.subnet_id = $1 AND NOT a.exhausted AND a.until < $6
    ORDER BY a.first_ip LIMIT $7
) AS free
WHERE b.subnet_id = $1 AND b.first_ip = free.first_ip AND NOT b.exhausted AND b.until < $6
RETURNING b.first_ip
"""
_LEASE_NEW = """
INSERT INTO address_blocks (subnet_id, first_ip, holder, until, exhausted)
SELECT $1, first_ip, $2, $3, false FROM unnest($4::bytea[]) AS new(first_ip)
ON CONFLICT (subnet_id, first_ip) DO NOTHING RETURNING first_ip
"""
_HIGHEST = """
SELECT (
    SELECT a.first_ip FROM address_blocks a
    WHERE a.subnet_id = $1 AND a.first_ip BETWEEN span.low AND span.high ORDER BY a.first_ip DESC LIMIT 1
) AS first_ip
FROM unnest($2::bytea[], $3::bytea[]) WITH ORDINALITY AS span(low, high, n) ORDER BY span.n
"""
_RENEW = """
UPDATE address_blocks SET until = $3
WHERE subnet_id = $1 AND holder = $2 AND until > 0 AND first_ip = ANY($4::bytea[]) RETURNING first_ip
"""
_EXHAUST = """
UPDATE address_blocks b SET exhausted = true, until = 0
WHERE b.subnet_id = $1 AND b.holder = $2 AND b.until > 0 AND b.first_ip = ANY($3::bytea[]) AND NOT EXISTS (
    SELECT 1 FROM unnest($3::bytea[], $4::bytea[]) AS seat(first_ip, ip)
    WHERE seat.first_ip = b.first_ip
    AND NOT EXISTS (SELECT 1 FROM addresses a WHERE a.subnet_id = $1 AND a.ip = seat.ip)
) AND NOT EXISTS (SELECT 1 FROM subnets s WHERE s.id = $1 AND s.revision_number <> $5)
RETURNING b.first_ip
"""
_CLAIMED = """
SELECT a.ip FROM unnest($2::bytea[], $3::bytea[]) AS span(low, high)
JOIN addresses a ON a.subnet_id = $1 AND a.ip BETWEEN span.low AND span.high
"""


class PostgresBlockLeases:
    """Implements `BlockLeases` over the store's pool, which it does not own."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

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
        low, high = [first for first, _ in spans], [last for _, last in spans]
        return sorted(await self._ips(_LEASE_KNOWN, subnet_id, holder, until, low, high, now, count))

    async def lease_new(
        self, subnet_id: str, holder: str, *, first_ips: Sequence[bytes], until: int
    ) -> list[bytes]:
        return sorted(await self._ips(_LEASE_NEW, subnet_id, holder, until, list(first_ips)))

    async def highest(self, subnet_id: str, *, spans: Sequence[tuple[bytes, bytes]]) -> list[bytes | None]:
        low, high = [first for first, _ in spans], [last for _, last in spans]
        return [row[0] for row in await self._fetch(_HIGHEST, subnet_id, low, high)]

    async def renew(
        self, subnet_id: str, holder: str, *, first_ips: Sequence[bytes], until: int
    ) -> list[bytes]:
        return sorted(await self._ips(_RENEW, subnet_id, holder, until, list(first_ips)))

    async def release(self, subnet_id: str, holder: str, *, first_ips: Sequence[bytes]) -> None:
        await self._fetch(_RENEW, subnet_id, holder, 0, list(first_ips))

    async def exhaust(
        self, subnet_id: str, holder: str, *, seats: Mapping[bytes, Sequence[bytes]], revision_number: int
    ) -> list[bytes]:
        pairs = [(first_ip, ip) for first_ip, ips in seats.items() for ip in ips]

        async def mark() -> list[asyncpg.Record]:
            async with self._pool.acquire(timeout=sessions.AWAY_S) as session, session.transaction():
                # From here on no commit can release an address unseen (transaction.py).
                await session.execute("UPDATE partition SET revision = revision WHERE id = 1")
                found: list[asyncpg.Record] = await session.fetch(
                    _EXHAUST,
                    subnet_id,
                    holder,
                    [first_ip for first_ip, _ in pairs],
                    [ip for _, ip in pairs],
                    revision_number,
                )
                return found

        return sorted(row[0] for row in await answered(mark))

    async def claimed(self, subnet_id: str, *, ranges: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        low, high = [first for first, _ in ranges], [last for _, last in ranges]
        return await self._ips(_CLAIMED, subnet_id, low, high)

    async def blocks(self, subnet_id: str) -> list[BlockState]:
        found = await self._fetch(
            "SELECT first_ip, holder, until, exhausted FROM address_blocks"
            " WHERE subnet_id = $1 ORDER BY first_ip",
            subnet_id,
        )
        return [BlockState(*row) for row in found]

    async def _ips(self, text: str, *arguments: object) -> list[bytes]:
        return [row[0] for row in await self._fetch(text, *arguments)]

    async def _fetch(self, text: str, *arguments: object) -> list[asyncpg.Record]:
        async def fetch() -> list[asyncpg.Record]:
            async with self._pool.acquire(timeout=sessions.AWAY_S) as session:
                found: list[asyncpg.Record] = await session.fetch(text, *arguments)
                return found

        return await answered(fetch)
