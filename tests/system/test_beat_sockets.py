"""Beats as datagrams over real sockets: heard, answered, refused, and done without where they do not arrive."""

import asyncio
import io
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import msgspec
import pytest

from alcor.adapters import beat_sockets, stream
from alcor.adapters.beat_sockets import ANSWER_S, BeatListener, BeatSender
from alcor.adapters.frame_channel import FrameChannel
from alcor.contracts.agent_channel import BEAT_HEAD, PROTOCOL, Beat, Hello, Pace, Welcome
from alcor.contracts.beat_datagram import AGENT, CONTROLLER, DATAGRAM_MAX, BeatKey, sealed
from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.controller import Controller
from alcor.control_plane.health.watch import Heard, Watch
from alcor.host_agent.session import Session
from alcor.host_agent.settings import AgentTiming
from alcor.model.ids import HostId
from alcor.processes.fleet import EmulatedHosts
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT, EventLog
from doubles.waiting import eventually

HELD, NEWS = b"held one", b"held two"


class Pair:
    """Both ends of a stream, and the key of its datagrams."""

    def __init__(
        self, server: stream.Server, agent: FrameChannel, controller: FrameChannel, log: io.StringIO
    ) -> None:
        self.server, self.agent, self.controller = server, agent, controller
        key = controller.new_beat_key()
        assert key is not None, "the server listens"
        self.key = key
        self._log = log

    @property
    def listener(self) -> BeatListener:
        assert self.server._listener is not None
        return self.server._listener

    @property
    def warnings(self) -> list[str]:
        return [json.loads(line)["event"] for line in self._log.getvalue().splitlines()]

    async def say(self, datagram: bytes) -> None:
        """Send this to where beats are heard, from a socket of its own, and wait until it was read."""
        refused, heard_s = self.listener.refused, self.controller.beat_at_s
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anybody:
            anybody.sendto(datagram, ("127.0.0.1", int(self.server.urls[0].rpartition(":")[2])))
        await eventually(lambda: (self.listener.refused, self.controller.beat_at_s) != (refused, heard_s))


class Watched:
    """The controller's side of a pair, as it is watched: its data plane answers whoever asks."""

    host, rescuer, path, is_busy = HostId("a"), HostId(""), "fast", False
    last_heard_s, last_heard_at = 0.0, 0

    def __init__(self, channel: FrameChannel) -> None:
        self.channel = channel
        self.asked = 0
        self.lost: list[str] = []
        self.watch = Watch(SystemClock(), ask=self._ask, lost=self._lose, tell=self._tell)

    async def listen(self) -> None:
        self.watch.set_pace(helpers=2)
        self.watch.came(self)
        while (frame := await self.channel.receive()) is not None:
            self.watch.heard(self, is_beat=frame.startswith(BEAT_HEAD))

    def _ask(self, host: HostId) -> None:
        self.asked += 1
        asyncio.get_running_loop().call_later(0.01, self.watch.answered, host, 0.01)

    def _lose(self, session: Heard, reason: str) -> None:
        self.lost.append(reason)
        self.watch.left(session.host)

    def _tell(self, session: Heard, beat_s: float) -> None:
        session.channel.send(msgspec.msgpack.encode(Pace(beat_s)))


@asynccontextmanager
async def pair(url: str = "tcp://127.0.0.1:0") -> AsyncIterator[Pair]:
    served: asyncio.Queue[FrameChannel] = asyncio.Queue()
    log = io.StringIO()

    async def keep(channel: stream.Channel) -> None:
        served.put_nowait(cast(FrameChannel, channel))
        await asyncio.Event().wait()

    sender = BeatSender(SILENT)
    server = await stream.serve([url], keep, EventLog(stream=log), hears_datagrams=True)
    agent = await stream.connect(server.urls[0], sender=sender)
    try:
        yield Pair(server, cast(FrameChannel, agent), await served.get(), log)
    finally:
        agent.close()
        sender.close()
        await server.close()


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:0", "tcp://[::1]:0", "tcp://0.0.0.0:0", "tcp://[::]:0"])
async def test_a_beat_is_heard_answered_and_passed_on_when_it_says_something_new(url: str) -> None:
    async with pair(url) as ends:
        passed_on: list[bytes | None] = []

        async def read() -> None:
            while True:
                passed_on.append(await ends.controller.receive())

        reading = asyncio.create_task(read())
        assert not ends.agent.beat(ends.key, HELD)  # none was answered yet
        await eventually(lambda: ends.agent.beat_at_s > 0)
        assert ends.controller.hears_datagrams
        for held in (HELD, HELD, NEWS, NEWS):
            assert ends.agent.beat(ends.key, held)
            await asyncio.sleep(0.05)
        reading.cancel()
        assert passed_on == [msgspec.msgpack.encode(Beat(held)) for held in (HELD, NEWS)]
        assert ends.warnings == []


async def test_they_are_answered_once_in_a_while_however_many_come() -> None:
    async with pair() as ends:
        loop, heard, answers = asyncio.get_running_loop(), 0.0, 0
        began_s = loop.time()
        for _ in range(100):
            ends.agent.beat(ends.key, HELD)
            await asyncio.sleep(0.02)
            answers += ends.agent.beat_at_s != heard
            heard = ends.agent.beat_at_s
        assert 2 <= answers <= 1 + (loop.time() - began_s) / ANSWER_S


async def test_what_nobody_sealed_or_what_came_before_is_no_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beat_sockets, "REFUSED_TOLD", 5)
    async with pair() as ends:
        first, second = (sealed(ends.key, number, HELD, by=AGENT) for number in (1, 2))
        await ends.say(second)
        heard_s = ends.controller.beat_at_s
        assert heard_s > 0
        forged = [
            second,  # again
            first,  # late: a newer one has come
            sealed(ends.key, 3, HELD, by=CONTROLLER),  # turned round
            sealed(BeatKey(ends.key.session, bytes(32)), 4, HELD, by=AGENT),  # by another key
            sealed(BeatKey(2**63, ends.key.key), 1, HELD, by=AGENT),  # of no session
            sealed(ends.key, 5, HELD, by=AGENT)[:-1],
            b"",
            b"x" * (DATAGRAM_MAX + 1),
        ]
        for number, datagram in enumerate(forged, start=1):
            await ends.say(datagram)
            assert ends.listener.refused == number
        assert ends.controller.beat_at_s == heard_s
        assert ends.warnings == ["beat_datagrams_refused"]  # once a minute
        await ends.say(sealed(ends.key, 6, HELD, by=AGENT))
        assert ends.controller.beat_at_s > heard_s


async def test_a_session_that_is_over_is_heard_no_longer_and_sends_nothing() -> None:
    async with pair() as ends:
        ends.agent.beat(ends.key, HELD)
        await eventually(lambda: ends.agent.beat_at_s > 0)
        ends.agent.close()
        assert not ends.agent.beat(ends.key, HELD)
        await eventually(lambda: ends.controller.close_reason is not None)
        await ends.say(sealed(ends.key, 9, HELD, by=AGENT))
        assert ends.listener.refused == 1


async def test_a_stream_whose_other_end_is_gone_is_no_reason_to_fail() -> None:
    async with pair() as ends:
        ends.controller.close()
        for _ in range(20):
            ends.agent.beat(ends.key, HELD)
            await asyncio.sleep(0)
        await eventually(lambda: ends.agent.close_reason is not None)


async def test_a_stream_that_was_reset_or_a_process_without_files_is_no_reason_to_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_more(*_: object) -> None:
        raise OSError("too many open files")

    key = BeatKey(7, bytes(32))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sender = BeatSender(SILENT)
        agent = await stream.connect(f"tcp://127.0.0.1:{listening.getsockname()[1]}", sender=sender)
        accepted, _ = listening.accept()
        with monkeypatch.context() as patched:
            patched.setattr(socket, "socket", no_more)
            assert not agent.beat(key, HELD)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()  # resets it, which the agent's loop has not read yet
        assert not agent.beat(key, HELD)
        await eventually(lambda: agent.close_reason is not None)
        sender.close()


async def test_what_was_said_before_by_another_way_is_news_again() -> None:
    async with pair() as ends:
        frames = [msgspec.msgpack.encode(Beat(held)) for held in (HELD, NEWS, HELD)]
        ends.agent.send(frames[0])
        assert await ends.controller.receive() == frames[0]
        ends.agent.beat(ends.key, NEWS)
        assert await ends.controller.receive() == frames[1]
        ends.agent.send(frames[2])
        async with asyncio.timeout(2.0):
            assert await ends.controller.receive() == frames[2]


async def test_a_stream_that_has_ended_gets_no_key_that_nobody_would_forget() -> None:
    async with pair() as ends:
        ends.controller.close()
        assert ends.controller.new_beat_key() is None


async def test_where_the_port_is_another_s_the_streams_carry_the_beats() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(AssertionError, match="the server listens"):
            async with pair(f"tcp://127.0.0.1:{port}"):
                pass


async def test_who_was_asked_on_its_stream_is_asked_again_when_its_datagrams_do_not_come() -> None:
    """An agent that was answered lately relies on datagrams for seconds: its silence is not its own."""

    async def ignore(*_: object) -> None:
        pass

    async with pair() as ends:
        session = Session(HostId("a"), ends.agent, AgentTiming(), lambda: HELD)
        watched = Watched(ends.controller)
        session.introduce(Hello(PROTOCOL, HostId("a"), bytes(4), "", "", "", 0))
        ends.controller.send(msgspec.msgpack.encode(Welcome(PROTOCOL, 1, 0, ends.key)))
        tasks = [
            asyncio.create_task(work)
            for work in (
                session.read(on_update=ignore, on_other=lambda _: None),
                watched.listen(),
                watched.watch.run(),
            )
        ]
        await eventually(lambda: ends.agent.beat_at_s > 0)
        answered_s = ends.agent.beat_at_s
        await eventually(lambda: ends.agent.beat_at_s > answered_s)
        ends.listener.close()  # as a firewall would, just after an answer
        await asyncio.sleep(4.0)
        assert watched.asked >= 2
        assert (watched.lost, ends.agent.close_reason) == ([], None)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_agents_go_over_to_datagrams_and_back_when_these_are_lost_and_nobody_is_blamed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words: list[int] = []
    read = FrameChannel.buffer_updated

    def count(channel: FrameChannel, nbytes: int) -> None:
        words.append(nbytes)
        read(channel, nbytes)

    monkeypatch.setattr(FrameChannel, "buffer_updated", count)
    controller = Controller(MemoryStore(), SystemClock(), SILENT)
    await controller.start()
    log = io.StringIO()
    served: list[FrameChannel] = []

    async def serve(channel: stream.Channel) -> None:
        served.append(cast(FrameChannel, channel))
        await controller.serve_channel(channel)

    server = await stream.serve(["tcp://127.0.0.1:0"], serve, SILENT, hears_datagrams=True)
    hosts = EmulatedHosts(4, server.urls, EventLog(stream=log))
    hosts.start()
    try:
        await eventually(lambda: len(served) == 4 and all(channel.hears_datagrams for channel in served))
        await asyncio.sleep(1.5)  # for what the pace and first beats have to say
        words.clear()
        await asyncio.sleep(3.0)
        assert words == []  # on any stream
        assert server._listener is not None
        server._listener.close()  # as a firewall would
        await asyncio.sleep(6.0)
        assert words
        assert not any(channel.close_reason for channel in served)
        assert "controller_left" not in log.getvalue()
        assert log.getvalue().count("beat_datagrams_unanswered") == 1  # of all four
    finally:
        await hosts.stop()
        await server.close()
        await controller.stop()
