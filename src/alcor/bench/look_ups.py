"""Look-ups per second of one controller process, in networks of a hundred to a million ports.

The controller is a process of its own; sixteen hosts ask it from this one, each with one question under way.
The floor is an echo over the same kind of stream in the same processes: as many frames, of the same sizes.
"""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from alcor.adapters import stream
from alcor.bench import look_up_server, used
from alcor.bench.look_up_server import ASKERS
from alcor.bench.raw_agent import RawAgent
from alcor.bench.report import Say
from alcor.contracts.agent_channel import Channel, Want
from alcor.lab.children import Child
from alcor.model import errors
from alcor.model.ids import Vni

LOAD_TIMEOUT_S = 180.0
ADDRESSES_PER_ASK = (1, 16)


class LookUpRate(msgspec.Struct, frozen=True):
    """One size of network, and one number of addresses in a question."""

    ports_per_network: int
    networks: int
    addresses_per_ask: int
    look_ups: int
    look_ups_per_s: float
    look_ups_per_processor_s: float  # of the controller process: what it could do with a core of its own
    echo_per_s: float  # the floor: exchanges of the same sizes, in addresses
    echo_ratio: float
    memory_mib: float


async def measure(sizes: Sequence[int], look_ups: int, say: Say) -> list[LookUpRate]:
    """Measure all sizes, with one address and with sixteen in a question."""
    found = []
    for ports in sizes:
        for rate in await _measure_size(ports, look_ups):
            found.append(rate)
            say(
                f"{rate.ports_per_network} ports in a network, {each_in_words(rate)}: "
                f"{rate.look_ups_per_s:.0f} look-ups/s, {rate.look_ups_per_processor_s:.0f} per processor "
                f"second, echo {rate.echo_per_s:.0f}/s"
            )
    return found


def each_in_words(rate: LookUpRate) -> str:
    """Say how many addresses were in a question."""
    return "one by one" if rate.addresses_per_ask == 1 else f"{rate.addresses_per_ask} in a question"


async def _measure_size(ports: int, look_ups: int) -> list[LookUpRate]:
    # A host learns each port once: small networks must be many.
    networks = max(1, -(-2 * look_ups // ASKERS // ports))
    directory = Path(tempfile.mkdtemp(prefix="alcor-bench-"))
    url, echo_url = (f"unix://{directory}/{name}.sock" for name in ("agents", "echo"))
    command = [sys.executable, "-m", look_up_server.__name__, str(networks), str(ports), url, echo_url]
    server = Child("the look-up server", command, directory / "server.log")
    try:
        await server.start()
        agents = await _connect(server, url)
        addresses = _addresses(ports, networks)
        rates = []
        for each in ADDRESSES_PER_ASK:
            rate = await _rate(server, agents, addresses, ports, networks, look_ups, echo_url, each)
            rates.append(rate)
        for agent in agents:
            agent.close()
        return rates
    finally:
        await server.stop()
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)


async def _connect(server: Child, url: str) -> list[RawAgent]:
    deadline_s = time.monotonic() + LOAD_TIMEOUT_S
    while True:
        try:
            return [await RawAgent.connect(url, *look_up_server.asker(number)) for number in range(ASKERS)]
        except errors.Unavailable:
            server.require_alive()
            if time.monotonic() > deadline_s:
                raise
            await asyncio.sleep(0.05)


def _addresses(ports: int, networks: int) -> Iterator[Want]:
    """Give addresses, each once, spread over the networks' whole length."""
    stride = max(1, ports * 13 // 21)
    while _shares_a_factor(stride, ports):
        stride += 1
    for number in range(ports):
        for vni in range(1, networks + 1):
            yield Want(Vni(vni), look_up_server.address(number * stride % ports))


def _shares_a_factor(one: int, other: int) -> bool:
    while other:
        one, other = other, one % other
    return one != 1


async def _rate(
    server: Child,
    agents: Sequence[RawAgent],
    addresses: Iterator[Want],
    ports: int,
    networks: int,
    look_ups: int,
    echo_url: str,
    each: int,
) -> LookUpRate:
    mine = [next(addresses) for _ in range(look_ups // ASKERS)]  # all ask for the same, each for itself
    received = sum(agent.bytes_received for agent in agents)
    used_s, started = used.processor_s(server.pid), time.perf_counter()
    await asyncio.gather(*(_ask_all(agent, mine, each) for agent in agents))
    took_s, used_s = time.perf_counter() - started, used.processor_s(server.pid) - used_s
    made = len(mine) * len(agents)
    answer_bytes = (sum(agent.bytes_received for agent in agents) - received) * each // made
    echo_s = await _echo(echo_url, exchanges=made // each, answer_bytes=answer_bytes)
    return LookUpRate(
        ports_per_network=ports,
        networks=networks,
        addresses_per_ask=each,
        look_ups=made,
        look_ups_per_s=round(made / took_s, 1),
        look_ups_per_processor_s=round(made / max(used_s, 0.01), 1),
        echo_per_s=round(made / echo_s, 1),
        echo_ratio=round(took_s / echo_s, 2),
        memory_mib=round(used.memory_mib(server.pid), 1),
    )


async def _ask_all(agent: RawAgent, wants: Sequence[Want], each: int) -> None:
    for start in range(0, len(wants), each):
        await agent.look_up(wants[start : start + each])


async def _echo(url: str, *, exchanges: int, answer_bytes: int) -> float:
    """Give the seconds that so many exchanges take, over as many channels as hosts asked."""
    channels = [await stream.connect(url) for _ in range(ASKERS)]
    for channel in channels:
        channel.send(str(answer_bytes).encode())
    started = time.perf_counter()
    await asyncio.gather(*(_exchange(channel, exchanges // ASKERS) for channel in channels))
    took_s = time.perf_counter() - started
    for channel in channels:
        channel.close("done")
    return took_s


async def _exchange(channel: Channel, times: int) -> None:
    question, acknowledgement = bytes(40), bytes(120)
    for _ in range(times):
        channel.send(question)
        if await channel.receive() is None:
            raise errors.Unavailable("the echo ended", retry_after_s=1)
        channel.send(acknowledgement)
