"""Subnet pools among processes: no prefix twice, none lost, under many clients of several stores."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from alcor.adapters.postgres.store import PostgresStore
from alcor.model import prefixes
from alcor.model.addressing import Cidr
from alcor.model.records import SubnetPool
from alcor.runtime import event_log
from alcor.runtime.clock import SystemClock
from api_scene import Scene, error_of, stored_scene

CLIENTS = 32
ROUNDS = 3


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


async def test_32_clients_of_three_processes_share_a_pool_to_its_last_prefix(entrances: list[Scene]) -> None:
    first = entrances[0]
    pool = await first.make("subnetpool", name="p", prefixes=["10.0.0.0/22"], default_prefixlen=27)
    room = CLIENTS  # 10.0.0.0/22 holds as many /27
    networks = [(await first.make("network"))["id"] for _ in range(CLIENTS)]

    async def client(number: int) -> None:
        """Take a prefix and give it back, again and again, and keep the last one."""
        s = entrances[number % 3]
        body = {"subnet": {"network_id": networks[number], "ip_version": 4, "subnetpool_id": pool["id"]}}
        for turn in range(ROUNDS):
            made = (await s.ask("POST", "/subnets", body, expect=201)).json()["subnet"]
            if turn < ROUNDS - 1:
                await entrances[(number + turn) % 3].ask("DELETE", f"/subnets/{made['id']}", expect=204)

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    held: list[dict[str, Any]] = (await first.ask("GET", f"/subnets?subnetpool_id={pool['id']}")).json()[
        "subnets"
    ]
    ranges = [Cidr.from_text(subnet["cidr"]) for subnet in held]
    assert len(ranges) == room
    assert prefixes.compact(ranges) == (Cidr.from_text("10.0.0.0/22"),), "one was given twice"
    for number, s in enumerate(entrances):
        more = {"subnet": {"network_id": networks[number], "ip_version": 4, "subnetpool_id": pool["id"]}}
        assert error_of(await s.ask("POST", "/subnets", more)) == (409, "SubnetAllocationError")
    stored = (await first.store.get(SubnetPool, [pool["id"]]))[pool["id"]]
    assert stored.free == ()
    await asyncio.gather(
        *(
            entrances[number % 3].ask("DELETE", f"/networks/{id_}", expect=204)
            for number, id_ in enumerate(networks)
        )
    )
    await first.ask("DELETE", f"/subnetpools/{pool['id']}", expect=204)
