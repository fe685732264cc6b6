"""A region that tells a real HTTP server, in Nova's place, what becomes of its servers' ports."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from region_scene import QUICK, WAIT_S, eventually, network

from alcor.adapters import keystone_login
from alcor.adapters.keystone_login import KeystoneLogin
from alcor.adapters.nova import NovaEvents
from alcor.client.api import ApiClient
from alcor.contracts.server_events import ServerEvent
from alcor.lab.region_process import RegionProcess, hosts_alive
from alcor.model import errors
from alcor.model.ids import HostId, PortId
from alcor.processes.fleet import EmulatedHosts
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.identity import identity_service
from doubles.nova import NovaDouble

PLUGGED, UNPLUGGED, DELETED, CHANGED = "vif-plugged", "vif-unplugged", "vif-deleted", "changed"


@pytest.fixture
def nova() -> Iterator[NovaDouble]:
    double = NovaDouble()
    double.start()
    yield double
    double.stop()


class Scene:
    """A region, two emulated hosts, and Nova."""

    def __init__(self, api: ApiClient, process: RegionProcess, hosts: EmulatedHosts, nova: NovaDouble) -> None:
        self.api = api
        self.process = process
        self.nova = nova
        self.network_id = ""
        self._data_plane = hosts.data_planes[HostId("host-0")]
        self._other_data_plane = hosts.data_planes[HostId("host-1")]

    async def port(self) -> str:
        """Make the port of a server, as Nova binds it."""
        body = {
            "network_id": self.network_id,
            "device_id": str(uuid.uuid4()),
            "device_owner": "compute:az1",
            "binding:host_id": "host-0",
        }
        made = (await self.api.post("/v2.0/ports", {"port": body}))["port"]
        return str(made["id"])

    def plug(self, *port_ids: str) -> None:
        for port_id in port_ids:
            self._data_plane.plug(PortId(port_id))

    def unplug(self, *port_ids: str) -> None:
        for port_id in port_ids:
            self._data_plane.unplug(PortId(port_id))

    async def migrate(self, port_id: str) -> None:
        """Move a server to host-1 while it runs, as Nova does."""
        path = f"/v2.0/ports/{port_id}/bindings"
        made = (await self.api.post(path, {"binding": {"host": "host-1"}}))["binding"]
        assert (made["status"], made["vif_type"]) == ("INACTIVE", "ovs")
        self._other_data_plane.plug(PortId(port_id))
        await self.api.put(f"{path}/host-1/activate", {})
        self._data_plane.unplug(PortId(port_id))
        await self.api.delete(f"{path}/host-0")

    async def heard(self, port_id: str, *names: str) -> None:
        """Wait until exactly this was heard of the port."""

        async def truth() -> bool:
            return self.nova.of(port_id) == list(names)

        await eventually(truth, f"{names} of {port_id}, not {self.nova.of(port_id)}")

    async def heard_last(self, port_id: str, name: str) -> None:
        async def truth() -> bool:
            return self.nova.of(port_id)[-1:] == [name]

        await eventually(truth, f"{name} of {port_id}, not {self.nova.of(port_id)}")

    async def start_again(self) -> None:
        """Start the region that was killed, and wait for its host."""
        await self.process.start()
        await hosts_alive(self.api, 2, timeout_s=WAIT_S)


@asynccontextmanager
async def opened(directory: Path, nova: NovaDouble) -> AsyncIterator[Scene]:
    process = RegionProcess(directory, queue="none", options=("--nova-url", nova.url))
    hosts = EmulatedHosts(2, (process.agent_url,), SILENT, timing=QUICK)
    await process.start()
    try:
        hosts.start()
        async with ApiClient(process.url) as api:
            await hosts_alive(api, 2, timeout_s=WAIT_S)
            scene = Scene(api, process, hosts, nova)
            scene.network_id, _ = await network(api)
            yield scene
    finally:
        await hosts.stop()
        await process.stop()


async def test_nova_hears_of_its_ports_through_outages_of_both(tmp_path: Path, nova: NovaDouble) -> None:
    async with opened(tmp_path / "region", nova) as s:
        # From plug to removal.
        port = await s.port()
        s.plug(port)
        await s.heard(port, PLUGGED)
        await s.api.put(f"/v2.0/ports/{port}", {"port": {"fixed_ips": [{"ip_address": "10.0.0.77"}]}})
        await s.heard(port, PLUGGED, CHANGED)
        s.unplug(port)
        await s.heard(port, PLUGGED, CHANGED, UNPLUGGED)
        await s.api.delete(f"/v2.0/ports/{port}")
        await s.heard(port, PLUGGED, CHANGED, UNPLUGGED, DELETED)

        # A server migrates: unplugged here, plugged there.
        moving = await s.port()
        s.plug(moving)
        await s.heard(moving, PLUGGED)
        await s.migrate(moving)

        async def plugged_twice() -> bool:
            return nova.of(moving).count(PLUGGED) == 2

        await eventually(plugged_twice, "the port is told to be plugged where it came to")
        state = (await s.api.get(f"/v2.0/ports/{moving}", wait="active", timeout=10))["port"]
        assert (state["status"], state["binding:host_id"]) == ("ACTIVE", "host-1")

        # Nova knows one server no more, and has not started another: neither holds up the others.
        ports = [await s.port() for _ in range(3)]
        shown = (await s.api.get("/v2.0/ports", network_id=s.network_id))["ports"]
        servers = {each["id"]: each["device_id"] for each in shown}
        nova.unknown_servers.add(servers[ports[0]])
        nova.not_ready.add(servers[ports[1]])
        s.plug(*ports)
        await s.heard(ports[2], PLUGGED)

        # It fails, it is slow, it is away: what it missed is told when it is back.
        steady, late, gone, stopped = [await s.port() for _ in range(4)]
        nova.answers = [500, 503]
        s.plug(steady, stopped)
        await s.heard(steady, PLUGGED)
        nova.delay_s = 0.5
        began = asyncio.get_running_loop().time()
        quick = await s.port()  # provisioning does not wait for it
        s.plug(quick)
        await s.api.get(f"/v2.0/ports/{quick}", wait="active", timeout=10)
        nova.delay_s = 0.0
        assert asyncio.get_running_loop().time() - began < WAIT_S
        await s.heard(quick, PLUGGED)
        nova.stop()
        s.plug(late, gone)
        await s.api.get(f"/v2.0/ports/{late}", wait="active", timeout=10)

        # Nova is away, and the region dies with what it has to say.
        await s.process.child.kill()
        s.unplug(stopped)
        await s.start_again()
        await s.api.delete(f"/v2.0/ports/{gone}")
        nova.start()
        await s.heard_last(late, PLUGGED)
        await s.heard_last(stopped, UNPLUGGED)
        await s.heard_last(gone, DELETED)
        await s.heard_last(steady, PLUGGED)


async def test_nova_that_asks_who_we_are_is_told_with_a_token_of_keystone(
    tmp_path: Path, nova: NovaDouble
) -> None:
    event = ServerEvent("network-vif-plugged", str(uuid.uuid4()), "port")
    nova.token = "t"
    with identity_service("http://network") as auth_url:
        openrc = tmp_path / "openrc"
        openrc.write_text(
            f"export OS_AUTH_URL={auth_url}\nexport OS_USERNAME=neutron\n"
            "export OS_PASSWORD=x\nexport OS_PROJECT_NAME=service\n"
        )
        openrc.chmod(0o600)
        login = KeystoneLogin(keystone_login.read(openrc), SystemClock())
        events = NovaEvents(nova.url, login)
        assert await events.tell([event]) == [200]
        nova.token = "another"  # revoked before its time: once anew, and then it waits
        with pytest.raises(errors.Unavailable):
            await events.tell([event])
        assert nova.requests == 3
        nova.token = "t"
        assert await events.tell([event]) == [200]
        await events.close()
        await login.close()
    nowhere = KeystoneLogin(keystone_login.read(openrc), SystemClock())
    with pytest.raises(errors.Unavailable, match="Keystone"):
        await nowhere.token()
    await nowhere.close()


async def test_answers_that_are_none_are_not_believed(nova: NovaDouble) -> None:
    event = ServerEvent("network-vif-plugged", str(uuid.uuid4()), "port")
    events = NovaEvents(nova.url)
    nova.answers = [400]
    with pytest.raises(errors.Invalid):
        await events.tell([event])
    for status in (302, 403, 429, 500):
        nova.answers = [status]
        with pytest.raises(errors.Unavailable):
            await events.tell([event])
    nova.unknown_servers.add(event.server_uuid)
    assert await events.tell([event]) == [404]
    elsewhere = NovaEvents(nova.url.removesuffix("/v2.1"))
    with pytest.raises(errors.Unavailable, match="404"):  # the operator's mistake loses no event
        await elsewhere.tell([event])
    await elsewhere.close()
    nova.stop()
    with pytest.raises(errors.Unavailable):
        await events.tell([event])
    await events.close()
    for wrong in ("http://[::1", "http://host:port/v2.1"):
        with pytest.raises(errors.Invalid):
            NovaEvents(wrong)
