"""The API over PostgreSQL and leased addresses: what only a real store can show."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from alcor.adapters.postgres.store import PostgresStore
from api_scene import Scene, error_of, stored_scene

CLIENTS = 32


@pytest.fixture
async def region(postgres_store: PostgresStore) -> AsyncIterator[Scene]:
    async with stored_scene(postgres_store) as s:
        yield s


async def test_nothing_is_given_twice_under_32_clients(region: Scene) -> None:
    networks = await asyncio.gather(*(region.make("network", admin=True) for _ in range(CLIENTS)))
    assert len({network["provider:segmentation_id"] for network in networks}) == CLIENTS
    network_id, _ = await region.wired_network("10.0.0.0/22")

    async def client(number: int) -> list[Any]:
        single = await region.make("port", network_id=network_id, name=f"c{number}")
        batch = await region.ask("POST", "/ports", {"ports": [{"network_id": network_id}] * 15}, expect=201)
        await region.ask("DELETE", f"/ports/{single['id']}", expect=204)
        return list(batch.json()["ports"])

    ports = [
        port for made in await asyncio.gather(*(client(number) for number in range(CLIENTS))) for port in made
    ]
    assert len({port["fixed_ips"][0]["ip_address"] for port in ports}) == len(ports) == CLIENTS * 15
    assert len({port["mac_address"] for port in ports}) == len(ports)
    assert len({port["security_groups"][0] for port in ports}) == 1
    assert len((await region.ask("GET", "/ports", expect=200)).json()["ports"]) == len(ports)


async def test_deleted_addresses_are_used_again(region: Scene) -> None:
    network_id, subnet_id = await region.wired_network("10.0.0.0/28")
    full = {"ports": [{"network_id": network_id}] * 13}
    for _ in range(3):
        ports = (await region.ask("POST", "/ports", full, expect=201)).json()["ports"]
        answer = await region.ask("POST", "/ports", {"port": {"network_id": network_id}})
        assert error_of(answer) == (409, "IpAddressGenerationFailure")
        for port in ports:
            await region.ask("DELETE", f"/ports/{port['id']}", expect=204)
    one = await region.make("port", network_id=network_id, fixed_ips=[{"ip_address": "10.0.0.7"}])
    same = {
        "port": {"network_id": network_id, "fixed_ips": [{"subnet_id": subnet_id, "ip_address": "10.0.0.7"}]}
    }
    assert error_of(await region.ask("POST", "/ports", same)) == (409, "IpAddressInUse")
    mac = {"port": {"network_id": network_id, "mac_address": one["mac_address"]}}
    assert error_of(await region.ask("POST", "/ports", mac)) == (409, "MacAddressInUse")
    await region.ask("POST", "/ports", {"ports": [{"network_id": network_id}] * 12}, expect=201)


async def test_races_for_one_object_end_well(region: Scene) -> None:
    network = await region.make("network", admin=True, provider__segmentation_id=4242)
    body: dict[str, Any] = {"network": {"provider:segmentation_id": 4242}}
    assert error_of(await region.ask("POST", "/networks", body, admin=True)) == (409, "TunnelIdInUse")
    body = {"subnet": {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/16"}}
    answers = await asyncio.gather(*(region.ask("POST", "/subnets", body) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [400] * 7
    group = await region.make("security_group", name="g")
    body = {
        "security_group_rule": {"security_group_id": group["id"], "direction": "ingress", "protocol": "tcp"}
    }
    answers = await asyncio.gather(*(region.ask("POST", "/security-group-rules", body) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    port = {"port": {"network_id": network["id"]}}
    races = [region.ask("POST", "/ports", port), region.ask("DELETE", f"/networks/{network['id']}")]
    made, deleted = await asyncio.gather(*races)
    assert (made.status_code, deleted.status_code) in {(201, 409), (404, 204)}


async def test_a_whole_vpc_is_made_and_removed(region: Scene) -> None:
    network_id, subnet_id = await region.wired_network()
    router = await region.make("router", name="r")
    interface = {"subnet_id": subnet_id}
    await region.ask("PUT", f"/routers/{router['id']}/add_router_interface", interface, expect=200)
    group = await region.make("port_group", name="g", network_id=network_id, count=20)
    assert group["ports"] == 20
    listed = (await region.ask("GET", "/ports?device_owner=&sort_key=name&limit=5", expect=200)).json()
    assert [port["name"] for port in listed["ports"]] == ["g-1", "g-10", "g-11", "g-12", "g-13"]
    await region.ask("DELETE", f"/port-groups/{group['id']}", expect=204)
    await region.ask("PUT", f"/routers/{router['id']}/remove_router_interface", interface, expect=200)
    await region.ask("DELETE", f"/routers/{router['id']}", expect=204)
    await region.ask("DELETE", f"/networks/{network_id}", expect=204)
    assert (await region.ask("GET", "/subnets")).json()["subnets"] == []


async def test_sub_ports_are_where_their_parent_is_whatever_happens_at_once(region: Scene) -> None:
    network_id, _ = await region.wired_network("10.0.0.0/22")
    made = await region.ask("POST", "/ports", {"ports": [{"network_id": network_id}] * 17}, expect=201)
    parent, *subs = [port["id"] for port in made.json()["ports"]]
    trunk = await region.make("trunk", port_id=parent)
    path = f"/trunks/{trunk['id']}"

    async def join(vlan: int, port_id: str) -> None:
        entry = {"port_id": port_id, "segmentation_type": "vlan", "segmentation_id": vlan}
        await region.ask("PUT", f"{path}/add_subports", {"sub_ports": [entry]}, expect=200)
        if vlan % 4 == 0:
            await region.ask("PUT", f"{path}/remove_subports", {"sub_ports": [entry]}, expect=200)

    async def move(number: int) -> None:
        body = {"port": {"binding:host_id": f"host-{number % 3 + 1}"}}
        await region.ask("PUT", f"/ports/{parent}", body, admin=True, expect=200)

    await asyncio.gather(*(join(vlan, port_id) for vlan, port_id in enumerate(subs, 1)), *map(move, range(16)))
    listed = (await region.ask("GET", f"/ports?network_id={network_id}", admin=True)).json()["ports"]
    hosts = {port["id"]: port["binding:host_id"] for port in listed}
    held = {sub["port_id"] for sub in (await region.ask("GET", path)).json()["trunk"]["sub_ports"]}
    assert held == {port_id for vlan, port_id in enumerate(subs, 1) if vlan % 4}
    assert {hosts[port_id] for port_id in held} == {hosts[parent]}
    assert {hosts[port_id] for port_id in subs if port_id not in held} == {""}
    by_port = (await region.ask("GET", f"/trunks?port_id={parent}")).json()["trunks"]
    assert [each["id"] for each in by_port] == [trunk["id"]]
    await region.ask("DELETE", path, expect=204)
    for port_id in (parent, *subs):
        await region.ask("DELETE", f"/ports/{port_id}", expect=204)
