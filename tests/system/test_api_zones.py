"""Availability zones: hints are zones that hosts are in, and every zone has what networks and routers need."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from alcor.contracts.memory_store import MemoryStore
from alcor.contracts.store import Write
from alcor.management_plane.zones import ZoneBook
from alcor.model import errors
from alcor.model.ids import HostId, ProjectId, RequestId
from alcor.model.records import Host, RecordSet
from api_scene import ADMIN, Scene, error_of, scene

KINDS = ("network", "router")


@pytest.fixture
async def s() -> AsyncIterator[Scene]:
    async with scene() as opened:
        await opened.add_dead_host("far-1", zone="far")
        await opened.add_dead_host("near-1", zone="near")
        yield opened


@pytest.mark.parametrize("kind", KINDS)
async def test_hints_are_kept_and_every_zone_with_hosts_is_named(s: Scene, kind: str) -> None:
    made = await s.make(kind, availability_zone_hints=["near"])
    assert (made["availability_zone_hints"], made["availability_zones"]) == (["near"], ["far", "near"])
    plain = await s.make(kind)
    assert (plain["availability_zone_hints"], plain["availability_zones"]) == ([], ["far", "near"])
    await s.add_dead_host("new-1", zone="new")
    listed = (await s.ask("GET", f"/{kind}s?id={made['id']}")).json()[f"{kind}s"]
    assert listed[0]["availability_zones"] == ["far", "near", "new"], "as it is now"
    (agent,) = (await s.ask("GET", "/agents?host=new-1", admin=True)).json()["agents"]
    await s.ask("DELETE", f"/agents/{agent['id']}", admin=True, expect=204)
    shown = (await s.ask("GET", f"/{kind}s/{made['id']}")).json()[kind]
    assert shown["availability_zones"] == ["far", "near"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_zone_without_hosts_is_not_found_and_nothing_is_made(s: Scene, kind: str) -> None:
    asks = [{"availability_zone_hints": ["near"]}, {"availability_zone_hints": ["near", "nowhere"]}]
    refused = await s.ask("POST", f"/{kind}s", {f"{kind}s": asks})
    assert error_of(refused) == (404, "AvailabilityZoneNotFound")
    assert "AvailabilityZone nowhere could not be found." in refused.text
    assert (await s.ask("GET", f"/{kind}s")).json()[f"{kind}s"] == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", ["near", [5], ["near", "near"], ["x" * 260], {}, None])
async def test_hints_that_cannot_be_are_refused(s: Scene, kind: str, wrong: Any) -> None:
    refused = await s.ask("POST", f"/{kind}s", {kind: {"availability_zone_hints": wrong}})
    assert error_of(refused) == (400, "HTTPBadRequest")
    made = await s.make(kind)
    changed = await s.ask("PUT", f"/{kind}s/{made['id']}", {kind: {"availability_zone_hints": ["near"]}})
    assert error_of(changed) == (400, "HTTPBadRequest"), "as in Neutron: only when it is made"


async def test_zones_are_listed_for_both_kinds_with_whether_a_host_is_alive(s: Scene) -> None:
    s.convergence.add_host("near-2", zone="near")
    zones = (await s.ask("GET", "/availability_zones?resource=router", headers=ADMIN)).json()
    assert [(zone["name"], zone["state"]) for zone in zones["availability_zones"]] == [
        ("far", "unavailable"),
        ("near", "available"),
    ]
    assert len((await s.ask("GET", "/availability_zones")).json()["availability_zones"]) == 4


def host(number: int, zone: str) -> Host:
    name = HostId(f"host-{number:05}")
    return Host(id=name, project_id=ProjectId(""), vtep=number.to_bytes(4, "big"), zone=zone, revision_number=1)


class CountingStore(MemoryStore):
    """Counts how often hosts are read."""

    reads = 0

    async def select(self, kind: Any, query: Any) -> Any:
        self.reads += 1
        return await super().select(kind, query)


async def test_hosts_are_read_once_however_many_there_are_and_followed_from_then_on() -> None:
    store = CountingStore()
    book = ZoneBook(store)
    hosts = tuple(host(number, f"zone-{number % 3}") for number in range(10_500))
    await store.commit(
        Write(request_id=RequestId("r"), project_id=ProjectId(""), inserts=RecordSet(hosts=hosts))
    )
    assert await book.names() == ("zone-0", "zone-1", "zone-2")
    assert store.reads == 2, "two pages"
    moved = tuple(host(each, "zone-1") for each in range(0, 10_500, 3))
    write = Write(request_id=RequestId("r"), project_id=ProjectId(""), updates=RecordSet(hosts=moved))
    await store.commit(write)
    assert await book.names() == ("zone-1", "zone-2")
    assert store.reads == 2
    with pytest.raises(errors.Missing):
        await book.require(["zone-1", "zone-0"])
