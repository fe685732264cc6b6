"""What a host says itself in IPv6, heard by kernels and by a DHCPv6 client: advertisements, leases, errors."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
import pytest_asyncio
from ovs_scene import OPEN, Host, Scene, hold, needs_ovs

from alcor.lab import dhcp, namespaces, packets
from alcor.lab.laboratory import Laboratory
from alcor.lab.packets import Probe
from alcor.model.addressing import Cidr, derived_ip, ip_from_text, ip_to_text, link_local_ip
from alcor.model.goal_state import (
    GroupChange,
    LocalPort,
    NetworkChange,
    NetworkEntry,
    Placement,
    RouterChange,
    RouterInterface,
    Rule,
    SubnetEntry,
    Tag,
    network_key,
    router_key,
)
from alcor.model.ids import GroupId, NetworkId, PortId, RuleId, SubnetId, Vni
from alcor.model.records import FixedIp

pytestmark = [pytest.mark.ovs, needs_ovs]

AT_ONCE_S = 6.0  # three of them are the pause that RFC 4861 asks for between two advertisements
ADDRESS_S = 10.0  # with the kernel's random delays, and detection of duplicates
RESOLVER = "2001:db8:53::53"
VNIS = {"red": 300, "green": 301, "blue": 302}


class Ipv6Scene(Scene):
    """Networks of IPv6 alone: red makes addresses itself, green has them given, blue asks for the rest."""

    def __init__(self, lab: Laboratory, **named: float) -> None:
        super().__init__(lab, **named)
        self.ips: dict[str, str] = {}

    async def build(self) -> None:
        everything = [
            Rule(RuleId(f"all-{way}"), way == "in", 6, None, None, None, None, None) for way in ("in", "out")
        ]
        await self.everywhere("group:open", GroupChange(set_rules=tuple(everything)), full=True)
        for network, mode in (("red", "slaac"), ("green", "dhcpv6-stateful"), ("blue", "dhcpv6-stateless")):
            entry = NetworkEntry(NetworkId(network), Vni(VNIS[network]), 1450, True)
            change = NetworkChange(network=entry, set_subnets=(subnet(network, mode),))
            await self.everywhere(network_key(network), change, full=True)
        for name, network, on in (
            ("a", "red", 0),
            ("b", "red", 1),
            ("c", "green", 0),
            ("d", "green", 1),
            ("e", "blue", 0),
        ):
            await self.port6(name, network, on)
        await self.port6("t", "red", 0, tag=Tag(PortId("c"), 100))

    async def port6(self, name: str, network: str, on: int, tag: Tag | None = None) -> None:
        mac = self.macs[name] = 0x02AA00000000 + len(self.macs) + 1
        prefix = Cidr.from_text(cidr_of(network)).network
        ip = prefix[:15] + bytes([mac & 0xFF]) if network == "green" else derived_ip(prefix, mac)
        self.ips[name] = ip_to_text(ip)
        fixed = (FixedIp(SubnetId(f"{network}-subnet"), ip),)
        port = LocalPort(PortId(name), mac, fixed, (GroupId(OPEN),), True, True, tag=tag)
        self._where[name] = home = self.hosts[on]
        placement = Placement(PortId(name), mac, (ip,), home.emulated.vtep, port.groups)
        for host in self.hosts:
            change = NetworkChange(set_ports=(port,) if host is home else (), set_placements=(placement,))
            await host.apply(self.update(host, network_key(network), change))

    async def join(self, *networks: str) -> None:
        """Let a router have exactly these legs."""
        change = RouterChange(set_interfaces=tuple(leg(network) for network in networks))
        await self.everywhere(router_key("r"), change, full=True)

    async def reached(self, *probes: tuple[str, str]) -> list[bool]:
        asked = [
            Probe(self.workloads[name], to_ip, kind, 80) for name, to_ip in probes for kind in ("icmp", "tcp")
        ]
        return await asyncio.to_thread(packets.probe_matrix, asked)

    async def until(self, name: str, command: str, is_so: Callable[[str], bool], *, timeout_s: float) -> float:
        """Wait until a command inside prints what it must; give how long that took."""
        began_s = time.monotonic()
        while not is_so(printed := await self.inside(name, *command.split())):
            assert time.monotonic() - began_s < timeout_s, printed
            await asyncio.sleep(0.05)
        return time.monotonic() - began_s

    def at(self, name: str) -> Host:
        return self._where[name]


def cidr_of(network: str) -> str:
    return f"2001:db8:{VNIS[network]:x}::/64"


def subnet(network: str, mode: str, resolver: str = RESOLVER) -> SubnetEntry:
    cidr = Cidr.from_text(cidr_of(network))
    gateway, dns = cidr.network[:15] + b"\x01", (ip_from_text(resolver),)
    return SubnetEntry(SubnetId(f"{network}-subnet"), tuple(cidr), gateway, True, dns, (), mode, mode)


def leg(network: str) -> RouterInterface:
    cidr = Cidr.from_text(cidr_of(network))
    ip, mac = cidr.network[:15] + b"\x01", leg_mac(network)
    return RouterInterface(
        PortId(f"leg-{network}"), NetworkId(network), Vni(VNIS[network]), tuple(cidr), ip, mac
    )


def leg_mac(network: str) -> int:
    return 0x02BB00000000 + VNIS[network]


def has_route(network: str) -> Callable[[str], bool]:
    """Is the leg the default router, and the only one?"""
    router = ip_to_text(link_local_ip(leg_mac(network)))
    return lambda routes: f"default via {router} dev eth0" in routes and routes.count("default") == 1


def has_no_route(routes: str) -> bool:
    return "default" not in routes


DEFAULT_ROUTE = "ip -6 route show default"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[Ipv6Scene]:
    async with Ipv6Scene.in_lab(hosts=2) as scene:
        await scene.build()
        await scene.plug("a", "b", "c", "d", "e", dhcp=False)
        await scene.serve(80)
        yield scene


@pytest.mark.asyncio(loop_scope="module")
async def test_kernels_make_themselves_the_addresses_of_their_ports(scene: Ipv6Scene) -> None:
    wanted = [(scene.workloads[name], scene.ips[name]) for name in ("a", "b", "e")]
    await asyncio.to_thread(scene.lab.await_slaac, wanted)
    shown = await scene.inside("a", "ip", "-6", "addr", "show", "dev", "eth0", "scope", "global")
    assert f"inet6 {scene.ips['a']}/64" in shown
    assert shown.count("inet6") == 1
    assert has_no_route(await scene.inside("a", *DEFAULT_ROUTE.split())), "nobody is a router yet"
    assert f"{cidr_of('red')} dev eth0 proto kernel" in await scene.inside("a", "ip", "-6", "route")
    mtu = await scene.inside("a", "cat", "/proc/sys/net/ipv6/conf/eth0/mtu")
    assert mtu.strip() == "1450"


@pytest.mark.asyncio(loop_scope="module")
async def test_a_client_is_given_the_address_of_its_port(scene: Ipv6Scene) -> None:
    wanted = [(scene.workloads[name], scene.ips[name]) for name in ("c", "d")]
    await asyncio.to_thread(scene.lab.configure_by_dhcpv6, wanted)
    lease = scene.lab.dhcp_files.leases_v6(scene.workloads["c"]).read_text()
    assert f"option dhcp6.name-servers {RESOLVER};" in lease
    shown = await scene.inside("c", "ip", "-6", "addr", "show", "dev", "eth0", "scope", "global")
    assert shown.count("inet6") == 1, "no address of its own making"
    assert f"{cidr_of('green')} dev eth0 proto kernel" in await scene.inside("c", "ip", "-6", "route")


@pytest.mark.asyncio(loop_scope="module")
async def test_a_client_that_starts_again_keeps_its_address(scene: Ipv6Scene) -> None:
    workload = scene.workloads["c"]
    await scene.inside("c", "ip", "-6", "addr", "del", f"{scene.ips['c']}/128", "dev", "eth0")
    await asyncio.to_thread(scene.lab.configure_by_dhcpv6, [(workload, scene.ips["c"])])  # confirms its lease
    lease = scene.lab.dhcp_files.leases_v6(workload).read_text()
    assert {line.split()[1] for line in lease.splitlines() if line.strip().startswith("iaaddr")} == {
        scene.ips["c"]
    }


@pytest.mark.asyncio(loop_scope="module")
async def test_who_makes_its_address_itself_asks_for_the_rest(scene: Ipv6Scene) -> None:
    workload, files = scene.workloads["e"], scene.lab.dhcp_files
    leases = files.leases_v6(workload)
    command = [
        "dhclient",
        "-6",
        "-S",
        "-1",
        "-d",
        "-D",
        "LL",
        "-cf",
        str(files.settings_v6),
        "-lf",
        str(leases),
    ]
    script = files.script_v6.with_name("information")
    script.write_text(f'#!/bin/busybox sh\necho "$reason $new_dhcp6_name_servers" >>{leases}.said\n')
    script.chmod(0o755)
    command += ["-pf", str(leases.with_suffix(".pid")), "-sf", str(script), "eth0"]
    client = dhcp._run(workload, command)
    try:
        said = leases.with_name(f"{leases.name}.said")
        deadline = time.monotonic() + ADDRESS_S
        while not (said.exists() and RESOLVER in said.read_text()):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    finally:
        client.kill()
        client.wait()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_router_that_joins_is_known_at_once(scene: Ipv6Scene) -> None:
    await scene.join("red", "green")
    for name, network in (("a", "red"), ("b", "red"), ("c", "green"), ("d", "green")):
        await scene.until(name, DEFAULT_ROUTE, has_route(network), timeout_s=AT_ONCE_S)
    route = await scene.inside("a", *DEFAULT_ROUTE.split())
    expires_s = int(route.split("expires ")[1].split("sec")[0])
    assert expires_s > 18 * 3_600, "an agent may be away for long"
    assert has_no_route(await scene.inside("e", *DEFAULT_ROUTE.split())), "the router is not on that network"


@pytest.mark.asyncio(loop_scope="module")
async def test_packets_go_where_advertisements_say(scene: Ipv6Scene) -> None:
    probes = [(name, scene.ips[other]) for name in "abcd" for other in "abcd" if name != other]
    assert await scene.reached(*probes) == [True] * len(probes) * 2


@pytest.mark.asyncio(loop_scope="module")
async def test_a_router_on_the_way_answers_an_expired_packet(scene: Ipv6Scene) -> None:
    with pytest.raises(Exception, match=r"2001:db8:12c::1 .*Time exceeded: Hop limit"):
        await scene.inside("a", "ping", "-6", "-c", "1", "-W", "2", "-t", "1", scene.ips["d"])


@pytest.mark.asyncio(loop_scope="module")
async def test_who_solicits_is_answered(scene: Ipv6Scene) -> None:
    answered = scene.at("b").driver._hand_over._answers.answered
    await scene.inside("b", "ip", "link", "set", "eth0", "down")  # takes addresses and routes along
    await scene.inside("b", "ip", "link", "set", "eth0", "up")
    await scene.until("b", DEFAULT_ROUTE, has_route("red"), timeout_s=ADDRESS_S)
    assert scene.at("b").driver._hand_over._answers.answered > answered
    await asyncio.to_thread(scene.lab.await_slaac, [(scene.workloads["b"], scene.ips["b"])])


@pytest.mark.asyncio(loop_scope="module")
async def test_a_sub_port_hears_its_own_network_under_its_tag(scene: Ipv6Scene) -> None:
    args = {"port_id": "t", "mac": scene.macs["t"], "vlan": 100}
    made = await asyncio.to_thread(scene.lab.add_tagged, scene.workloads["c"], **args)
    scene.workloads["t"] = made
    await scene.until("t", DEFAULT_ROUTE, has_route("red"), timeout_s=ADDRESS_S)
    await asyncio.to_thread(scene.lab.await_slaac, [(made, scene.ips["t"])])
    assert await scene.reached(("t", scene.ips["b"])) == [True, True]


@pytest.mark.asyncio(loop_scope="module")
async def test_another_workload_at_the_same_port_is_told_at_once(scene: Ipv6Scene) -> None:
    before = scene.workloads["b"]
    host = scene.at("b").emulated
    await asyncio.to_thread(host.vsctl, ["del-port", "br-int", before.device])
    await scene.plug("b", dhcp=False)
    await asyncio.to_thread(packets.serve, [scene.workloads["b"]], 80)
    await scene.until("b", DEFAULT_ROUTE, has_route("red"), timeout_s=AT_ONCE_S)
    await asyncio.to_thread(scene.lab.await_slaac, [(scene.workloads["b"], scene.ips["b"])])


LISTENER = """
import socket, sys
sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
sock.settimeout(float(sys.argv[2]))
print("listening", flush=True)
while bytes.fromhex(sys.argv[1]) not in sock.recv(2048):
    pass
"""


@pytest.mark.asyncio(loop_scope="module")
async def test_a_subnet_that_changes_is_told_at_once(scene: Ipv6Scene) -> None:
    resolver = "2001:db8:53::54"
    command = [sys.executable, "-c", LISTENER, ip_from_text(resolver).hex(), str(AT_ONCE_S)]
    line = namespaces.inside(scene.workloads["a"].namespace, command)
    listener = await asyncio.create_subprocess_exec(*line, stdout=asyncio.subprocess.PIPE)
    assert listener.stdout is not None
    assert await listener.stdout.readline() == b"listening\n"
    await scene.everywhere(network_key("red"), NetworkChange(set_subnets=(subnet("red", "slaac", resolver),)))
    assert await listener.wait() == 0


@pytest.mark.asyncio(loop_scope="module")
async def test_what_was_told_stays_while_no_agent_is_there(scene: Ipv6Scene) -> None:
    await asyncio.gather(*(host.driver.close() for host in scene.hosts))
    try:
        assert await scene.reached(("a", scene.ips["d"]), ("c", scene.ips["b"])) == [True] * 4
        assert has_route("red")(await scene.inside("a", *DEFAULT_ROUTE.split()))
    finally:
        for host in scene.hosts:
            host.start_driver()
            await host.start()
    await scene.until("a", DEFAULT_ROUTE, has_route("red"), timeout_s=0.1)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_router_that_leaves_is_forgotten_at_once(scene: Ipv6Scene) -> None:
    await scene.join("green")
    for name in ("a", "b"):
        await scene.until(name, DEFAULT_ROUTE, has_no_route, timeout_s=AT_ONCE_S)
    assert has_route("green")(await scene.inside("c", *DEFAULT_ROUTE.split()))
    shown = await scene.inside("a", "ip", "-6", "addr", "show", "dev", "eth0", "scope", "global")
    assert f"inet6 {scene.ips['a']}/64" in shown, "its subnet is still there"
    assert "deprecated" not in shown
    assert await scene.reached(("a", scene.ips["b"])) == [True, True]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_router_that_left_while_no_agent_was_there_is_forgotten(scene: Ipv6Scene) -> None:
    await scene.join("red", "green")
    for name in ("a", "b"):
        await scene.until(name, DEFAULT_ROUTE, has_route("red"), timeout_s=AT_ONCE_S)
    await asyncio.gather(*(host.driver.close() for host in scene.hosts))
    for host in scene.hosts:
        hold(
            host.state,
            scene.update(host, router_key("r"), RouterChange(set_interfaces=(leg("green"),)), full=True),
        )
        host.start_driver()  # which knows no more than what is on the switch
        await host.start()
    for name in ("a", "b"):
        await scene.until(name, DEFAULT_ROUTE, has_no_route, timeout_s=AT_ONCE_S)
    assert has_route("green")(await scene.inside("c", *DEFAULT_ROUTE.split()))


@pytest.mark.asyncio(loop_scope="module")
async def test_an_address_of_a_subnet_that_goes_is_not_used_any_longer(scene: Ipv6Scene) -> None:
    section = scene.at("a").state.sections[network_key("red")]
    ports = {port.id: msgspec.structs.replace(port, fixed_ips=()) for port in section.ports.values()}
    for host in scene.hosts:
        mine = tuple(
            ports[port_id] for port_id in host.state.sections[network_key("red")].ports if port_id in ports
        )
        change = NetworkChange(gone_subnets=(SubnetId("red-subnet"),), set_ports=mine)
        await host.apply(scene.update(host, network_key("red"), change))
    show = "ip -6 addr show dev eth0 scope global"
    await scene.until("a", show, lambda shown: "deprecated" in shown, timeout_s=AT_ONCE_S)
    assert cidr_of("red") not in await scene.inside("a", "ip", "-6", "route", "show", "proto", "kernel")
