"""Subnet service types: which ports get addresses of which subnets."""

from typing import Any

import pytest

from api_scene import Scene, error_of, scene

NOVA, LB = "compute:nova", "network:loadbalancer"


async def subnet(s: Scene, network: str, cidr: str, *types: str) -> str:
    made = await s.make("subnet", network_id=network, ip_version=4, cidr=cidr, service_types=list(types))
    assert made["service_types"] == list(types)
    id_: str = made["id"]
    return id_


async def port(s: Scene, network: str, expect: int = 201, **said: Any) -> Any:
    answer = await s.ask("POST", "/ports", {"port": {"network_id": network, **said}})
    assert answer.status_code == expect, answer.text
    return (
        [it["ip_address"] for it in answer.json()["port"]["fixed_ips"]]
        if expect == 201
        else error_of(answer)[1]
    )


async def test_ports_get_addresses_of_subnets_that_name_their_owner_first() -> None:
    async with scene() as s:
        network = (await s.make("network"))["id"]
        await subnet(s, network, "10.0.0.0/24")
        typed = await subnet(s, network, "10.0.1.0/29", NOVA)
        assert await port(s, network) == ["10.0.0.2"]
        assert await port(s, network, device_owner="compute:other") == ["10.0.0.3"]
        ports = {"ports": [{"network_id": network, "device_owner": NOVA}] * 6 + [{"network_id": network}] * 2}
        made = (await s.ask("POST", "/ports", ports, expect=201)).json()["ports"]
        found = [it["fixed_ips"][0]["ip_address"].rpartition(".")[0] for it in made]
        # Its own subnet first, and when that is full one that serves everybody.
        assert sorted(found[:6]) == ["10.0.0"] + ["10.0.1"] * 5
        assert found[6:] == ["10.0.0"] * 2
        there = {"fixed_ips": [{"subnet_id": typed}]}
        assert await port(s, network, 400, **there) == "InvalidInput"
        assert await port(s, network, 400, fixed_ips=[{"ip_address": "10.0.1.4"}]) == "InvalidIpForNetwork"


async def test_a_network_that_serves_nobody_of_that_owner_refuses_the_port() -> None:
    async with scene() as s:
        network = (await s.make("network"))["id"]
        only = await subnet(s, network, "10.0.0.0/24", NOVA, LB)
        refused = "IpAddressGenerationFailureNoMatchingSubnet"
        assert await port(s, network, 409) == refused
        assert await port(s, network, 409, fixed_ips=[{"subnet_id": only}]) == refused
        assert await port(s, network, fixed_ips=[]) == []
        assert await port(s, network, device_owner=LB) == ["10.0.0.2"]
        assert await port(s, network, device_owner="network:dhcp") == ["10.0.0.3"]
        path = f"/subnets/{only}"
        changed = await s.ask("PUT", path, {"subnet": {"service_types": [NOVA]}}, expect=200)
        assert changed.json()["subnet"]["service_types"] == [NOVA]
        # What a port has it keeps, also when its addresses are told anew.
        held = (await s.ask("GET", f"/ports?device_owner={LB}")).json()["ports"][0]
        same = {"port": {"fixed_ips": held["fixed_ips"]}}
        await s.ask("PUT", f"/ports/{held['id']}", same, expect=200)
        assert await port(s, network, 409, device_owner=LB) == refused
        await s.ask("PUT", path, {"subnet": {"service_types": None}}, expect=200)
        assert len(await port(s, network)) == 1
        router = await s.make("router")
        await s.ask("PUT", path, {"subnet": {"service_types": [NOVA]}}, expect=200)
        await s.ask("PUT", f"/routers/{router['id']}/add_router_interface", {"subnet_id": only}, expect=200)


@pytest.mark.parametrize(
    ("types", "reason"),
    [
        (["nova"], "InvalidSubnetServiceType"),
        ([7], "InvalidSubnetServiceType"),
        ("compute:x", "HTTPBadRequest"),
    ],
)
async def test_what_is_no_device_owner_is_refused(types: Any, reason: str) -> None:
    async with scene() as s:
        network = (await s.make("network"))["id"]
        body = {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/24", "service_types": types}
        assert error_of(await s.ask("POST", "/subnets", {"subnet": body})) == (400, reason)
