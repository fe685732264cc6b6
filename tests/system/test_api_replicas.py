"""Several API processes behind one address: every answer reflects all writes acknowledged by any of them.

Each request opens a connection of its own, so that the kernel deals it out at random. Each client has a project
and a model of it that is exact: what it was told is made is there, and nothing else.
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from region_scene import WAIT_S, emulated, eventually

from alcor.adapters.postgres.store import PostgresStore
from alcor.bench import used
from alcor.client.api import ApiClient
from alcor.contracts.store import Query
from alcor.lab.children import Child, alcor_command
from alcor.lab.region_process import RegionProcess, free_port
from alcor.model.records import Port
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT

CLIENTS = 4
STEPS = 30  # of each client before a process is killed, and as many after
POOL = 5  # addresses in a subnet of 8 that has a gateway
SEED = int(os.environ.get("ALCOR_SEED", random.randrange(10**6)))


class Client:
    """One project: what was acknowledged, and one operation after the other."""

    def __init__(self, url: str, number: int) -> None:
        self.project = f"project-{number}"
        self.chance = random.Random(SEED * 100 + number)
        fresh = httpx.Limits(max_keepalive_connections=0)
        self.http = httpx.AsyncClient(base_url=url, timeout=WAIT_S, limits=fresh, verify=False)
        self.networks: dict[str, str] = {}  # id -> subnet
        self.ports: dict[str, dict[str, Any]] = {}
        self.tags: dict[str, set[str]] = {}
        self.deleted: list[str] = []
        self.router = ""
        self.legs: set[str] = set()  # subnets that the router is in
        self.keys = 0
        self.repeats = 0  # requests that were sent again because their connection broke

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        admin: bool = False,
        key: str = "",
        project: str = "",
        **params: Any,
    ) -> httpx.Response:
        """Send a request, and again while its connection breaks."""
        headers = {"X-Project-Id": project or self.project, "Connection": "close"}
        headers |= {"X-Roles": "admin"} if admin else {}
        headers |= {"Idempotency-Key": key} if key else {}
        while True:
            try:
                return await self.http.request(
                    method, f"/v2.0{path}", json=body, headers=headers, params=params
                )
            except httpx.TransportError:
                self.repeats += 1
                await asyncio.sleep(0.01)

    async def make(self, singular: str, **attributes: Any) -> httpx.Response:
        """Create with a key: a request sent again makes nothing twice. Sometimes it is sent again anyhow."""
        self.keys += 1
        key = f"{self.project}-{self.keys}"
        path = f"/{singular.replace('_', '-')}s"
        body = {singular: {name.replace("__", ":"): value for name, value in attributes.items()}}
        response = await self.ask("POST", path, body, admin=True, key=key)
        if response.status_code == 201 and self.chance.random() < 0.2:
            again = await self.ask("POST", path, body, admin=True, key=key)
            assert again.status_code == 201, again.text
            assert again.json()[singular]["id"] == response.json()[singular]["id"]
        return response

    async def begin(self) -> None:
        self.router = (await self.made("router", name="r"))["id"]
        await self.make_network()

    async def made(self, singular: str, **attributes: Any) -> Any:
        response = await self.make(singular, **attributes)
        assert response.status_code == 201, response.text
        return response.json()[singular]

    async def step(self) -> None:
        """One random operation, then reads that must reflect it."""
        operations: list[tuple[int, Callable[[], Any]]] = [
            (8, self.make_port),
            (4, self.change_port),
            (4, self.delete_port),
            (2, self.tag_port),
            (1, self.make_network),
            (1, self.delete_network),
            (2, self.move_leg),
            (1, self.change_quota),
            (1, self.change_subnet),
            (1, self.lend_network),
        ]
        weights, names = zip(*operations, strict=True)
        await self.chance.choices(names, weights)[0]()
        await self.chance.choice([self.check_lists, self.check_one, self.check_counts, self.check_deleted])()

    async def make_network(self) -> None:
        if len(self.networks) >= 4:
            return
        network = await self.made("network", name="net")
        number = self.chance.randrange(256)
        cidr = f"10.{self.keys % 256}.{number}.0/29"
        subnet = await self.made("subnet", network_id=network["id"], ip_version=4, cidr=cidr)
        self.networks[network["id"]] = subnet["id"]

    async def delete_network(self) -> None:
        network_id = self.chance.choice(list(self.networks))
        is_used = any(port["network_id"] == network_id for port in self.ports.values())
        is_routed = self.networks[network_id] in self.legs
        response = await self.delete(f"/networks/{network_id}")
        assert response.status_code == (409 if is_used or is_routed else 204), response.text
        if response.status_code == 204:
            del self.networks[network_id]
            self.deleted.append(f"/networks/{network_id}")
            if not self.networks:
                await self.make_network()

    async def make_port(self) -> None:
        network_id = self.chance.choice(list(self.networks))
        held = self.held(network_id)
        response = await self.make(
            "port", network_id=network_id, device_id=f"vm-{self.keys % 3}", binding__host_id="host-0"
        )
        if held < POOL:
            assert response.status_code == 201, (held, response.text)
            port = response.json()["port"]
            self.ports[port["id"]], self.tags[port["id"]] = port, set()
        else:
            assert response.status_code == 409, response.text
            assert response.json()["NeutronError"]["type"] == "IpAddressGenerationFailure"

    def held(self, network_id: str) -> int:
        """Addresses of a network that are given; its gateway's is not one of the pool."""
        return sum(port["network_id"] == network_id for port in self.ports.values())

    async def change_port(self) -> None:
        if not self.ports:
            return
        port_id = self.chance.choice(list(self.ports))
        fields = {"name": f"n{self.chance.randrange(9)}", "device_id": f"vm-{self.chance.randrange(3)}"}
        before = self.repeats
        response = await self.ask("PUT", f"/ports/{port_id}", {"port": fields})
        assert response.status_code == 200, response.text
        port = response.json()["port"]
        if before == self.repeats:
            assert port["revision_number"] == self.ports[port_id]["revision_number"] + 1
        self.ports[port_id] |= {**fields, "revision_number": port["revision_number"]}

    async def delete_port(self) -> None:
        if not self.ports:
            return
        port_id = self.chance.choice(list(self.ports))
        assert (await self.delete(f"/ports/{port_id}")).status_code == 204
        del self.ports[port_id]
        self.deleted.append(f"/ports/{port_id}")

    async def delete(self, path: str, *, project: str = "") -> httpx.Response:
        before = self.repeats
        response = await self.ask("DELETE", path, project=project)
        if response.status_code == 404 and before != self.repeats:
            return httpx.Response(204)  # the request whose connection broke had been carried out
        return response

    async def tag_port(self) -> None:
        if not self.ports:
            return
        port_id = self.chance.choice(list(self.ports))
        tag = f"t{self.chance.randrange(3)}"
        if tag in self.tags[port_id]:
            assert (await self.delete(f"/ports/{port_id}/tags/{tag}")).status_code == 204
            self.tags[port_id].discard(tag)
        else:
            response = await self.ask("PUT", f"/ports/{port_id}/tags/{tag}")
            assert response.status_code == 201, response.text
            self.tags[port_id].add(tag)
        shown = (await self.ask("GET", f"/ports/{port_id}")).json()["port"]
        self.ports[port_id]["revision_number"] = shown["revision_number"]

    async def move_leg(self) -> None:
        subnet_id = self.chance.choice(list(self.networks.values()))
        action = "remove" if subnet_id in self.legs else "add"
        before = self.repeats
        path = f"/routers/{self.router}/{action}_router_interface"
        response = await self.ask("PUT", path, {"subnet_id": subnet_id})
        assert response.status_code == 200 or before != self.repeats, response.text
        self.legs ^= {subnet_id}
        owned = await self.ask("GET", "/ports", device_id=self.router, fields="fixed_ips")
        found = {fixed["subnet_id"] for port in owned.json()["ports"] for fixed in port["fixed_ips"]}
        assert found == self.legs

    async def change_quota(self) -> None:
        limit = len(self.networks) + self.chance.randrange(2)
        response = await self.ask("PUT", f"/quotas/{self.project}", {"quota": {"network": limit}}, admin=True)
        assert response.status_code == 200, response.text
        response = await self.make("network", name="net")
        assert response.status_code == (409 if limit == len(self.networks) else 201), response.text
        if response.status_code == 201:
            assert (await self.delete(f"/networks/{response.json()['network']['id']}")).status_code == 204
        await self.ask("PUT", f"/quotas/{self.project}", {"quota": {"network": -1}}, admin=True)

    async def change_subnet(self) -> None:
        """What creating ports keeps from request to request is changed, often by another process."""
        subnet_id = self.chance.choice(list(self.networks.values()))
        fields = {"name": f"s{self.chance.randrange(99)}"}
        response = await self.ask("PUT", f"/subnets/{subnet_id}", {"subnet": fields})
        assert response.status_code == 200, response.text
        assert (await self.ask("GET", f"/subnets/{subnet_id}")).json()["subnet"]["name"] == fields["name"]

    async def lend_network(self) -> None:
        """A guest uses a network while it is shared, and no longer: grants are kept by each process, too."""
        network_id = self.chance.choice(list(self.networks))
        if self.held(network_id) >= POOL:
            return
        guest = f"guest-of-{self.project}"
        body = {"port": {"network_id": network_id, "security_groups": []}}
        policy = {"object_type": "network", "object_id": network_id, "action": "access_as_shared"}
        self.keys += 1
        key = f"{self.project}-{self.keys}"
        lent = await self.ask(
            "POST", "/rbac-policies", {"rbac_policy": policy | {"target_tenant": guest}}, key=f"{key}-lend"
        )
        assert lent.status_code == 201, lent.text
        for number in range(2):
            made = await self.ask("POST", "/ports", body, project=guest, key=f"{key}-{number}")
            assert made.status_code == 201, made.text
            assert (await self.delete(f"/ports/{made.json()['port']['id']}", project=guest)).status_code == 204
        path = f"/rbac-policies/{lent.json()['rbac_policy']['id']}"
        assert (await self.delete(path)).status_code == 204
        for _ in range(2):
            refused = await self.ask("POST", "/ports", body, project=guest)
            assert refused.status_code == 404, refused.text

    async def check_lists(self) -> None:
        network_id = self.chance.choice(list(self.networks))
        device = f"vm-{self.chance.randrange(3)}"
        tag = f"t{self.chance.randrange(3)}"
        for params, is_meant in (
            ({"network_id": network_id}, lambda port: port["network_id"] == network_id),
            ({"device_id": device}, lambda port: port["device_id"] == device),
            ({"tags": tag}, lambda port: tag in self.tags[port["id"]]),
        ):
            listed = (await self.ask("GET", "/ports", **params)).json()["ports"]
            found = {port["id"] for port in listed if port["device_owner"] == ""}
            assert found == {port_id for port_id, port in self.ports.items() if is_meant(port)}

    async def check_one(self) -> None:
        if not self.ports:
            return
        port = self.chance.choice(list(self.ports.values()))
        shown = (await self.ask("GET", f"/ports/{port['id']}")).json()["port"]
        for name in ("name", "device_id", "mac_address", "fixed_ips", "revision_number"):
            assert shown[name] == port[name], name
        assert set(shown["tags"]) == self.tags[port["id"]]
        (fixed,) = port["fixed_ips"]
        listed = await self.ask("GET", "/ports", fixed_ips=f"ip_address={fixed['ip_address']}")
        assert port["id"] in {it["id"] for it in listed.json()["ports"]}

    async def check_counts(self) -> None:
        details = await self.ask("GET", f"/quotas/{self.project}/details", admin=True)
        used_now = {kind: it["used"] for kind, it in details.json()["quota"].items()}
        assert used_now["network"] == used_now["subnet"] == len(self.networks)
        assert used_now["port"] == len(self.ports) + len(self.legs)

    async def check_deleted(self) -> None:
        if self.deleted:
            path = self.chance.choice(self.deleted)
            assert (await self.ask("GET", path)).status_code == 404


@asynccontextmanager
async def replicas(directory: Path, database: str) -> AsyncIterator[tuple[RegionProcess, list[Child], str]]:
    """A region's own API and two more processes, all on one address."""
    socket = f"unix://{directory / 'api.sock'}"
    port = free_port()
    options = ("--api-processes", socket, "--share-address")
    region = RegionProcess(
        directory / "region", api_port=port, database=database, queue="none", options=options
    )
    command = alcor_command("api", "--database", database, "--controller", socket, "--share-address")
    command += ["--data-dir", str(directory), "--listen", f"127.0.0.1:{port}"]
    others = [Child(f"API process {number}", command, directory / f"api-{number}.log") for number in (1, 2)]
    async with AsyncExitStack() as stack:
        await region.start()
        stack.push_async_callback(region.stop)
        for number, other in enumerate(others, 1):
            await other.start()
            stack.push_async_callback(other.stop)
            log = directory / f"api-{number}.log"

            async def is_up(log: Path = log, other: Child = other) -> bool:
                other.require_alive()
                return "The API is up" in log.read_text()

            await eventually(is_up, "the API process is up")
        yield region, others, region.url


@pytest.mark.slow
async def test_every_answer_reflects_what_any_replica_acknowledged(tmp_path: Path, postgres_dsn: str) -> None:
    print(f"ALCOR_SEED={SEED}")
    async with replicas(tmp_path, postgres_dsn) as (region, others, url), emulated(region, 1):
        clients = [Client(url, number) for number in range(CLIENTS)]
        await asyncio.gather(*(client.begin() for client in clients))

        async def run(client: Client, steps: int) -> None:
            for _ in range(steps):
                await client.step()

        pids = [child.pid for child in (region.child, *others)]
        before = [used.processor_s(pid) for pid in pids]
        await asyncio.gather(*(run(client, STEPS) for client in clients))
        worked = [used.processor_s(pid) - at for pid, at in zip(pids, before, strict=True)]
        assert min(worked) > 0.05, worked  # each answered some
        assert sum(client.repeats for client in clients) == 0

        async def kill_soon() -> None:
            await asyncio.sleep(0.2)
            await others[0].kill()

        await asyncio.gather(kill_soon(), *(run(client, STEPS) for client in clients))
        await _is_stored(postgres_dsn, clients)
        await _is_in_force(url, clients)
        await asyncio.gather(*(client.http.aclose() for client in clients))


async def _is_stored(dsn: str, clients: list[Client]) -> None:
    """Nothing that was acknowledged is lost, and nothing else was made."""
    store = await PostgresStore.open(dsn, SystemClock(), SILENT)
    try:
        stored = await store.select(Port, Query(where={"device_owner": ("",)}))
    finally:
        await store.close()
    assert {port.id for port in stored} == {port_id for client in clients for port_id in client.ports}


async def _is_in_force(url: str, clients: list[Client]) -> None:
    wanted = {port_id for client in clients for port_id in client.ports}
    async with ApiClient(url) as api:

        async def all_in_force() -> bool:
            ports = (await api.get("/v2.0/ports", device_owner=""))["ports"]
            return {port["id"] for port in ports if port["alcor:in_force"]} == wanted

        await eventually(all_in_force, "every port is in force, and every process says so")
