"""The meters on a real switch: they come back with it, are repaired, are nobody else's, and are fenced."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import raw_packets
from ovs_scene import Scene, needs_ovs

from alcor.data_plane.ovs import endpoint
from alcor.data_plane.ovs.messages import MeterCommand
from alcor.data_plane.ovs.openflow import OpenFlowConnection
from alcor.data_plane.pipeline.flow import Meter
from alcor.data_plane.pipeline.hand_over import METERS, Reason, meter_of
from alcor.lab import namespaces
from alcor.lab.host import SWITCH
from alcor.model.errors import AlcorError

pytestmark = [pytest.mark.ovs, needs_ovs]

MARK = 0xA1C00000
FLOOD_S = 2.0


@pytest_asyncio.fixture
async def scene() -> AsyncIterator[Scene]:
    """One host with a workload."""
    async with Scene.in_lab(hosts=1, drift_every_s=0.3) as scene:
        await scene.one_network()
        await scene.port("a", "red", "10.1.0.11", 0)
        await scene.plug("a")
        yield scene


async def ofctl(scene: Scene, *words: str) -> str:
    return await asyncio.to_thread(scene.hosts[0].emulated.ofctl, *words)


async def held(scene: Scene) -> dict[int, tuple[int, int]]:
    """Read rate and burst of every meter as the switch's own tool says, by id."""
    words = (await ofctl(scene, "dump-meters")).replace("=", " ").split()
    numbers = [int(after) for word, after in itertools.pairwise(words) if word == "meter"]
    rates = [int(after) for word, after in itertools.pairwise(words) if word == "rate"]
    bursts = [int(after) for word, after in itertools.pairwise(words) if word == "burst_size"]
    return dict(zip(numbers, zip(rates, bursts, strict=True), strict=True))


OURS = {MARK | number: (meter.rate_per_s, meter.burst) for number, meter in METERS.items()}


async def until_held(scene: Scene, wanted: dict[int, tuple[int, int]]) -> None:
    async with asyncio.timeout(5):
        while await held(scene) != wanted:  # noqa: ASYNC110 - the answer comes from the switch
            await asyncio.sleep(0.05)


async def answered_of_a_flood(scene: Scene) -> int:
    """Flood with DHCP; count what reached the host's agent."""
    driver, workload = scene.hosts[0].driver, scene.workloads["a"]
    before = driver._hand_over._answers.answered + driver._hand_over._answers.dropped
    flood = raw_packets.flood_command("dhcp", FLOOD_S, f"{scene.macs['a']:x}", "10.1.0.11")
    sent = await asyncio.to_thread(namespaces.run, namespaces.inside(workload.namespace, flood))
    assert int(sent.split()[-1]) > 10_000
    await asyncio.sleep(0.2)
    return driver._hand_over._answers.answered + driver._hand_over._answers.dropped - before


LIMIT = METERS[meter_of(Reason.ANSWER, 1)]
MOST = LIMIT.burst + LIMIT.rate_per_s * (FLOOD_S + 2)  # the program that floods has to start and to end


async def test_a_flood_reaches_the_agent_as_far_as_its_meter_lets_it(scene: Scene) -> None:
    assert await held(scene) == OURS
    assert LIMIT.burst <= await answered_of_a_flood(scene) <= MOST


async def test_meters_come_back_with_the_switch(scene: Scene) -> None:
    host = scene.hosts[0]
    await asyncio.to_thread(host.emulated.kill, SWITCH)
    async with asyncio.timeout(5):
        while not host.events.losses:
            host.events.changed.clear()
            await host.events.changed.wait()
    await asyncio.to_thread(host.emulated.start_switch)
    await asyncio.wait_for(host.events.is_ready.wait(), 10.0)
    assert not await host.driver.synchronise(host.state, remove=True)
    assert await held(scene) == OURS


async def test_meters_deleted_or_changed_by_others_are_repaired_and_work(scene: Scene) -> None:
    changed = MARK | meter_of(Reason.ANSWER, 1)
    await ofctl(scene, "mod-meter", f"meter={changed},pktps,burst,bands=type=drop,rate=9999,burst_size=9999")
    await until_held(scene, OURS)
    assert await answered_of_a_flood(scene) <= MOST, "and the switch remembers what is done with such packets"
    await ofctl(scene, "del-meters")
    await until_held(scene, OURS)
    assert await answered_of_a_flood(scene) <= MOST


async def test_meters_of_others_stay_and_those_of_another_release_go(scene: Scene) -> None:
    former = MARK | 0xFFF
    for number in (7, former):
        await ofctl(scene, "add-meter", f"meter={number},pktps,burst,bands=type=drop,rate=5,burst_size=5")
    await until_held(scene, {**OURS, 7: (5, 5)})


async def test_a_writer_that_is_no_longer_master_changes_no_meter(scene: Scene) -> None:
    here = endpoint.local(scene.hosts[0].emulated.run_dir, "br-int").bridge
    lost: list[str] = []
    old, new = [
        await OpenFlowConnection.open(here, on_packet=lambda _: None, on_lost=lost.append) for _ in range(2)
    ]
    token = scene.hosts[0].driver.token
    await old.become_master(token + 1)
    await new.become_master(token + 2)
    with pytest.raises(AlcorError):
        await old.change_meters([(MeterCommand.ADD, Meter(0xFFE, 5, 5))])
    assert "another writer took the switch over" in lost[0]
    assert MARK | 0xFFE not in await held(scene)
    new.close()
