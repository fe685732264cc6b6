"""What the agents' beats cost a controller.

    promise                                     aim
    heartbeats of 10,000 hosts, one controller  less than 20 % of a core

    this process, many agents' streams over TLS --Hello--> a real controller in a process of its own (store in
             their beats, at the pace for so many --------> memory), whose time is taken

The floor is a process that reads the same datagrams and sends as many answers, without Alcor. Both are measured
once they are settled, second by second, and medians given: the machine is shared.
"""

import asyncio
import itertools
import multiprocessing
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from ssl import SSLContext
from typing import Any

import msgspec
import uvloop
from rich.table import Table

from alcor.adapters import stream
from alcor.adapters.beat_sockets import READ_PER_TURN, BeatSender
from alcor.adapters.beat_table import BeatTable
from alcor.adapters.certificates import Authority
from alcor.bench import used
from alcor.bench.report import Environment, Panel, Say, environment
from alcor.contracts.agent_channel import BEAT_S, PROTOCOL, Beat, Channel, FromController, Hello, Welcome
from alcor.contracts.beat_datagram import DATAGRAM_MAX, BeatKey
from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.controller import Controller
from alcor.control_plane.health import pace
from alcor.model import errors, held_mark
from alcor.model.ids import HostId
from alcor.runtime import tls
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT, EventLog, Level

SETTLE_S = 9.0  # at least: what came with the Hellos is done
SETTLE_MAX_S = 60.0
SETTLED = 0.1  # two seconds in a row differ by less
START_S = 20.0
CONNECT_PAUSE_S = 0.03
STEPS = 50  # in which the beats of one beat's time are sent
CONNECTS_AT_ONCE = 50
FLOOR_ANSWERS_ONE_OF = 2  # as a controller does at the pace of 10,000 hosts
ADDRESS = "127.0.0.1"
Serve = Callable[[Path], Coroutine[Any, Any, None]]
Connect = Callable[[Path, int, BeatSender, list["_Agent"]], Coroutine[Any, Any, None]]
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[FromController] = msgspec.msgpack.Decoder(FromController)


class Beats(msgspec.Struct, frozen=True):
    """The file that `alcor bench beats --json` writes. Percent of one core, medians of seconds."""

    environment: Environment
    hosts: int
    beats_per_s: float
    controller_core_percent: float
    floor_core_percent: float

    def tables(self) -> list[Table]:
        """Give the figures as `alcor bench` prints them."""
        table = Table("hosts", "beats/s", "controller, % of a core", "bare datagrams, %")
        table.add_row(
            str(self.hosts),
            f"{self.beats_per_s:.0f}",
            f"{self.controller_core_percent:.1f}",
            f"{self.floor_core_percent:.1f}",
        )
        return [table]

    def panels(self) -> list[Panel]:
        """Give the chart."""
        shares = {"": [self.controller_core_percent, self.floor_core_percent]}
        return [
            Panel(
                f"beats of {self.hosts} hosts", "% of a core", ("controller", "bare datagrams"), shares, aim=20
            )
        ]


def run(hosts: int, seconds: int, say: Say) -> Beats:
    """Measure; `say` hears of progress."""
    where = environment()
    floor, _ = _measure(_serve_floor, _connect_floor, hosts, seconds)
    say(f"bare datagrams of {hosts} hosts: {100 * floor:.1f} % of a core")
    share, rate = _measure(_serve_controller, _connect_controller, hosts, seconds)
    say(f"a controller: {100 * share:.1f} %")
    return Beats(where, hosts, round(rate), round(100 * share, 1), round(100 * floor, 1))


async def _serve_controller(directory: Path) -> None:
    controller = Controller(MemoryStore(), SystemClock(), EventLog(level=Level.ERROR))
    await controller.start()
    context = tls.controller_context(directory)
    server = await stream.serve(
        [f"tcps://{ADDRESS}:0"], controller.serve_channel, SILENT, ssl=context, hears_datagrams=True
    )
    _tell_port(directory, int(server.urls[0].rpartition(":")[2]))
    await asyncio.Event().wait()


async def _serve_floor(directory: Path) -> None:
    heard = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    heard.setblocking(False)
    heard.bind((ADDRESS, 0))
    count = itertools.count(1)

    def read() -> None:
        for _ in range(READ_PER_TURN):
            try:
                datagram, sender = heard.recvfrom(DATAGRAM_MAX)
            except BlockingIOError:
                return
            if next(count) % FLOOR_ANSWERS_ONE_OF == 0:
                heard.sendto(datagram, sender)

    asyncio.get_running_loop().add_reader(heard, read)
    _tell_port(directory, heard.getsockname()[1])
    await asyncio.Event().wait()


def _tell_port(directory: Path, port: int) -> None:
    part = directory / "port.part"
    part.write_text(str(port))
    part.rename(directory / "port")


def _child(serve: Serve, directory: Path) -> None:
    uvloop.run(serve(directory))


async def _beat(connect: Connect, directory: Path, pid: int, hosts: int, seconds: int) -> tuple[float, float]:
    """Give the share of a core that the process took, and the beats sent a second."""
    sender, agents = BeatSender(SILENT), list[_Agent]()
    try:
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(_send(agents, sent := [0]))  # who is connected beats meanwhile
            await connect(directory, hosts, sender, agents)
            await _settled(pid)
            before, began = sent[0], time.monotonic()
            shares = [await _share(pid) for _ in range(seconds)]
            rate = (sent[0] - before) / (time.monotonic() - began)
            sending.cancel()
    except ExceptionGroup as several:
        raise several.exceptions[0] from several
    finally:
        sender.close()
    if lost := sum(agent.is_lost() for agent in agents):
        raise errors.Unavailable(
            f"{lost} of {hosts} streams ended: this machine is too busy to beat in time", retry_after_s=60
        )
    return statistics.median(shares), rate


async def _send(agents: list["_Agent"], sent: list[int]) -> None:
    """Beat at the pace that a controller tells so many agents."""
    step, due_s, beat_s = 0, time.monotonic(), BEAT_S
    while True:
        beat_s = pace.beat_s(beat_s, hosts=len(agents), helpers=len(agents))
        for agent in agents[step % STEPS :: STEPS]:
            agent.beat()
            sent[0] += 1
        step, due_s = step + 1, due_s + beat_s / STEPS
        await asyncio.sleep(max(0.0, due_s - time.monotonic()))


async def _settled(pid: int) -> None:
    """Wait until the process does the same every second."""
    until = time.monotonic() + SETTLE_MAX_S
    await asyncio.sleep(SETTLE_S)
    before = await _share(pid)
    while abs((now := await _share(pid)) - before) > SETTLED * now and time.monotonic() < until:
        before = now


async def _share(pid: int) -> float:
    """Give the share of a core that a process takes for the next second."""
    worked, began = used.running_s(pid), time.monotonic()
    await asyncio.sleep(1)
    return (used.running_s(pid) - worked) / (time.monotonic() - began)


class _Agent:
    """One that is welcome, and beats. Without a channel it beats to the floor."""

    def __init__(self, key: BeatKey, sender: BeatSender, channel: Channel | None, port: int) -> None:
        self._key = key
        self._sender = sender
        self._channel = channel
        if channel is None:
            sender.begin(key, self, socket.AF_INET, (ADDRESS, port))

    def beat(self) -> None:
        if self._channel is None:
            self._sender.beat(self._key.session, held_mark.NOTHING)
        elif not self._channel.beat(self._key, held_mark.NOTHING):
            self._channel.send(_encoder.encode(Beat(held_mark.NOTHING)))

    def hear_answer(self, now_s: float) -> None:
        pass

    def is_lost(self) -> bool:
        return self._channel is not None and self._channel.close_reason is not None


async def _connect_floor(directory: Path, hosts: int, sender: BeatSender, made: list[_Agent]) -> None:
    port = await _port(directory)
    keys = BeatTable()
    made += [_Agent(keys.begin(), sender, None, port) for _ in range(hosts)]


async def _connect_controller(directory: Path, hosts: int, sender: BeatSender, made: list[_Agent]) -> None:
    port, context = await _port(directory), tls.agent_context(directory)
    for first in range(0, hosts, CONNECTS_AT_ONCE):
        numbers = range(first, min(first + CONNECTS_AT_ONCE, hosts))
        await asyncio.sleep(CONNECT_PAUSE_S)  # who is connected beats meanwhile
        await asyncio.gather(*(_connect_one(port, context, sender, made, number) for number in numbers))


async def _port(directory: Path) -> int:
    deadline, told = time.monotonic() + START_S, directory / "port"
    while not told.exists() and time.monotonic() < deadline:  # noqa: ASYNC110 - by another process
        await asyncio.sleep(0.01)
    return int(told.read_text())


async def _connect_one(
    port: int, context: SSLContext, sender: BeatSender, made: list[_Agent], number: int
) -> None:
    channel = await stream.connect(f"tcps://{ADDRESS}:{port}", ssl=context, timeout_s=START_S, sender=sender)
    channel.send(_encoder.encode(_hello(number)))
    while frame := await channel.receive():
        message = _decoder.decode(frame)
        if isinstance(message, Welcome) and message.beat_key is not None:
            made.append(_Agent(message.beat_key, sender, channel, port))
            return
    raise errors.Unavailable(f"an agent is not welcome: {channel.close_reason}", retry_after_s=1)


def _hello(number: int) -> Hello:
    vtep = (10 << 24 | number).to_bytes(4, "big")
    return Hello(PROTOCOL, HostId(f"host-{number}"), vtep, "", "bench", __name__, 0, helps=True)


def _measure(serve: Serve, connect: Connect, hosts: int, seconds: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        authority = Authority.open(directory)
        authority.issue_controller()
        authority.issue_fleet(directory)
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_child, args=(serve, directory), daemon=True)
        process.start()
        assert process.pid is not None, "started"
        try:
            return uvloop.run(_beat(connect, directory, process.pid, hosts, seconds))
        finally:
            process.kill()
            process.join()
