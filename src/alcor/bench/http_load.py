"""HTTP load from a process of its own, with as little of our own cost as Python allows.

Requests are bytes made beforehand; of an answer only its status and length are looked at. A connection sends
the next request as soon as it has the answer to the one before.
"""

import asyncio
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection as Pipe
from typing import cast
from urllib.parse import urlsplit

import msgspec
import uvloop

from alcor.model import errors

TIMEOUT_S = 120.0
_WHO = "X-Project-Id: {}\r\nX-Roles: {}\r\n"


class Task(msgspec.Struct, frozen=True):
    """What to send: all requests, over so many connections."""

    url: str
    requests: Sequence[bytes]
    connections: int


class Outcome(msgspec.Struct, frozen=True):
    """How it went. Bodies are in the order of the requests; `took_ms` is of each request alone."""

    seconds: float
    took_ms: list[float]
    bodies: list[bytes]


def request(
    method: str, path: str, body: object = None, *, project: str = "admin", is_admin: bool = True
) -> bytes:
    """Write one request down."""
    content = b"" if body is None else msgspec.json.encode(body)
    head = f"{method} {path} HTTP/1.1\r\nHost: api\r\n" + _WHO.format(
        project, "admin" if is_admin else "member"
    )
    if content:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return head.encode() + b"\r\n" + content


class Load:
    """Owner of the process that sends."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()

    def send(self, url: str, requests: Sequence[bytes], *, connections: int) -> Outcome:
        """Send all requests and give back when all are answered. Raises Broken for an answer from 400 on."""
        self._pipe.send(Task(url, requests, connections))
        found = self._pipe.recv()
        if isinstance(found, str):
            raise errors.Broken(found)
        return cast(Outcome, found)  # what the other end sends

    def close(self) -> None:
        self._process.terminate()
        self._process.join()


def _serve(pipe: Pipe) -> None:
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(uvloop.run(_run(task)))
        except (errors.AlcorError, OSError, TimeoutError) as error:
            pipe.send(f"{type(error).__name__}: {error}")


async def _run(task: Task) -> Outcome:
    address = urlsplit(task.url)
    assert address.hostname is not None, "urls of the API name host and port"
    assert address.port is not None, "urls of the API name host and port"
    loop = asyncio.get_running_loop()
    todo = iter(enumerate(task.requests))
    outcome = Outcome(0.0, [0.0] * len(task.requests), [b""] * len(task.requests))
    lines = [_Line(todo, outcome) for _ in range(min(task.connections, len(task.requests)))]
    for line in lines:
        await loop.create_connection(lambda line=line: line, address.hostname, address.port)  # type: ignore[misc]
    started = time.perf_counter()
    for line in lines:
        line.send_next()
    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.gather(*(line.done for line in lines))
    return msgspec.structs.replace(outcome, seconds=time.perf_counter() - started)


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, todo: Iterator[tuple[int, bytes]], outcome: Outcome) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._todo = todo
        self._outcome = outcome
        self._transport: asyncio.Transport | None = None
        self._number = 0
        self._at = 0.0
        self._parts: list[bytes] = []
        self._missing = -1  # bytes of the answer's body; -1: its head is not whole yet

    def send_next(self) -> None:
        """Send the next request, or end."""
        assert self._transport is not None, "connected before"
        number, raw = next(self._todo, (-1, b""))
        if number < 0:
            self._transport.close()
            self.done.set_result(None)
            return
        self._number, self._at = number, time.perf_counter()
        self._transport.write(raw)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # the loop makes stream transports for us

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        if self._missing < 0:
            whole = b"".join(self._parts)
            end = whole.find(b"\r\n\r\n")
            if end < 0:
                self._parts = [whole]
                return
            head = whole[:end].lower()
            if not head.startswith(b"http/1.1 2"):
                self._fail(whole.decode(errors="replace")[:500])
                return
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self._parts = [whole[end + 4 :]]
            self._missing = length - len(self._parts[0])
        else:
            self._missing -= len(data)
        if self._missing <= 0:
            self._outcome.took_ms[self._number] = (time.perf_counter() - self._at) * 1000
            self._outcome.bodies[self._number] = b"".join(self._parts)
            self._parts, self._missing = [], -1
            self.send_next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection ended: {exc}")

    def _fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(errors.Broken(reason))
