"""What becomes of a host when its driver, its switch or its flows go: forwarding comes back by itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from ovs_scene import Scene, leftovers, needs_ovs

from alcor.lab import packets, workload
from alcor.lab.host import DATABASE, SWITCH
from alcor.lab.packets import Probe
from alcor.model.goal_state import NetworkChange, network_key
from alcor.model.ids import PortId
from doubles.waiting import eventually

pytestmark = [pytest.mark.ovs, needs_ovs]


@pytest_asyncio.fixture
async def scene() -> AsyncIterator[Scene]:
    """One host with two workloads that may talk."""
    async with Scene.in_lab(hosts=1, drift_every_s=0.3) as scene:
        await scene.one_network()
        await scene.port("a", "red", "10.1.0.11", 0)
        await scene.port("b", "red", "10.1.0.12", 0)
        await scene.plug("a", "b")
        await scene.serve(80)
        yield scene
    assert leftovers(scene.lab) == []


async def pings(scene: Scene) -> bool:
    probe = Probe(scene.workloads["a"], "10.1.0.12", "icmp")
    return (await asyncio.to_thread(packets.probe_matrix, [probe]))[0]


async def flows(scene: Scene) -> list[str]:
    text = await asyncio.to_thread(scene.hosts[0].emulated.ofctl, "dump-flows")
    return sorted(line for line in text.splitlines() if "cookie=0xa1c0" in line)


async def hold(scene: Scene) -> Callable[[], Awaitable[bool]]:
    """Open a TCP connection from a to b; the result asks whether it still works."""
    inside, namespace = scene.lab.inside, scene.workloads["a"].namespace
    held = await asyncio.to_thread(inside.hold, namespace, "10.1.0.12", 80)
    assert held is not None
    return lambda: asyncio.to_thread(inside.talk, held, timeout_s=3.0)


async def test_a_new_driver_keeps_connections_and_changes_no_flow(scene: Scene) -> None:
    talks = await hold(scene)
    host = scene.hosts[0]
    before = await flows(scene)
    await eventually(lambda: _keys_recorded(scene))
    await host.driver.close()
    assert await talks()
    host.start_driver()
    await host.start()
    assert await flows(scene) == before
    assert host.driver.plugged_ports() == ["a", "b"]
    assert host.events.plugs == {"a", "b"}
    assert await talks()


async def _keys_recorded(scene: Scene) -> bool:
    text = await asyncio.to_thread(
        scene.hosts[0].emulated.vsctl, ["--columns=external_ids", "list", "interface"]
    )
    return text.count("alcor-port-key") == 2


async def test_flows_deleted_or_changed_by_others_are_repaired(scene: Scene) -> None:
    before = await flows(scene)
    ofctl = scene.hosts[0].emulated.ofctl
    await asyncio.to_thread(ofctl, "del-flows", "table=50")
    await asyncio.to_thread(ofctl, "add-flow", "cookie=0xa1c0000000000001,table=60,priority=999,actions=drop")
    await asyncio.to_thread(ofctl, "add-flow", "table=72,priority=998,ip,actions=drop")

    async def repaired() -> bool:
        return await flows(scene) == before

    await eventually(lambda: _logged(scene, "drift_repaired"))
    await eventually(repaired)
    dump = await asyncio.to_thread(ofctl, "dump-flows", "table=72")
    assert "priority=998" in dump, "what does not carry our mark is not ours to delete"


async def _logged(scene: Scene, event: str) -> bool:
    return event in scene.hosts[0].log.getvalue()


async def test_a_killed_switch_gets_its_flows_back(scene: Scene) -> None:
    host = scene.hosts[0]
    before = await flows(scene)
    await asyncio.to_thread(host.emulated.kill, SWITCH)
    await eventually(lambda: _lost(scene))
    await asyncio.to_thread(host.emulated.start_switch)
    await asyncio.wait_for(host.events.is_ready.wait(), 10.0)
    assert not await host.driver.synchronise(host.state, remove=True)
    assert await flows(scene) == before
    assert await pings(scene)


async def test_a_killed_database_ends_no_connection(scene: Scene) -> None:
    talks = await hold(scene)
    assert await talks()
    host = scene.hosts[0]
    before = await flows(scene)
    await asyncio.to_thread(host.emulated.kill, DATABASE)
    await eventually(lambda: _lost(scene))
    # Until it is back nothing is forwarded here: a userspace datapath without threads of its own stands still.
    await asyncio.to_thread(host.emulated.start_database)
    await asyncio.wait_for(host.events.is_ready.wait(), 10.0)
    assert not await host.driver.synchronise(host.state, remove=True)
    assert await flows(scene) == before
    await eventually(talks, timeout_s=15.0)


async def _lost(scene: Scene) -> bool:
    return scene.hosts[0].events.losses == 1


async def test_unplugging_is_told_and_plugging_again_too(scene: Scene) -> None:
    host = scene.hosts[0]
    await asyncio.to_thread(workload.unplug, [scene.workloads["b"]])
    await eventually(lambda: _plugged(scene, ["a"]))
    assert not await pings(scene)
    await asyncio.to_thread(workload.plug, [scene.workloads["b"]])
    await eventually(lambda: _plugged(scene, ["a", "b"]))
    assert host.events.history[-2:] == ["-b", "+b"]
    assert await pings(scene)


async def _plugged(scene: Scene, names: list[str]) -> bool:
    return list(scene.hosts[0].driver.plugged_ports()) == names


async def test_a_workload_may_come_before_its_port(scene: Scene) -> None:
    scene.macs["late"] = 0x02AA00000003
    plan = workload.WorkloadPlan("late", scene.macs["late"], scene.hosts[0].emulated)
    await asyncio.to_thread(scene.lab.add_workloads, [plan])
    await asyncio.sleep(0.2)
    assert "late" not in scene.hosts[0].events.plugs
    del scene.macs["late"]
    await scene.port("late", "red", "10.1.0.13", 0)
    await scene.hosts[0].events.until_plugged(["late"])


async def test_what_is_not_named_stays_until_the_state_is_complete(scene: Scene) -> None:
    host = scene.hosts[0]
    before = set(await flows(scene))
    update = scene.update(host, network_key("red"), NetworkChange(gone_ports=(PortId("b"),)))
    await host.driver.close()
    host.state.versions[update.key] = update.version
    host.state.sections[update.key].ports.pop(PortId("b"))  # type: ignore[union-attr]
    host.start_driver()
    await host.driver.start(host.events)
    await host.events.is_ready.wait()
    await host.driver.synchronise(host.state, remove=False)
    assert before <= set(await flows(scene))
    await host.driver.synchronise(host.state, remove=True)
    assert len(await flows(scene)) < len(before)


async def test_a_workload_that_was_plugged_anew_while_nobody_looked_is_told_anew(scene: Scene) -> None:
    host, workload_a = scene.hosts[0], scene.workloads["a"]
    told = host.events.history.count("+a")
    workload.unplug([workload_a])  # in the driver's own thread: it sees the end only
    workload.plug([workload_a])

    async def told_anew() -> bool:
        return host.events.history.count("+a") == told + 1

    await eventually(told_anew)
    assert "-a" not in host.events.history
    await eventually(lambda: pings(scene))
