"""A real region whose networks are asked for: learned neighbours outlive the region's process."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from region_scene import QUICK, WAIT_S, eventually

from alcor.bench import asking_network
from alcor.bench.asking_network import AskingNetwork, MadePort
from alcor.bench.load import Connection
from alcor.client.api import ApiClient
from alcor.data_plane.simulated import exchange
from alcor.lab.region_process import RegionProcess, hosts_alive
from alcor.model.addressing import ip_from_text, ip_to_int
from alcor.model.goal_state import NetworkSection
from alcor.model.ids import HostId, PortId
from alcor.processes.fleet import EmulatedHosts
from alcor.runtime.event_log import SILENT

HOSTS = 4


class Scene:
    """A region process and emulated hosts in this process."""

    def __init__(self, directory: Path) -> None:
        directory.chmod(0o755)  # the embedded database runs as another user
        self.region = RegionProcess(directory, on_demand_above=3)
        self.hosts = EmulatedHosts(HOSTS, (self.region.agent_url,), SILENT, timing=QUICK)
        self.network: AskingNetwork

    async def start(self) -> None:
        await self.region.start()
        self.hosts.start()
        await self.alive()
        self.network = await asyncio.to_thread(AskingNetwork, Connection(self.region.url))

    async def alive(self) -> None:
        async with ApiClient(self.region.url) as api:
            await hosts_alive(api, HOSTS, timeout_s=WAIT_S)

    async def stop(self) -> None:
        await self.hosts.stop()
        await self.region.stop()

    async def add(self, *names: str) -> list[MadePort]:
        made = await asyncio.to_thread(self.network.add, names)
        for port in made:
            self.hosts.data_planes[HostId(port.host)].plug(PortId(port.id))
        return made

    async def first_ping(self, source: MadePort, target: MadePort) -> None:
        await asking_network.first_ping(self.hosts.fabric, source, target)

    def pings(self, source: MadePort, target: MadePort) -> bool:
        to_ip = ip_to_int(ip_from_text(target.ip))
        return exchange.ping(self.hosts.fabric, PortId(source.id), to_ip).succeeded

    def knows(self, host: str, port: MadePort) -> bool:
        state = self.hosts.data_planes[HostId(host)]._state
        sections = state.sections.values() if state is not None else ()
        return any(port.id in section.placements for section in sections if isinstance(section, NetworkSection))


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    made = Scene(tmp_path)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def test_learned_neighbours_outlive_the_regions_process(scene: Scene) -> None:
    a, b, c, d = await scene.add("host-0", "host-1", "host-2", "host-3")
    await scene.first_ping(a, b)
    assert scene.knows("host-0", b)
    assert not scene.knows("host-0", c)
    await scene.region.stop()
    assert scene.pings(a, b), "what forwards goes on"
    assert not scene.pings(a, c), "nobody is there to be asked"
    await scene.region.start()
    await scene.alive()
    assert scene.pings(a, b)
    await scene.first_ping(a, c)
    await scene.first_ping(d, a)
    assert not scene.knows("host-1", d)


async def test_who_moves_is_told_to_those_who_asked(scene: Scene) -> None:
    a, b, _, _ = await scene.add("host-0", "host-1", "host-2", "host-3")
    await scene.first_ping(a, b)
    async with ApiClient(scene.region.url) as api:
        await api.put(f"/v2.0/ports/{b.id}", {"port": {"binding:host_id": "host-2"}})
    scene.hosts.data_planes[HostId("host-1")].unplug(PortId(b.id))
    scene.hosts.data_planes[HostId("host-2")].plug(PortId(b.id))

    async def is_followed() -> bool:
        mac, _ = exchange.resolve(
            scene.hosts.fabric,
            exchange.workload(scene.hosts.fabric, PortId(a.id)),
            ip_to_int(ip_from_text(b.ip)),
        )
        return mac is not None and scene.knows("host-2", b) and not scene.knows("host-3", b)

    await eventually(is_followed, "the move is known where it was asked for", timeout_s=5)
    await scene.first_ping(b, a)
    assert scene.pings(a, b)
