"""Slow and abusive clients: what they hold is bounded, and others are served meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from alcor.adapters.http_server import Bounds
from api_scene import scene
from real_server import listening

QUICK = Bounds(headers_s=0.3, body_s=0.3, unread_s=0.5, idle_s=1, headers_max=4096)
PATIENCE_S = 20.0  # of this test: the machine may be busy
GET = b"GET /v2.0/networks HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /v2.0/networks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


class Client:
    """A client that sends bytes as it likes."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> "Client":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def drip(self, data: bytes, *, each_s: float = 0.05) -> None:
        """Send byte by byte until the other side has had enough."""
        for byte in data:
            try:
                await self.send(bytes([byte]))
            except ConnectionError:
                return
            await asyncio.sleep(each_s)
            if self.reader.at_eof():
                return

    async def answer(self) -> tuple[int, bytes]:
        """Read one answer: status and body."""
        async with asyncio.timeout(PATIENCE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.partition(b":")[2])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length")
            )
            return int(head.split()[1]), await self.reader.readexactly(length)

    async def is_closed(self) -> bool:
        """Wait until the server has closed."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass
        return True


@asynccontextmanager
async def quick(bounds: Bounds = QUICK) -> AsyncIterator[int]:
    async with scene() as s, listening(s.application, bounds) as port:
        yield port


async def others_are_served(port: int) -> None:
    async with Client(port) as client:
        await client.send(GET)
        assert (await client.answer())[0] == 200


def type_of(body: bytes) -> str:
    found: str = json.loads(body)["NeutronError"]["type"]
    return found


async def test_headers_that_do_not_come_to_an_end_are_not_waited_for() -> None:
    async with quick() as port, asyncio.TaskGroup() as group, Client(port) as silent, Client(port) as slow:
        group.create_task(slow.drip(b"GET /v2.0/networks HTTP/1.1\r\nX-A: " + b"a" * 400))
        await others_are_served(port)
        status, body = await slow.answer()
        assert (status, type_of(body)) == (408, "HTTPRequestTimeout")
        assert await slow.is_closed()
        assert await silent.is_closed()


async def test_a_body_that_comes_too_slowly_is_not_waited_for() -> None:
    async with quick() as port, asyncio.TaskGroup() as group, Client(port) as slow:
        await slow.send(POST + b"Content-Length: 1000\r\n\r\n")
        group.create_task(slow.drip(b"{" + b" " * 400))
        assert type_of((await slow.answer())[1]) == "HTTPRequestTimeout"
        assert await slow.is_closed()
        await others_are_served(port)


async def test_a_body_that_comes_steadily_is_waited_for() -> None:
    bounds = Bounds(body_s=0.5, body_rate=1000)
    async with quick(bounds) as port, Client(port) as steady:
        body = json.dumps({"network": {"name": "n", "description": ""}}).encode() + b" " * 40_000
        await steady.send(POST + b"Content-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 2000):
            await steady.send(body[start : start + 2000])
            await asyncio.sleep(0.05)  # a second in all, twice the time for any body
        assert (await steady.answer())[0] == 201


async def test_a_body_that_nobody_waits_for_does_not_hold_the_connection() -> None:
    async with quick() as port, asyncio.TaskGroup() as group, Client(port) as refused:
        post = POST.replace(b"Host: x", b"Host: x\r\nX-Project-Id: ")
        await refused.send(post + b"Content-Length: 1000\r\n\r\n")
        assert (await refused.answer())[0] == 401
        group.create_task(refused.drip(b"{" + b" " * 400))
        assert await refused.is_closed()


async def test_a_chunked_body_is_bounded_as_any_other() -> None:
    async with quick(Bounds()) as port, Client(port) as client:
        await client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        for _ in range(80):  # five of four megabytes
            await client.send(chunk)
        await client.send(b"0\r\n\r\n")
        status, body = await client.answer()
        assert (status, type_of(body)) == (413, "HTTPRequestEntityTooLarge")
        await others_are_served(port)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v2.0/networks HTTP/1.1\r\nX-A: " + b"a" * 100_000,
        b"GET /v2.0/networks HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(2000)) + b"\r\n",
        b"GET /v2.0/networks?name=" + b"a" * 100_000,
        b"GET /v2.0/networks HTTP/1.1\r\nX-A: " + b"a" * 10_000 + b"\r\n\r\n",
    ],
)
async def test_headers_that_are_too_long_are_refused(head: bytes) -> None:
    async with quick() as port, Client(port) as client:
        await client.send(head)
        status, body = await client.answer()
        assert (status, type_of(body)) == (431, "HTTPRequestHeaderFieldsTooLarge")
        assert await client.is_closed()
        await others_are_served(port)


async def test_headers_after_a_request_that_is_not_answered_yet_are_bounded() -> None:
    async with quick() as port, Client(port) as client:
        await client.send(b"GET /v2.0/events HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.reader.readuntil(b"retry")
        try:
            for _ in range(1000):
                await client.send(b"GET / HTTP/1.1\r\nX-A: " + b"a" * 1000)
        except ConnectionError:
            pass
        assert await client.is_closed()


@pytest.mark.parametrize(
    "what",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GARBAGE\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\n\0\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused_in_form(what: bytes) -> None:
    async with quick() as port, Client(port) as client:
        await client.send(what)
        status, body = await client.answer()
        assert (status, type_of(body)) == (400, "HTTPBadRequest")
        assert await client.is_closed()


async def test_connections_that_do_nothing_are_closed_in_time() -> None:
    async with quick() as port, Client(port) as client:
        await client.send(GET)
        assert (await client.answer())[0] == 200
        assert await client.is_closed()


async def test_requests_sent_before_the_answer_are_answered_in_order_and_not_taken_for_idle() -> None:
    async with quick() as port, Client(port) as client:
        await client.send(GET + GET + b"GET /v2.0/events HTTP/1.1\r\nHost: x\r\n\r\n")
        assert [(await client.answer())[0] for _ in range(2)] == [200, 200]
        await client.reader.readuntil(b"retry: 2000\n")
        with pytest.raises(TimeoutError):  # an idle connection would be closed by then
            await asyncio.wait_for(client.is_closed(), 2 * QUICK.idle_s + 0.5)


async def test_who_waits_longest_goes_when_there_is_no_room() -> None:
    bounds = Bounds(connections_max=8)
    async with quick(bounds) as port:
        idle = [await Client(port).__aenter__() for _ in range(8)]
        await others_are_served(port)
        await others_are_served(port)
        assert await idle[0].is_closed()
        assert await idle[1].is_closed()
        await idle[7].send(GET)
        assert (await idle[7].answer())[0] == 200
        for client in idle:
            client.writer.close()


async def test_when_all_are_busy_the_next_is_told_to_come_again() -> None:
    bounds = Bounds(connections_max=2)
    async with quick(bounds) as port, Client(port) as first, Client(port) as second:
        for busy in (first, second):
            await busy.send(b"GET /v2.0/events HTTP/1.1\r\nHost: x\r\n\r\n")
            await busy.reader.readuntil(b"retry")
        async with Client(port) as client:
            assert type_of((await client.answer())[1]) == "HTTPServiceUnavailable"


async def test_an_answer_that_nobody_reads_is_given_up() -> None:
    async with scene() as s:
        body = {"networks": [{"name": "n" * 200, "description": "d" * 200}] * 4000}
        await s.ask("POST", "/networks", body, expect=201)
        async with listening(s.application, QUICK) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            for _ in range(4):  # more than the kernel keeps for both sides
                writer.write(GET.replace(b"Host: x", b"Host: x\r\nX-Project-Id: blue"))
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            await others_are_served(port)
            async with asyncio.timeout(PATIENCE_S):
                while not writer.transport.is_closing():
                    try:
                        writer.write(b" ")
                        await asyncio.sleep(0.05)
                    except ConnectionError:
                        break
