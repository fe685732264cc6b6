"""What the agents' beats cost a controller.

    promise                                     aim
    heartbeats of 10,000 hosts, one controller  less than 20 % of a core

    this process, many sockets --Hello, then beats at their pace---> a real controller in a process of its own
                                                                     (store in memory), whose time is taken

The floor is a process that reads the same frames from as many sockets and answers each with one, without Alcor.
Both are measured once they are settled, second by second, and medians given: the machine is shared.
"""

import asyncio
import multiprocessing
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import msgspec
import uvloop
from rich.table import Table

from alcor.adapters import stream
from alcor.bench import used
from alcor.bench.report import Environment, Panel, Say, environment
from alcor.contracts.agent_channel import BEAT_S, PROTOCOL, Beat, Hello
from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.controller import Controller
from alcor.control_plane.health import pace
from alcor.model.ids import HostId
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT, EventLog, Level

SETTLE_S = 9.0  # at least: what came with the Hellos is done
SETTLE_MAX_S = 60.0
SETTLED = 0.1  # two seconds in a row differ by less
START_S = 20.0
CONNECT_PAUSE_S = 0.03
STEPS = 50  # in which the beats of one beat's time are sent
CONNECTS_AT_ONCE = 50
_HEAD = struct.Struct(">I")
Serve = Callable[[str], Coroutine[Any, Any, None]]


class Beats(msgspec.Struct, frozen=True):
    """The file that `alcor bench beats --json` writes. Percent of one core, medians of seconds."""

    environment: Environment
    hosts: int
    beats_per_s: float
    controller_core_percent: float
    floor_core_percent: float

    def tables(self) -> list[Table]:
        """Give the figures as `alcor bench` prints them."""
        table = Table("hosts", "beats/s", "controller, % of a core", "bare streams, %")
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
            Panel(f"beats of {self.hosts} hosts", "% of a core", ("controller", "bare streams"), shares, aim=20)
        ]


def run(hosts: int, seconds: int, say: Say) -> Beats:
    """Measure; `say` hears of progress."""
    where = environment()
    floor, _ = _measure(_serve_floor, hosts, seconds)
    say(f"bare streams of {hosts} hosts: {100 * floor:.1f} % of a core")
    share, rate = _measure(_serve_controller, hosts, seconds)
    say(f"a controller: {100 * share:.1f} %")
    return Beats(where, hosts, round(rate), round(100 * share, 1), round(100 * floor, 1))


async def _serve_controller(path: str) -> None:
    controller = Controller(MemoryStore(), SystemClock(), EventLog(level=Level.ERROR))
    await controller.start()
    await stream.serve([f"unix://{path}"], controller.serve_channel, SILENT)
    await asyncio.Event().wait()


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # the loop makes stream transports

    def data_received(self, data: bytes) -> None:
        if len(data) < 64:  # not the Hello
            self._transport.write(data)


async def _serve_floor(path: str) -> None:
    await asyncio.get_running_loop().create_unix_server(_Echo, path, backlog=4096)
    await asyncio.Event().wait()


def _child(serve: Serve, path: str) -> None:
    uvloop.run(serve(path))


async def _beat(path: str, pid: int, hosts: int, seconds: int) -> tuple[float, float]:
    """Give the share of a core that the process took, and the beats sent a second."""
    sockets: list[asyncio.Transport] = []
    connecting = asyncio.create_task(_connect(path, hosts, sockets))  # who is connected beats meanwhile
    sending = asyncio.create_task(_send(sockets, pace.beat_s(BEAT_S, hosts=hosts, helpers=hosts), sent := [0]))
    try:
        await connecting
        await _settled(pid)
        before, began = sent[0], time.monotonic()
        shares = [await _share(pid) for _ in range(seconds)]
        return statistics.median(shares), (sent[0] - before) / (time.monotonic() - began)
    finally:
        sending.cancel()


async def _send(sockets: list[asyncio.Transport], beat_s: float, sent: list[int]) -> None:
    beat = msgspec.msgpack.encode(Beat())
    frame = _HEAD.pack(len(beat)) + beat
    step, started = 0, time.monotonic()
    while True:
        for transport in sockets[step % STEPS :: STEPS]:
            transport.write(frame)
            sent[0] += 1
        step += 1
        await asyncio.sleep(max(0.0, started + step * beat_s / STEPS - time.monotonic()))


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


async def _connect(path: str, hosts: int, made: list[asyncio.Transport]) -> None:
    deadline = time.monotonic() + START_S
    while not Path(path).exists() and time.monotonic() < deadline:  # noqa: ASYNC110 - by another process
        await asyncio.sleep(0.01)
    for first in range(0, hosts, CONNECTS_AT_ONCE):
        numbers = range(first, min(first + CONNECTS_AT_ONCE, hosts))
        await asyncio.sleep(CONNECT_PAUSE_S)  # the listening queue of a Unix socket is short
        some = await asyncio.gather(*(_open(path) for _ in numbers))
        for number, (transport, _) in zip(numbers, some, strict=True):
            transport.write(_hello(number))
            made.append(transport)


async def _open(path: str) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    while True:
        try:
            return await asyncio.get_running_loop().create_unix_connection(asyncio.Protocol, path)
        except BlockingIOError:  # the listening queue is full
            await asyncio.sleep(CONNECT_PAUSE_S)


def _hello(number: int) -> bytes:
    vtep = (10 << 24 | number).to_bytes(4, "big")
    hello = Hello(PROTOCOL, HostId(f"host-{number}"), vtep, "", "bench", __name__, 0, helps=True)
    body = msgspec.msgpack.encode(hello)
    return _HEAD.pack(len(body)) + body


def _measure(serve: Serve, hosts: int, seconds: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/socket"
        process = multiprocessing.get_context("spawn").Process(target=_child, args=(serve, path), daemon=True)
        process.start()
        assert process.pid is not None, "started"
        try:
            return uvloop.run(_beat(path, process.pid, hosts, seconds))
        finally:
            process.kill()
            process.join()
