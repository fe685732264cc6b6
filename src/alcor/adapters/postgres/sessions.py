"""Connections to PostgreSQL: how they are opened, and which of their errors mean what."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import asyncpg

from alcor.model import errors

_A = TypeVar("_A")

CONNECT_S = 5.0
AWAY_S = 3.0  # how long a call waits for a server that is away
RETRY_AFTER_S = 1.0

READ_SETTINGS = (
    # Made while the tables were empty, a plan may live long; what is read often has an index,
    "SET enable_seqscan = off",
    # which gives the records in the order of pages: what is collected first is all read for one page.
    "SET enable_bitmapscan = off",
)

# The server is away or went away: nothing is known about the statement under way.
LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,  # also: the connection was closed in the middle
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up
    asyncpg.ReadOnlySQLTransactionError,  # another server is the primary now
    asyncpg.InsufficientResourcesError,
    asyncpg.InternalClientError,
)
# The transaction lost against another one and was rolled back: run it again.
RACED = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)


class Session(asyncpg.Connection):  # type: ignore[misc]  # the library has no types
    """A connection that the pool need not reset: no session state is ever set (reset costs 3x a read)."""

    def get_reset_query(self) -> str:
        return ""


async def connect(dsn: str) -> Session:
    """Open one connection. Raises one of LOST when the server is away."""
    session: Session = await asyncpg.connect(
        dsn, timeout=CONNECT_S, connection_class=Session, statement_cache_size=512
    )
    return session


async def open_pool(dsn: str, *, size: int) -> asyncpg.Pool:
    """Open a pool of sessions for reads."""

    async def prepare(session: Session) -> None:
        await prefer(session, READ_SETTINGS)

    return await asyncpg.create_pool(
        dsn,
        init=prepare,
        min_size=1,
        max_size=size,
        timeout=CONNECT_S,
        connection_class=Session,
        statement_cache_size=512,
        command_timeout=30.0,
    )


async def wait_for_server(dsn: str, *, within_s: float) -> Session:
    """Connect, waiting for a server that is away. Raises Unavailable."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while True:
        try:
            return await connect(dsn)
        except LOST as error:
            if loop.time() + 0.05 > deadline:
                raise away(error) from error
        except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
            raise errors.Invalid(f"the database refuses the connection: {error}") from error
        await asyncio.sleep(0.05)


async def prefer(session: Session, settings: Sequence[str]) -> None:
    """Set what only saves time, each by itself: an engine that does not know one goes without."""
    for setting in settings:
        try:
            await session.execute(setting)
        except LOST:
            raise
        except asyncpg.PostgresError:
            continue


def away(cause: BaseException) -> errors.Unavailable:
    """Give the error that says the store does not answer."""
    return errors.Unavailable(f"the store does not answer: {cause!r}", retry_after_s=RETRY_AFTER_S)


async def answered(ask: Callable[[], Awaitable[_A]]) -> _A:
    """Repeat a read while the server is away, up to AWAY_S; translate the library's errors."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + AWAY_S
    while True:
        try:
            return await ask()
        except (ValueError, asyncpg.DataError) as error:
            raise errors.Invalid(f"a value cannot be looked up: {error}") from error
        except (*LOST, *RACED) as error:
            if loop.time() >= deadline:
                raise away(error) from error
            await asyncio.sleep(0.05)
        except asyncpg.PostgresError as error:
            raise errors.Broken(f"the store refuses a statement: {error}") from error
