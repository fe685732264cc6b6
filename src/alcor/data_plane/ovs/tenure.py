"""Holds a switch: opens a session, waits out a fence, claims what is granted, renews the lease.

open --fenced-----> until a newer token is granted, or the other's record lapsed --> open
     --no answer--> a little later ------------------------------------------------> open
     --taken------> claims what is granted, until the session is lost -------------> open

What a session is to its switch is its own: `ovs.session`, and that of the simulation.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from alcor.data_plane.ovs import fence
from alcor.data_plane.ovs.fence import Bid, Fenced, Recorded
from alcor.model.errors import AlcorError
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Supervisor

BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 2.0


class Claimed(Protocol):
    """A session that is open: its writer is recorded as the switch's, and is its master."""

    @property
    def taken_from(self) -> str:
        """Who wrote before, if that was another; else empty."""
        ...

    @property
    def token(self) -> int:
        """Give the token under which it writes."""
        ...

    async def claim(self, bid: Bid) -> None:
        """Write under a token from now on. Raises Fenced, Unavailable, Broken."""
        ...

    async def renew(self) -> None:
        """Renew the lease of its record. Raises Fenced, Unavailable, Broken."""
        ...

    def close(self) -> None:
        """Let go; that it is lost is not told."""
        ...


S = TypeVar("S", bound=Claimed)
S_co = TypeVar("S_co", bound=Claimed, covariant=True)
S_contra = TypeVar("S_contra", bound=Claimed, contravariant=True)


class OpenSession(Protocol[S_co]):
    """Opens a session, or leaves nothing open. Raises Fenced, Unavailable, Broken.

    `lapsed`: another's record that was not renewed, see `fence`. `lost`: called when the session ends unasked.
    """

    def __call__(
        self, bid: Bid, *, lapsed: Recorded | None, lost: Callable[[str], None]
    ) -> Awaitable[S_co]: ...


class Tenant(Protocol[S_contra]):
    """Who works while the switch is held. None of these blocks."""

    def taken(self, session: S_contra) -> None:
        """The switch is held from now on."""
        ...

    def ready(self) -> None:
        """Work may begin; told after `taken`, and after `fenced` if that is due."""
        ...

    def fenced(self, writer: str) -> None:
        """Another writes or wrote to the switch."""
        ...

    def lost(self, reason: str) -> None:
        """It is not held any longer."""
        ...


class Tenure(Generic[S]):
    """Owner of the session, and of the bid: who writes (`host`, or who rescues it), under which token."""

    def __init__(
        self,
        bid: Bid,
        host: str,
        *,
        open_session: OpenSession[S],
        tenant: Tenant[S],
        supervisor: Supervisor,
        log: EventLog,
    ) -> None:
        self._bid = bid
        self._host = host
        self._open_session = open_session
        self._tenant = tenant
        self._supervisor = supervisor
        self._log = log
        self._granted = asyncio.Event()
        self._over = asyncio.Event()  # of the session that is open, or being opened
        self._session: S | None = None

    def start(self) -> None:
        """Begin to open sessions, one after the other."""
        self._supervisor.start("switch session", self._keep_session())
        if self._bid.lease_ms:
            self._supervisor.start("switch lease", self._renew_lease())

    @property
    def session(self) -> S | None:
        """The session that is open; None while the switch is not held."""
        return self._session

    @property
    def token(self) -> int:
        """Give the token that the switch has for this writer; 0 while there is no session."""
        return self._session.token if self._session is not None else 0

    def grant(self, token: int) -> None:
        """Claim the switch under this token, or under the newest one granted."""
        if token > self._bid.token:
            self._bid = self._bid._replace(token=token)
            self._granted.set()
            if self._session is not None:
                self._supervisor.start("switch claim", self.claim())

    async def claim(self) -> None:
        """Claim what was granted since; who cannot has lost the switch."""
        session, over = self._session, self._over
        if session is None or session.token >= self._bid.token:
            return
        try:
            await session.claim(self._bid)
        except AlcorError as error:
            session.close()
            self._lose(over, error.message)

    def close(self) -> None:
        """Let go of the switch; the tasks are the supervisor's."""
        if self._session is not None:
            self._session.close()
            self._session = None

    async def _keep_session(self) -> None:
        backoff_s = BACKOFF_FIRST_S
        lapsed: Recorded | None = None
        is_fenced = False  # and our agent was told
        while True:
            self._granted.clear()
            self._over = over = asyncio.Event()
            try:
                session = await self._open_session(self._bid, lapsed=lapsed, lost=self._loser(over))
            except Fenced as error:
                if not is_fenced:
                    self._log.warning("switch_fenced", by=error.writer)
                    self._tenant.fenced(error.writer)
                is_fenced = True
                is_granted = await self._granted_within(fence.lapses_after_s(error.recorded))
                lapsed = None if is_granted else error.recorded
                continue
            except AlcorError as error:
                self._log.info("switch_not_ready", reason=error.message)
                await asyncio.sleep(backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
                continue
            backoff_s, is_told, is_fenced, lapsed = BACKOFF_FIRST_S, is_fenced, False, None
            if not over.is_set():
                await self._take(session, is_told=is_told)
            await over.wait()

    async def _take(self, session: S, *, is_told: bool) -> None:
        """`is_told`: that another writes, before this session could be opened."""
        self._session = session
        self._tenant.taken(session)
        if session.taken_from and not is_told and self._bid.writer == self._host:
            # An old controller's order has an older token than ours, but may have come later.
            self._tenant.fenced(session.taken_from)
        self._tenant.ready()
        await self.claim()  # what was granted while the session was opened

    async def _granted_within(self, seconds: float | None) -> bool:
        """Wait for a newer token, so long at most. None: for as long as it takes."""
        try:
            async with asyncio.timeout(seconds):
                await self._granted.wait()
        except TimeoutError:
            return False
        return True

    async def _renew_lease(self) -> None:
        """Show that we are at work, for as long as we are: a record of ours that stays the same lapses."""
        while True:
            await asyncio.sleep(self._bid.lease_ms / 1000 / fence.RENEWALS)
            if self._session is None:
                continue
            try:
                await self._session.renew()
            except AlcorError as error:
                self._log.info("lease_not_renewed", reason=error.message)

    def _loser(self, over: asyncio.Event) -> Callable[[str], None]:
        return lambda reason: self._lose(over, reason)

    def _lose(self, over: asyncio.Event, reason: str) -> None:
        """The session that `over` is of has ended; another may be open since."""
        over.set()
        if over is self._over and self._session is not None:
            self._session = None
            self._log.warning("switch_lost", reason=reason)
            self._tenant.lost(reason)
