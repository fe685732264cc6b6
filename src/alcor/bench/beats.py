"""What the agents' beats cost a controller.

    promise                                     aim
    heartbeats of 10,000 hosts, one controller  less than 20 % of a core

    this process, many streams --Hello, then beats at their pace---> a real controller in a process of its own
          over TLS, as only agents with certificates                 (store in memory), whose time is taken
          are told a quick pace

The floor is a process that reads the same frames from as many streams over TLS and answers each with one,
without Alcor. Both are measured once they are settled, second by second, and medians given: the machine is
shared.
"""

import asyncio
import multiprocessing
import statistics
import struct
import tempfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from ssl import SSLContext
from typing import Any, cast

import msgspec
import uvloop
from rich.table import Table

from alcor.adapters import stream
from alcor.adapters.certificates import Authority
from alcor.bench import used
from alcor.bench.report import Environment, Panel, Say, environment
from alcor.contracts.agent_channel import BEAT_S, PROTOCOL, Beat, Hello
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
_HEAD = struct.Struct(">I")
LISTEN_QUEUE = 4096
FLOOR_BUFFER_BYTES = 64 * 1024
HELLO_MIN_BYTES = 64  # a beat has fewer
ADDRESS = "127.0.0.1"
Serve = Callable[[Path], Coroutine[Any, Any, None]]


class Beats(msgspec.Struct, frozen=True):
    """The file that `alcor bench beats --json` writes. Percent of one core, medians of seconds."""

    environment: Environment
    hosts: int
    beats_per_s: float
    controller_core_percent: float
    floor_core_percent: float

    def tables(self) -> list[Table]:
        """Give the figures as `alcor bench` prints them."""
        table = Table("hosts", "beats/s", "controller, % of a core", "bare TLS, %")
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
            Panel(f"beats of {self.hosts} hosts", "% of a core", ("controller", "bare TLS"), shares, aim=20)
        ]


def run(hosts: int, seconds: int, say: Say) -> Beats:
    """Measure; `say` hears of progress."""
    where = environment()
    floor, _ = _measure(_serve_floor, hosts, seconds)
    say(f"bare TLS streams of {hosts} hosts: {100 * floor:.1f} % of a core")
    share, rate = _measure(_serve_controller, hosts, seconds)
    say(f"a controller: {100 * share:.1f} %")
    return Beats(where, hosts, round(rate), round(100 * share, 1), round(100 * floor, 1))


async def _serve_controller(directory: Path) -> None:
    controller = Controller(MemoryStore(), SystemClock(), EventLog(level=Level.ERROR))
    await controller.start()
    context = tls.controller_context(directory)
    server = await stream.serve([f"tcps://{ADDRESS}:0"], controller.serve_channel, SILENT, ssl=context)
    _tell_port(directory, int(server.urls[0].rpartition(":")[2]))
    await asyncio.Event().wait()


class _Echo(asyncio.BufferedProtocol):
    _buffer = bytearray(FLOOR_BUFFER_BYTES)
    _view = memoryview(_buffer)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # the loop makes stream transports

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if nbytes < HELLO_MIN_BYTES:
            self._transport.write(bytes(self._view[:nbytes]))


async def _serve_floor(directory: Path) -> None:
    loop, context = asyncio.get_running_loop(), tls.controller_context(directory)
    server = await loop.create_server(_Echo, ADDRESS, 0, ssl=context, backlog=LISTEN_QUEUE)
    _tell_port(directory, server.sockets[0].getsockname()[1])
    await asyncio.Event().wait()


def _tell_port(directory: Path, port: int) -> None:
    part = directory / "port.part"
    part.write_text(str(port))
    part.rename(directory / "port")


def _child(serve: Serve, directory: Path) -> None:
    uvloop.run(serve(directory))


async def _beat(directory: Path, pid: int, hosts: int, seconds: int) -> tuple[float, float]:
    """Give the share of a core that the process took, and the beats sent a second."""
    sockets: list[asyncio.Transport] = []
    connecting = asyncio.create_task(_connect(directory, hosts, sockets))  # who is connected beats meanwhile
    sending = asyncio.create_task(_send(sockets, pace.beat_s(BEAT_S, hosts=hosts, helpers=hosts), sent := [0]))
    try:
        await connecting
        await _settled(pid)
        before, began = sent[0], time.monotonic()
        shares = [await _share(pid) for _ in range(seconds)]
        rate = (sent[0] - before) / (time.monotonic() - began)
        if lost := sum(transport.is_closing() for transport in sockets):
            raise errors.Unavailable(
                f"{lost} of {hosts} streams ended: this machine is too busy to beat in time", retry_after_s=60
            )
        return statistics.median(shares), rate
    finally:
        sending.cancel()


async def _send(sockets: list[asyncio.Transport], beat_s: float, sent: list[int]) -> None:
    beat = msgspec.msgpack.encode(Beat(held_mark.NOTHING))
    frame = _HEAD.pack(len(beat)) + beat
    step, started = 0, time.monotonic()
    while True:
        for transport in sockets[step % STEPS :: STEPS]:
            if not transport.is_closing():
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


async def _connect(directory: Path, hosts: int, made: list[asyncio.Transport]) -> None:
    deadline, told = time.monotonic() + START_S, directory / "port"
    while not told.exists() and time.monotonic() < deadline:  # noqa: ASYNC110 - by another process
        await asyncio.sleep(0.01)
    port, context = int(told.read_text()), tls.agent_context(directory)
    for first in range(0, hosts, CONNECTS_AT_ONCE):
        numbers = range(first, min(first + CONNECTS_AT_ONCE, hosts))
        await asyncio.sleep(CONNECT_PAUSE_S)  # who is connected beats meanwhile
        some = await asyncio.gather(*(_open(port, context) for _ in numbers))
        for number, (transport, _) in zip(numbers, some, strict=True):
            transport.write(_hello(number))
            made.append(transport)


async def _open(port: int, context: SSLContext) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    return await asyncio.get_running_loop().create_connection(
        asyncio.Protocol, ADDRESS, port, ssl=context, server_hostname=tls.CONTROLLER_NAME
    )


def _hello(number: int) -> bytes:
    vtep = (10 << 24 | number).to_bytes(4, "big")
    hello = Hello(PROTOCOL, HostId(f"host-{number}"), vtep, "", "bench", __name__, 0, helps=True)
    body = msgspec.msgpack.encode(hello)
    return _HEAD.pack(len(body)) + body


def _measure(serve: Serve, hosts: int, seconds: int) -> tuple[float, float]:
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
            return uvloop.run(_beat(directory, process.pid, hosts, seconds))
        finally:
            process.kill()
            process.join()
