"""Addresses that follow from MAC addresses, under many clients of several processes: all are right."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from alcor.adapters.postgres.store import PostgresStore
from alcor.contracts.store import Query
from alcor.model.addressing import derived_ip
from alcor.model.records import Port, Subnet
from alcor.runtime import event_log
from alcor.runtime.clock import SystemClock
from api_scene import Scene, error_of, stored_scene

CLIENTS = 64
ROUNDS = 2
SLAAC = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}


@pytest.fixture
async def entrances(postgres_dsn: str) -> AsyncIterator[list[Scene]]:
    """Open three applications over stores of their own, as three processes have them."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(3):
            store = await PostgresStore.open(postgres_dsn, SystemClock(), event_log.SILENT)
            stack.push_async_callback(store.close)
            opened.append(await stack.enter_async_context(stored_scene(store)))
        yield opened


async def check(s: Scene, *, is_full: bool) -> None:
    """Hold every port against the subnets that are there. `is_full`: each has another address too."""
    subnets = {it.id: it for it in await s.store.select(Subnet, Query())}
    ports = await s.store.select(Port, Query())
    held = [fixed for port in ports for fixed in port.fixed_ips]
    assert len(set(held)) == len(held), "an address is held twice"
    following = {id_ for id_, it in subnets.items() if it.is_derived}
    for port in ports:
        own = {(it.subnet_id, it.ip) for it in port.fixed_ips if it.subnet_id in following}
        assert own == {(id_, derived_ip(subnets[id_].cidr[0], port.mac)) for id_ in following}
        assert len(port.fixed_ips) == len(following) + is_full
    counted = await s.store.held_addresses(list(subnets))
    assert sum(counted.values()) == len(held), "claims and ports differ"


async def patient(s: Scene, method: str, path: str, body: Any = None) -> httpx.Response:
    """Ask again while ports change faster than all of them can be changed at once, as the answer says."""
    for _ in range(60):
        answer = await s.ask(method, path, body)
        if answer.status_code != 503:
            assert answer.is_success, answer.text
            return answer
        await asyncio.sleep(float(answer.headers["Retry-After"]))
    raise AssertionError("the ports never came to rest")


async def test_64_clients_make_ports_while_subnets_come_and_go(entrances: list[Scene]) -> None:
    first = entrances[0]
    network = (await first.make("network"))["id"]
    await first.make("subnet", network_id=network, ip_version=6, cidr="2001:db8::/64")

    async def with_ports(number: int) -> None:
        """Make ports, give one another MAC address, remove one."""
        chance = random.Random(number)
        for turn in range(ROUNDS):
            s = entrances[chance.randrange(3)]
            body = {"ports": [{"network_id": network}] * 3}
            ports = (await s.ask("POST", "/ports", body, expect=201)).json()["ports"]
            mac = {"port": {"mac_address": f"fa:16:3e:{number:02x}:00:{turn:02x}"}}
            await entrances[chance.randrange(3)].ask("PUT", f"/ports/{ports[0]['id']}", mac, expect=200)
            await entrances[chance.randrange(3)].ask("DELETE", f"/ports/{ports[1]['id']}", expect=204)

    async def with_subnets(number: int) -> None:
        """Make a subnet that every port has an address of, and remove it, but for the last one."""
        body = {"network_id": network, "ip_version": 6, "cidr": f"2001:db8:{number:x}::/64", **SLAAC}
        for turn in range(ROUNDS):
            made = (await patient(entrances[number % 3], "POST", "/subnets", {"subnet": body})).json()["subnet"]
            if turn < ROUNDS - 1:
                await patient(entrances[turn % 3], "DELETE", f"/subnets/{made['id']}")

    await asyncio.gather(
        *(with_ports(number) for number in range(CLIENTS)), *(with_subnets(number) for number in range(1, 4))
    )
    await check(first, is_full=True)
    assert len(await first.store.select(Port, Query())) == CLIENTS * ROUNDS * 2
    sixth = {"network_id": network, "ip_version": 6, **SLAAC}
    answers = await asyncio.gather(
        *(
            entrances[number % 3].ask(
                "POST", "/subnets", {"subnet": {**sixth, "cidr": f"2001:db8:{number}::/64"}}
            )
            for number in range(10, 18)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [201, 201, *[409] * 6]
    assert {error_of(it)[1] for it in answers if it.status_code == 409} == {"TooManyDerivedSubnets"}
    await check(first, is_full=True)


async def test_a_subnet_that_follows_comes_to_ten_thousand_ports_and_goes(entrances: list[Scene]) -> None:
    s = entrances[0]
    await s.ask("PUT", "/quotas/blue", {"quota": {"port": -1}}, admin=True, expect=200)
    network = (await s.make("network"))["id"]
    many = {"ports": [{"network_id": network}] * 10_000}
    await s.ask("POST", "/ports", many, expect=201)
    body = {"subnet": {"network_id": network, "ip_version": 6, "cidr": "2001:db8::/64", **SLAAC}}
    made = (await s.ask("POST", "/subnets", body, expect=201)).json()["subnet"]
    await check(s, is_full=False)
    await s.ask("DELETE", f"/subnets/{made['id']}", expect=204)
    await check(s, is_full=False)
    await s.make("port", network_id=network)
    assert error_of(await s.ask("POST", "/subnets", body)) == (409, "TooManyPorts")
