"""`GET /v2.0/events`: the change log as server-sent events (WHATWG HTML, section 9.2).

    id: 42              on the last event of a revision only: who resumes after 42 has all of it
    event: port.created
    data: {"revision": 42, "kind": "port", "operation": "created", "id": ...}

Between events comes `id:` without data, which moves the client's last id and is otherwise not seen. The last
event of a stream that we end is `end`, with the reason; the client resumes with `Last-Event-ID`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from alcor.contracts.store import Change
from alcor.management_plane.api import gate, moments, policy, validation
from alcor.management_plane.api.call import Call
from alcor.management_plane.api.described import Parameter, describes, gives, takes
from alcor.management_plane.events import decisions
from alcor.management_plane.events.decisions import Event, Interest
from alcor.management_plane.events.feed import EventFeed, Slot, Step
from alcor.management_plane.events.shares import Shares
from alcor.model import errors
from alcor.runtime.clock import Clock

MEDIA_TYPE = "text/event-stream"
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_PARAMETERS = frozenset({"since", "follow", "kind"})
_CHUNK = 500  # events sent at once


class Bounds(msgspec.Struct, frozen=True):
    """What a stream may cost."""

    heartbeat_s: float = 15.0  # also how long somebody who lost their rights goes on
    patience_s: float = 10.0  # a client that takes longer for one piece is sent the last event
    give_up_s: float = 60.0  # and one that takes so long is cut off


class _EventData(msgspec.Struct, omit_defaults=True):
    revision: int
    committed_at: str
    request_id: str
    kind: str
    operation: str
    id: str
    project_id: str
    revision_number: int
    object_type: str = ""
    object_id: str = ""


class EventCollection:
    """Serves the stream: to a project what it may see, to administrators all."""

    def __init__(self, feed: EventFeed, clock: Clock, bounds: Bounds) -> None:
        self._feed = feed
        self._clock = clock
        self._bounds = bounds

    def routes(self, entrance: gate.Gate) -> list[gate.GuardedRoute]:
        """Give the route."""
        return [entrance.route("/v2.0/events", policy=policy.TENANT, get=self.stream, media_type=MEDIA_TYPE)]

    @describes(
        gives(200, of={"type": "string"}, media_type=MEDIA_TYPE),
        summary="Follow what changes",
        about="Server-sent events from the change log, resumed after any revision.",
        takes=(
            takes("since", "After this revision; if it is not said, from now on.", {"type": "integer"}),
            takes("follow", "False: end when all there is was sent.", {"enum": ["true", "false"]}),
            takes("kind", "Only changes of these kinds.", {"enum": list(decisions.TOLD)}, many=True),
            Parameter(
                name="Last-Event-ID",
                place="header",
                about="As `since`, from the last event that was seen.",
                schema={"type": "string", "pattern": "^[0-9]{1,18}$"},
            ),
        ),
        refuses=(410,),
    )
    async def stream(self, call: Call, path: Mapping[str, str]) -> Response:
        """GET what changed after a revision, and go on unless `follow=false`."""
        since, is_followed, interest = _asked(call)
        if call.method == "HEAD":
            return Response(headers=_HEADERS, media_type=MEDIA_TYPE)
        slot = self._feed.slot(call.caller.project_id)
        try:
            after = await self._feed.start_after(since)
            shares = await self._feed.shares(call.caller)
            through = None if is_followed else await self._feed.newest()
        except BaseException:
            slot.release()
            raise
        pieces = self._pieces(call, interest, shares, after, through)
        return EventStream(pieces, slot, self._clock, self._bounds)

    async def _pieces(
        self, call: Call, interest: Interest, shares: Shares, after: int, through: int | None
    ) -> AsyncIterator[bytes]:
        yield f": after revision {after}\nretry: 2000\nid: {after}\n\n".encode()
        steps = (
            self._feed.follow(after, heartbeat_s=self._bounds.heartbeat_s)
            if through is None
            else self._feed.pages(after, through=through)
        )
        checked_s = self._clock.monotonic_s()
        try:
            async for step in steps:
                if self._clock.monotonic_s() - checked_s >= self._bounds.heartbeat_s:
                    checked_s = self._clock.monotonic_s()
                    await call.admit_again()
                for piece in _pieces_of(step, interest, shares):
                    yield piece
        except errors.AlcorError as error:
            yield ending(error.reason, error.message)
            return
        if through is None:
            yield ending("Stopping", "The service is stopping: follow again.")


class EventStream(Response):
    """Sends the pieces until they end, the client goes, or it reads too slowly."""

    def __init__(self, pieces: AsyncIterator[bytes], slot: Slot, clock: Clock, bounds: Bounds) -> None:
        super().__init__(headers=_HEADERS, media_type=MEDIA_TYPE)
        del self.headers["content-length"]
        self._pieces = pieces
        self._slot = slot
        self._clock = clock
        self._bounds = bounds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        work = asyncio.ensure_future(self._send_all(send))
        left = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((work, left), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                work.result()
        finally:
            work.cancel()
            left.cancel()
            await asyncio.gather(work, left, return_exceptions=True)
            self._slot.release()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async for piece in self._pieces:
            started_s = self._clock.monotonic_s()
            try:
                async with asyncio.timeout(self._bounds.give_up_s):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except TimeoutError:
                return  # an answer without its end: the server closes the connection
            if self._clock.monotonic_s() - started_s > self._bounds.patience_s:
                last = ending("TooSlow", "The client reads too slowly: follow again from the last id.")
                await send({"type": "http.response.body", "body": last, "more_body": True})
                break
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def ending(reason: str, message: str) -> bytes:
    """Write the last event of a stream."""
    return b"event: end\ndata: " + msgspec.json.encode({"reason": reason, "message": message}) + b"\n\n"


def _pieces_of(step: Step, interest: Interest, shares: Shares) -> list[bytes]:
    """Write a step: its events in pieces of bounded size, and the place in the log."""
    pieces = []
    for change in step.changes:
        events = decisions.events_of(change, interest, shares)
        for start in range(0, len(events), _CHUNK):
            written = [_written(change, event) for event in events[start : start + _CHUNK]]
            if start + _CHUNK >= len(events):
                written[-1] = b"id: %d\n" % change.revision + written[-1]
            pieces.append(b"".join(written))
    return [*pieces, b": heartbeat\nid: %d\n\n" % step.revision]


def _written(change: Change, event: Event) -> bytes:
    data = _EventData(
        revision=change.revision,
        committed_at=moments.text(change.committed_at),
        request_id=change.request_id,
        kind=event.kind,
        operation=event.operation,
        id=event.id,
        project_id=event.project_id,
        revision_number=event.revision_number,
        object_type=event.object_type,
        object_id=event.object_id,
    )
    name = f"event: {event.kind}.{event.operation}\n".encode()
    return name + b"data: " + msgspec.json.encode(data) + b"\n\n"


def _asked(call: Call) -> tuple[int | None, bool, Interest]:
    """Read what is asked for. Raises Invalid."""
    values: dict[str, list[str]] = {}
    for name, value in call.parameters:
        values.setdefault(name, []).append(value)
    unknown = sorted(values.keys() - _PARAMETERS)
    if unknown:
        raise errors.Invalid(f"{unknown} is invalid attribute for filtering")
    kinds = frozenset(values.get("kind", ()))
    if not kinds <= set(decisions.TOLD):
        raise errors.Invalid(f"Invalid input for kind. Reason: it must be one of {', '.join(decisions.TOLD)}.")
    try:
        is_followed = validation.boolean(values.get("follow", ["true"])[-1])
    except ValueError as reason:
        raise errors.Invalid(f"Invalid input for follow. Reason: {reason}.") from None
    since = call.last_event_id or values.get("since", [None])[-1]
    return _revision(since), is_followed, Interest(call.caller, kinds)


def _revision(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise errors.Invalid(f"Invalid input for since. Reason: '{text}' is not a revision.")
    return int(text)
