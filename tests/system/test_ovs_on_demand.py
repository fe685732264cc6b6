"""Two hosts with Open vSwitch in networks that are asked for: real packets, and the first one counts."""

import asyncio
import re
import sys
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import raw_packets
from asking_scene import FIRST_TRY_S, Scene
from ovs_scene import needs_ovs

from alcor.data_plane.ovs.encoding import FlowEncoder
from alcor.data_plane.pipeline.tables import Table
from alcor.lab import packets
from alcor.lab import workload as workloads
from alcor.lab.laboratory import Laboratory
from alcor.model.addressing import ip_to_text
from alcor.model.ids import HostId
from doubles.asking_region import gateway
from doubles.waiting import eventually

pytestmark = [pytest.mark.ovs, needs_ovs]

SCAN_S = 4.0
SAID, TOLD_AT = 20, 5005
LISTEN = (
    "import socket; it = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
    f" it.bind(('', {TOLD_AT})); [it.recv(9) for _ in range({SAID})]"
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[Scene]:
    """Tenant red: a, b, scanner on the first host, c, d, e on the second. Tenant blue: x, and y, z."""
    with Laboratory(hosts=2) as lab:
        one, two = (host.name for host in lab.hosts)
        scene = Scene(lab)
        try:
            await scene.start_in_lab()
            await scene.add_network(2)
            await scene.create(a=one, b=one, scanner=one, c=two, d=two, e=two)
            await scene.create(net=2, x=one, y=two, z=two, blue1=one, blue2=two)
            await scene.plug("a", "b", "scanner", "c", "d", "e", "x", "y", "z", "blue1", "blue2")
            await asyncio.to_thread(packets.serve, list(scene.plugged.values()), 80)
            # The userspace datapath drops what it sends to a host whose MAC address it must resolve first.
            while not await scene.ping("blue1", scene.ip("blue2")):
                pass
            yield scene
        finally:
            await scene.stop()


@pytest.mark.asyncio(loop_scope="module")
async def test_the_first_ping_to_an_unknown_neighbour_is_answered(scene: Scene) -> None:
    one, two = scene.hosts
    assert not scene.knows(one, "c")
    assert await scene.ping("a", scene.ip("c"))
    assert scene.knows(one, "c")
    assert scene.knows(two, "a"), "the answer had to find its way too"
    assert not scene.knows(one, "d"), "nobody asked"
    scene.check()


@pytest.mark.asyncio(loop_scope="module")
async def test_the_first_connection_to_an_unknown_neighbour_opens_without_retry(scene: Scene) -> None:
    one = next(iter(scene.hosts))
    assert not scene.knows(one, "d")
    await scene.inside("b", "timeout", FIRST_TRY_S, "bash", "-c", f"exec 3<>/dev/tcp/{scene.ip('d')}/80")
    assert scene.knows(one, "d")


@pytest.mark.asyncio(loop_scope="module")
async def test_an_address_that_the_workload_still_knows_is_asked_for_by_its_packet(scene: Scene) -> None:
    one = next(iter(scene.hosts))
    assert await scene.ping("a", scene.ip("c"))
    learned = scene.controller._compiler.interest.learned
    await scene.forgets(one, "c")
    assert not learned.has(HostId(one), scene.ports["c"].id)
    assert await scene.ping("a", scene.ip("c")), "the workload does not resolve anew"
    assert scene.knows(one, "c")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_neighbour_that_moves_is_followed_and_one_that_goes_is_forgotten(scene: Scene) -> None:
    one, two = scene.hosts
    assert await scene.ping("a", scene.ip("e"))
    await scene.bind("e", one)
    await asyncio.to_thread(workloads.unplug, [scene.plugged.pop("e")])
    await scene.plug("e")
    assert await scene.ping("a", scene.ip("e"))
    await scene.bind("e", two)
    assert scene.knows(one, "e") is False, "its own port no longer, and nobody asked since"
    await asyncio.to_thread(workloads.unplug, [scene.plugged.pop("e")])
    await scene.plug("e")
    assert await scene.ping("a", scene.ip("e"))
    gone = scene.ports["e"]
    await scene.delete("e")
    assert gone.id not in scene.placements(one)
    assert not await scene.ping("a", ip_to_text(gone.fixed_ips[0].ip))
    scene.check()


@pytest.mark.asyncio(loop_scope="module")
async def test_the_first_routed_ping_is_answered(scene: Scene) -> None:
    one, two = scene.hosts
    await scene.join(1, 2)
    for name in ("b", "y"):
        hop = ip_to_text(gateway(1 if name == "b" else 2))
        await scene.inside(name, "ip", "route", "add", "default", "via", hop)
    assert not scene.knows(one, "y")
    assert await scene.ping("b", scene.ip("y"))
    assert scene.knows(one, "y")
    assert scene.knows(two, "b")
    scene.check()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_rule_about_members_lets_in_a_sender_that_was_not_known(scene: Scene) -> None:
    one, two = scene.hosts
    await scene.create(groups=("guarded",), server=two)
    await scene.create(member=one)
    await scene.create(groups=("alone",), stranger=one)
    await scene.plug("server", "member", "stranger")
    await asyncio.to_thread(packets.serve, [scene.plugged["server"]], 80)
    assert not scene.knows(two, "member")
    await scene.inside(
        "member", "timeout", FIRST_TRY_S, "bash", "-c", f"exec 3<>/dev/tcp/{scene.ip('server')}/80"
    )
    assert scene.knows(two, "member")
    assert not await scene.ping("stranger", scene.ip("server"))
    assert scene.knows(two, "stranger"), "asked for, and no member"
    await scene.forgets(two, "member")
    assert await scene.ping("member", scene.ip("server"))
    scene.check()


@pytest.mark.asyncio(loop_scope="module")
async def test_no_counter_tells_that_a_sender_who_hears_nothing_is_needed(scene: Scene) -> None:
    """Why placements do not go when their flows have not counted for a while (decision 7)."""
    one, two = scene.hosts
    await scene.create(groups=("guarded",), listener=two)
    await scene.create(teller=one)
    await scene.plug("listener", "teller")
    listening = asyncio.create_task(scene.inside("listener", "timeout", "10", sys.executable, "-c", LISTEN))

    async def listens() -> bool:
        return f":{TOLD_AT}" in await scene.inside("listener", "ss", "-Huln")

    await eventually(listens)  # a refusal would be an answer, which counts
    say = f"for n in {{1..{SAID}}}; do echo > /dev/udp/{scene.ip('listener')}/{TOLD_AT}; sleep 0.02; done"
    await scene.inside("teller", "bash", "-c", say)
    await listening
    assert scene.knows(two, "teller")
    program, encoder = scene.drivers[two]._program, FlowEncoder()
    assert program is not None
    teller = scene.ports["teller"].id
    about_it = [flow for flow in program.wanted() if teller in flow.origin.split()]
    assert {flow.key.table for flow in about_it} >= {Table.REMOTE, Table.INGRESS_RULES}
    await asyncio.to_thread(scene.hosts[two].appctl, "revalidator/purge")  # counters follow after a moment
    text = await asyncio.to_thread(scene.hosts[two].ofctl, "dump-flows", statistics=True)
    counted = {
        int(cookie, 16): (int(table), int(packets))
        for cookie, table, packets in re.findall(r"cookie=(\w+), .*?table=(\d+), n_packets=(\d+)", text)
    }
    assert {counted[encoder.add(flow)[0]][1] for flow in about_it} == {0}
    assert max(packets for table, packets in counted.values() if table == Table.INGRESS_ACCEPT) >= SAID - 1


@pytest.mark.asyncio(loop_scope="module")
async def test_a_scan_is_limited_and_delays_no_other_tenant(scene: Scene) -> None:
    one = next(iter(scene.hosts))
    port = scene.ports["scanner"]
    asked = scene.controller.look_ups.absent
    started = time.monotonic()
    flood = raw_packets.flood_command("arp", SCAN_S, f"{port.mac:x}", scene.ip("scanner"))
    scan = asyncio.create_task(scene.inside("scanner", *flood))
    await eventually(lambda: scene.controller.look_ups.absent > asked + 100, timeout_s=5)
    pinged = time.monotonic()
    assert not scene.knows(one, "z")
    assert await scene.ping("x", scene.ip("z"))
    assert time.monotonic() - pinged < 0.9, "a ping of another tenant, its process's start included"
    scanned = int((await scan).split()[-1])
    took_s = time.monotonic() - started
    allowed = 400 + 200 * (took_s + 1)
    assert scene.controller.look_ups.absent - asked < allowed < scanned
    assert scene.drivers[one]._hand_over._asking.addresses < 70, "64 of the scanner, and what others wait for"
    scene.check()
