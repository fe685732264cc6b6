"""A controller over networks made up in memory, and an echo to compare with: a process of its own.

The store's answers are generated, so that a million ports need no database; from the snapshot on, everything is
the real controller, serving real streams.
"""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Iterator, Sequence

import uvloop

from alcor.adapters import stream
from alcor.contracts.agent_channel import Channel
from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import R, Snapshot
from alcor.control_plane.controller import Controller
from alcor.control_plane.region import OnDemandBounds
from alcor.model.ids import HostId, NetworkId, PortId, ProjectId, SubnetId, Vni
from alcor.model.records import AnyRecord, FixedIp, Host, Network, Port, Subnet
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT

FAR_HOSTS = 1_000
ASKERS = 16
CHUNK = 1_000
# What a process can do is asked for, not what one project may.
BOUNDS = OnDemandBounds(above=50, below=25, look_ups_per_s=1e9)
_PROJECT = ProjectId("bench")
_CIDR = (bytes([10, 0, 0, 0]), 8)
_FIRST_IP, _FIRST_ASKER_IP = 0x0A000010, 0x0AF00000


def address(number: int) -> bytes:
    """Give the address of a port, by its number in its network."""
    return (_FIRST_IP + number).to_bytes(4, "big")


def asker(number: int) -> tuple[str, bytes]:
    """Give name and tunnel address of a host that asks; it has a port in every network."""
    return f"asker-{number}", (0x0AFE0000 + number).to_bytes(4, "big")


class _MadeUp:
    """A snapshot of networks of the same size. Implements `Snapshot`."""

    revision = 0

    def __init__(self, networks: int, ports: int) -> None:
        self._networks = networks
        self._ports = ports

    async def records(self, kind: type[R]) -> AsyncIterator[Sequence[R]]:
        chunk: list[R] = []
        for record in self._all(kind):
            chunk.append(record)  # type: ignore[arg-type]  # `_all` makes records of the kind
            if len(chunk) == CHUNK:
                yield chunk
                chunk = []
                await asyncio.sleep(0)
        yield chunk

    async def __aenter__(self) -> Snapshot:
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    def _all(self, kind: type[R]) -> Iterator[AnyRecord]:
        networks = range(1, self._networks + 1)
        if kind is Host:
            for number in range(FAR_HOSTS):
                vtep = (0x0AFD0000 + number).to_bytes(4, "big")
                yield Host(id=HostId(f"far-{number}"), project_id=_PROJECT, vtep=vtep)
        elif kind is Network:
            for vni in networks:
                yield Network(id=_network(vni), project_id=_PROJECT, vni=Vni(vni))
        elif kind is Subnet:
            for vni in networks:
                yield Subnet(id=_subnet(vni), project_id=_PROJECT, network_id=_network(vni), cidr=_CIDR)
        elif kind is Port:
            for vni in networks:
                for number in range(ASKERS):
                    yield _port(vni, _FIRST_ASKER_IP + number, asker(number)[0])
                for number in range(self._ports):
                    yield _port(vni, _FIRST_IP + number, f"far-{number % FAR_HOSTS}")


class _MadeUpStore(MemoryStore):
    """A store whose snapshot is made up; what is committed later is kept."""

    def __init__(self, networks: int, ports: int) -> None:
        super().__init__()
        self._made_up = _MadeUp(networks, ports)

    def snapshot(self) -> Snapshot:
        return self._made_up


def _network(vni: int) -> NetworkId:
    return NetworkId(f"0192f0c1-7a00-7000-8000-{vni:012x}")


def _subnet(vni: int) -> SubnetId:
    return SubnetId(f"0192f0c1-7a00-7000-9000-{vni:012x}")


def _port(vni: int, ip: int, host: str) -> Port:
    return Port(
        id=PortId(f"0192f0c1-{vni & 0xFFFF:04x}-7000-a000-{ip:012x}"),
        project_id=_PROJECT,
        network_id=_network(vni),
        mac=0x020000000000 + ip,
        fixed_ips=(FixedIp(_subnet(vni), ip.to_bytes(4, "big")),),
        host=HostId(host),
    )


async def echo(channel: Channel) -> None:
    """Answer each first of two frames with as many bytes as the very first frame says."""
    first = await channel.receive()
    reply = bytes(int(first)) if first else b""
    while await channel.receive() is not None:
        channel.send(reply)
        if await channel.receive() is None:  # stands for the acknowledgement
            return


async def _serve(networks: int, ports: int, url: str, echo_url: str) -> None:
    controller = Controller(_MadeUpStore(networks, ports), SystemClock(), SILENT, on_demand=BOUNDS)
    await controller.start()
    gc.collect()
    gc.freeze()
    echoes = await stream.serve((echo_url,), echo, SILENT)
    server = await stream.serve((url,), controller.serve_channel, SILENT)
    try:
        await asyncio.Event().wait()
    finally:
        await server.close()
        await echoes.close()
        await controller.stop()


if __name__ == "__main__":
    gc.set_threshold(200_000, 50, 50)
    uvloop.run(_serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]))
