"""Two hosts with Open vSwitch and networks of IPv6: real packets, addresses set by hand."""

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from ovs_scene import OPEN, Scene, everything, needs_ovs, rule

from alcor.data_plane import frames
from alcor.lab import packets, workload
from alcor.lab.packets import Probe
from alcor.model.addressing import ip_from_text, ip_to_text, link_local_ip
from alcor.model.errors import Broken
from alcor.model.goal_state import GroupChange, group_key, router_key
from alcor.model.ids import RuleId

pytestmark = [pytest.mark.ovs, needs_ovs, pytest.mark.asyncio(loop_scope="module")]

TCP, ICMPV6 = 6, 58
RED, GREEN, BIG, WIDE = "2001:db8:0:1::", "2001:db8:0:2::", "2001:db8:0:3::", "2001:db8:0:4::"
SHARED = f"{RED}100"
A, B, C, D = f"{RED}a", f"{RED}b", f"{RED}c", f"{GREEN}d"
PORTS = {
    # name: network, address, host, groups
    "a": ("red", A, 0, (OPEN, "friends")),
    "b": ("red", B, 0, (OPEN,)),
    "c": ("red", C, 1, (OPEN,)),
    "d": ("green", D, 1, (OPEN,)),
    "e": ("red", f"{RED}e", 1, ("guarded",)),
    "f": ("red", f"{RED}f", 1, ("quick",)),
    "x": ("blue", A, 0, (OPEN,)),
    "y": ("blue", f"{RED}99", 1, (OPEN,)),
    "big": ("big", f"{BIG}a", 0, (OPEN,)),
    "far": ("big", f"{BIG}b", 1, (OPEN,)),
    "wide": ("wide", f"{WIDE}c", 1, (OPEN,)),
}
ON_DEMAND = ("big", "wide")
FIRST_TRY_S = "0.9"  # a workload asks again for a neighbour after a second
_SEND = "import socket,sys;s=socket.socket(17,3);s.bind(('eth0',0));s.send(bytes.fromhex(sys.argv[1]))"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[Scene]:
    """Red is routed to green, big to wide, both on demand; blue has red's addresses; s is a sub-port of b."""
    async with Scene.in_lab(hosts=2) as scene:
        await build(scene)
        await scene.plug(*PORTS, dhcp=False)
        await scene.plug_tagged("s", "b", 100, dhcp=False)
        for name, each in scene.workloads.items():
            await give_address(scene, name)
            assert each.namespace
        served = [each for name, each in scene.workloads.items() if name not in ("big", "far", "wide")]
        for port in (80, 81):
            await asyncio.to_thread(packets.serve, served, port)
        yield scene


async def build(scene: Scene) -> None:
    networks = {
        "red": (100, RED),
        "green": (101, GREEN),
        "blue": (200, RED),
        "big": (300, BIG),
        "wide": (301, WIDE),
    }
    for name, (vni, prefix) in networks.items():
        on_demand = name in ON_DEMAND
        await scene.network(name, vni=vni, cidr=f"{prefix}/64", gateway=f"{prefix}1", on_demand=on_demand)
    for router, joined in (("r", ("red", "green")), ("q", ON_DEMAND)):
        prefixes = {name: networks[name][1] for name in joined}
        await scene.router(router, {name: (f"{prefix}/64", f"{prefix}1") for name, prefix in prefixes.items()})
    await scene.group(OPEN, *everything(6))
    out = rule("out", ethertype=6, ingress=False)
    web = rule("web", ethertype=6, ingress=True, protocol=TCP, ports=(80, 80), remote_group="friends")
    await scene.group("guarded", web, out)
    await scene.group(
        "quick",
        rule("80", ethertype=6, ingress=True, protocol=TCP, ports=(80, 80), remote_prefix=f"{RED}a/128"),
        rule("back", ethertype=6, ingress=False, protocol=TCP),
        stateful=False,
    )
    for name, (network, ip, on, groups) in PORTS.items():
        pair = SHARED if name in "ac" else ""
        await scene.port(name, network, ip, on, groups=groups, pair=pair, told=network not in ON_DEMAND)
    await scene.port("s", "green", f"{GREEN}50", 0, tag=("b", 100))


async def give_address(scene: Scene, name: str) -> None:
    ip = ip_to_text(scene.ips[name])
    gateway = f"{ip.rpartition('::')[0]}::1" if name not in ("x", "y") else None
    each = scene.workloads[name]
    await asyncio.to_thread(workload.configure, each, address=f"{ip}/64", gateway=gateway, mtu=1450)


async def pings(scene: Scene, name: str, *arguments: str) -> bool:
    try:
        await scene.inside(name, "ping", "-n", "-6", *arguments)
    except Broken:
        return False
    return True


async def reached(scene: Scene, *probes: tuple[str, str, str, int]) -> list[bool]:
    asked = [Probe(scene.workloads[name], to_ip, kind, port) for name, to_ip, kind, port in probes]  # type: ignore[arg-type]
    return await asyncio.to_thread(packets.probe_matrix, asked)


async def agree(scene: Scene, expected: dict[tuple[str, str, str, int], bool]) -> None:
    assert dict(zip(expected, await reached(scene, *expected), strict=True)) == expected


def gateway_local(scene: Scene, network: str) -> str:
    section = scene.hosts[0].state.sections[router_key("r")]
    return next(
        ip_to_text(link_local_ip(leg.mac)) for leg in section.interfaces.values() if leg.network_id == network
    )


async def test_the_open_pairs_answer_and_only_they(scene: Scene) -> None:
    await agree(
        scene,
        {
            ("a", B, "icmp", 0): True,  # same host
            ("a", C, "icmp", 0): True,  # through the tunnel
            ("a", C, "tcp", 80): True,
            ("a", D, "icmp", 0): True,  # routed, through the tunnel
            ("d", A, "tcp", 80): True,
            ("c", D, "tcp", 80): True,  # routed on one host
            ("a", f"{RED}1", "icmp", 0): True,  # the gateway
            ("a", f"{GREEN}1", "icmp", 0): True,  # the far one
            ("a", f"{RED}1", "tcp", 80): False,
            ("a", f"{RED}99", "icmp", 0): False,  # only the other tenant has it
            ("x", f"{RED}99", "icmp", 0): True,
            ("y", A, "tcp", 80): True,
            ("x", B, "icmp", 0): False,
            ("x", D, "icmp", 0): False,  # no router
            ("s", D, "icmp", 0): True,  # a sub-port
            ("s", C, "tcp", 80): True,
            ("a", f"{GREEN}50", "tcp", 80): True,
            ("b", f"{GREEN}50", "tcp", 80): True,  # what the parent sends its sub-port
            ("a", f"{RED}e", "tcp", 80): True,  # a is a friend
            ("a", f"{RED}e", "tcp", 81): False,
            ("a", f"{RED}e", "icmp", 0): False,
            ("b", f"{RED}e", "tcp", 80): False,  # b is not
            ("e", B, "tcp", 80): True,  # replies come back: the group is stateful
            ("e", B, "icmp", 0): True,
            ("a", f"{RED}f", "tcp", 80): True,  # by its prefix, without a connection
            ("b", f"{RED}f", "tcp", 80): False,
            ("f", A, "tcp", 80): False,  # the answer is not allowed: the group is stateless
        },
    )


async def test_a_packet_of_the_full_mtu_passes_the_tunnel(scene: Scene) -> None:
    assert await pings(scene, "a", "-c", "1", "-W", "2", "-s", "1402", "-M", "do", C)


async def test_packets_in_fragments_pass(scene: Scene) -> None:
    for target in (B, C, D):
        assert await pings(scene, "a", "-c", "1", "-W", "2", "-s", "3000", target)
    assert not await pings(scene, "x", "-c", "1", "-W", "1", "-s", "3000", B)


async def test_errors_about_a_connection_reach_a_guarded_port(scene: Scene) -> None:
    """Nothing listens there: the far kernel says so (RFC 4443, section 3.1), and no rule need allow it."""
    for target in (B, D):
        assert "refused" in await scene.inside("e", sys.executable, "-c", _ASK_BY_UDP, target)


_ASK_BY_UDP = """
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.settimeout(3)
s.connect((sys.argv[1], 9))
s.send(b"anybody there?")
try:
    s.recv(1)
except ConnectionRefusedError:
    print("refused")
except TimeoutError:
    print("nothing heard")
"""


async def test_gateways_answer_ping_by_their_link_local_address(scene: Scene) -> None:
    local = gateway_local(scene, "red")
    own, beside = (f"{ip_to_text(link_local_ip(scene.macs[name]))}%eth0" for name in "ab")
    assert await pings(scene, "a", "-c", "2", "-i", "0.2", "-W", "2", f"{local}%eth0")
    assert await pings(scene, "a", "-c", "1", "-W", "2", "-I", own, f"{RED}1")
    assert not await pings(scene, "a", "-c", "1", "-W", "1", beside)


async def test_types_of_icmpv6_are_allowed_one_by_one(scene: Scene) -> None:
    for kind, is_answered in ((129, False), (128, True)):
        ping = rule(
            "ping", ethertype=6, ingress=True, protocol=ICMPV6, ports=(kind, 0), remote_prefix=f"{RED}/64"
        )
        await scene.everywhere(group_key("guarded"), GroupChange(set_rules=(ping,)))
        # For a moment after a change the datapath may still drop by what it has cached.
        tries = ("-c", "5", "-i", "0.2") if is_answered else ("-c", "1")
        assert await pings(scene, "b", *tries, "-W", "2", f"{RED}e") is is_answered
    assert not await pings(scene, "d", "-c", "1", "-W", "1", f"{RED}e"), "of another prefix"
    await scene.everywhere(group_key("guarded"), GroupChange(gone_rules=(RuleId("ping"),)))


async def test_revoking_a_rule_ends_established_connections(scene: Scene) -> None:
    each = scene.workloads["a"]
    held = await asyncio.to_thread(each.inside.hold, each.namespace, f"{RED}e", 80)
    assert held is not None
    assert await asyncio.to_thread(each.inside.talk, held, timeout_s=3.0)
    web = scene.hosts[0].state.sections[group_key("guarded")].rules[RuleId("web")]
    await scene.everywhere(group_key("guarded"), GroupChange(gone_rules=(RuleId("web"),)))
    # The datapath's cache follows the flows within milliseconds: a word or two may still pass.
    words = [await asyncio.to_thread(each.inside.talk, held, timeout_s=1.0) for _ in range(4)]
    assert words[-2:] == [False, False]
    await asyncio.to_thread(each.inside.release, held)
    await scene.everywhere(group_key("guarded"), GroupChange(set_rules=(web,)))
    assert await reached(scene, ("a", f"{RED}e", "tcp", 80)) == [True]


async def test_wrong_source_addresses_are_dropped(scene: Scene) -> None:
    await scene.inside("b", "ip", "addr", "add", f"{RED}77/64", "dev", "eth0", "nodad")
    assert not await pings(scene, "b", "-c", "2", "-i", "0.2", "-W", "1", "-I", f"{RED}77", C)
    await scene.inside("b", "ip", "addr", "del", f"{RED}77/64", "dev", "eth0")
    assert await reached(scene, ("b", C, "icmp", 0)) == [True]


async def test_duplicates_of_addresses_are_detected_and_the_own_is_none(scene: Scene) -> None:
    try:
        for ip, is_duplicate in ((B, True), (f"{RED}1", True), (A, False)):
            await scene.inside("a", "ip", "addr", "del", f"{ip}/64", "dev", "eth0") if ip == A else None
            await scene.inside("a", "ip", "addr", "add", f"{ip}/64", "dev", "eth0")
            shown = await until_decided(scene, "a", ip)
            assert ("dadfailed" in shown) is is_duplicate, shown
            if is_duplicate:
                await scene.inside("a", "ip", "addr", "del", f"{ip}/64", "dev", "eth0")
    finally:
        await give_address(scene, "a")
    assert await reached(scene, ("a", C, "icmp", 0)) == [True]


async def until_decided(scene: Scene, name: str, ip: str) -> str:
    """Wait until the kernel knows whether an address is a duplicate; give what it says of it."""
    async with asyncio.timeout(10):
        while True:
            shown = await scene.inside(name, "ip", "-6", "-o", "addr", "show", "dev", "eth0")
            [line] = [each for each in shown.splitlines() if f" {ip}/" in each]
            if "tentative" not in line or "dadfailed" in line:
                return line
            await asyncio.sleep(0.1)


async def test_nobody_speaks_for_neighbours_or_routers(scene: Scene) -> None:
    await agree(scene, {("a", f"{RED}1", "icmp", 0): True, ("b", A, "icmp", 0): True})
    before = await scene.inside("a", "ip", "-6", "neigh", "show", f"{RED}1")
    routes = await scene.inside("a", "ip", "-6", "route")
    own, victim = scene.macs["b"], scene.macs["a"]
    claim = b"\xa0\x00\x00\x00" + ip_from_text(f"{RED}1") + b"\x02\x01" + own.to_bytes(6, "big")
    router = b"\x40\x00\x07\x08" + bytes(8) + b"\x01\x01" + own.to_bytes(6, "big")
    for kind, body in ((136, claim), (134, router)):
        for source in (B, ip_to_text(link_local_ip(own))):
            frame = icmpv6_frame(victim, own, ip_from_text(source), ip_from_text(A), kind, body)
            await scene.inside("b", sys.executable, "-c", _SEND, frame.hex())
    await asyncio.sleep(0.2)
    assert lladdr(await scene.inside("a", "ip", "-6", "neigh", "show", f"{RED}1")) == lladdr(before)
    assert await scene.inside("a", "ip", "-6", "route") == routes


async def test_a_solicitation_without_option_is_answered_too(scene: Scene) -> None:
    """Whoever knows a neighbour may ask it directly without saying its own MAC address (RFC 4861, 4.3)."""
    asked = icmpv6_frame(
        scene.macs["c"], scene.macs["a"], ip_from_text(A), ip_from_text(C), 135, bytes(4) + ip_from_text(C)
    )
    answer = await scene.inside("a", sys.executable, "-c", _SEND_AND_READ, asked.hex())
    frame = bytes.fromhex(answer.strip())
    assert frame[:12] == scene.macs["a"].to_bytes(6, "big") + scene.macs["c"].to_bytes(6, "big")
    assert (frame[22:38], frame[38:54], frame[54]) == (ip_from_text(C), ip_from_text(A), 136)
    length = len(frame) - 54
    pseudo = frame[22:54] + length.to_bytes(4, "big") + b"\0\0\0" + bytes([ICMPV6])
    assert frames.checksum(pseudo + frame[54:]) == 0, "summed anew"


_SEND_AND_READ = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x86DD))
s.bind(("eth0", 0x86DD))
s.settimeout(3)
s.send(bytes.fromhex(sys.argv[1]))
while True:
    frame = s.recv(2048)
    if frame[20] == 58 and frame[54] == 136:
        print(frame.hex())
        break
"""


def icmpv6_frame(
    eth_dst: int, eth_src: int, source: bytes, destination: bytes, kind: int, body: bytes
) -> bytes:
    """Make a message of neighbour discovery; `body`: what follows its checksum."""
    message = bytes([kind, 0, 0, 0]) + body
    pseudo = source + destination + len(message).to_bytes(4, "big") + b"\0\0\0" + bytes([ICMPV6])
    message = message[:2] + frames.checksum(pseudo + message).to_bytes(2, "big") + message[4:]
    head = b"\x60\0\0\0" + len(message).to_bytes(2, "big") + bytes([ICMPV6, 255]) + source + destination
    return eth_dst.to_bytes(6, "big") + eth_src.to_bytes(6, "big") + b"\x86\xdd" + head + message


def lladdr(shown: str) -> str:
    return shown.split("lladdr")[1].split()[0]


async def test_packets_follow_whoever_announced_the_address_last(scene: Scene) -> None:
    names = ("b", "d", "s")
    for master, on in (("a", 0), ("c", 1), ("a", 0)):
        await scene.inside(master, "ip", "addr", "add", f"{SHARED}/128", "dev", "eth0", "nodad")
        await announced(scene, master, on)
        await scene.hold_address(master, SHARED)
        await agree(scene, {(name, SHARED, "icmp", 0): True for name in names})
        await scene.inside(master, "ip", "addr", "del", f"{SHARED}/128", "dev", "eth0")
        await agree(scene, {(names[0], SHARED, "icmp", 0): False})
    assert not await pings(scene, "b", "-c", "1", "-W", "1", "-I", SHARED, C), "b may not hold it"


async def announced(scene: Scene, name: str, on: int) -> None:
    """Say as a workload that the shared address is its own; wait until the driver tells of it."""
    own, mac = ip_from_text(SHARED), scene.macs[name]
    body = b"\x20\0\0\0" + own + b"\x02\x01" + mac.to_bytes(6, "big")
    frame = icmpv6_frame(0x333300000001, mac, own, ip_from_text("ff02::1"), 136, body)
    events = scene.hosts[on].events
    events.announcements.clear()
    await scene.inside(name, sys.executable, "-c", _SEND, frame.hex())
    async with asyncio.timeout(10):
        while not events.announcements:
            events.changed.clear()
            await events.changed.wait()
    assert events.announcements[0] == (name, own)


async def test_the_first_packet_waits_for_an_unknown_neighbour(scene: Scene) -> None:
    await first_ping(scene, "big", "far", ((300, "far", 0), (300, "big", 1)))


async def test_the_first_packet_waits_for_an_unknown_neighbour_behind_a_router(scene: Scene) -> None:
    assert await pings(scene, "big", "-c", "1", "-W", "2", f"{BIG}1"), "the gateway is known to the workload"
    assert await pings(scene, "wide", "-c", "1", "-W", "2", f"{WIDE}1")
    await first_ping(scene, "big", "wide", ((301, "wide", 0), (300, "big", 1)))


async def first_ping(scene: Scene, one: str, other: str, asked: tuple[tuple[int, str, int], ...]) -> None:
    """Ping once; let hosts know where ports are as soon as they ask: VNI, port, host that asks."""
    for host in scene.hosts:
        host.events.is_asking_useful = True
        host.events.asked.clear()
    ip = ip_to_text(scene.ips[other])
    ping = asyncio.create_task(pings(scene, one, "-c", "1", "-W", FIRST_TRY_S, ip))
    for vni, name, on in asked:
        events = scene.hosts[on].events
        if scene.is_told(name, on):
            continue
        async with asyncio.timeout(5):
            while (vni, scene.ips[name]) not in events.asked:
                events.changed.clear()
                await events.changed.wait()
        await scene.tell(name, on)
    assert await ping
