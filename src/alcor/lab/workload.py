"""Workloads: a namespace each, with a veth plugged into the integration bridge of its host."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from alcor.lab import namespaces
from alcor.lab.host import EmulatedHost
from alcor.lab.inside_client import InsideClient
from alcor.model.addressing import mac_to_text
from alcor.model.errors import Broken

BRIDGE = "br-int"
DHCP_S = 30.0

# What udhcpc runs when something becomes of its lease; only what the server says is set.
DHCP_SCRIPT = """#!/bin/busybox sh
case "$1" in
  deconfig) busybox ip addr flush dev "$interface" ;;
  bound|renew)
    [ -n "$mtu" ] && busybox ip link set dev "$interface" mtu "$mtu"
    busybox ip addr flush dev "$interface"
    busybox ip addr add "$ip/$mask" dev "$interface"
    for gateway in $router; do
      busybox ip route replace default via "$gateway" dev "$interface" && break
    done
    set -- $staticroutes
    while [ $# -ge 2 ]; do
      [ "$2" = 0.0.0.0 ] || busybox ip route replace "$1" via "$2" dev "$interface"
      shift 2
    done ;;
esac
exit 0
"""


class WorkloadPlan(msgspec.Struct, frozen=True):
    """A workload to make: which port it plugs into, on which host, with which MAC address."""

    port_id: str
    mac: int
    host: EmulatedHost


class Workload(msgspec.Struct, frozen=True):
    """A workload that exists. Its device in the host's namespace is `device`, inside it is `eth0`."""

    port_id: str
    mac: int
    host: EmulatedHost
    namespace: str
    device: str
    inside: InsideClient


def create(plans: Sequence[WorkloadPlan], *, prefix: str, first: int, inside: InsideClient) -> list[Workload]:
    """Make namespaces and devices, not plugged yet. `first`: number of the first, unique in the lab."""
    workloads = [
        Workload(plan.port_id, plan.mac, plan.host, f"{prefix}-w{number}", f"w{number}", inside)
        for number, plan in enumerate(plans, first)
    ]
    namespaces.batch([f"netns add {workload.namespace}" for workload in workloads])
    for host, of_host in by_host(workloads):
        lines = []
        for workload in of_host:
            peer = f"eth0 netns {workload.namespace} address {mac_to_text(workload.mac)}"
            lines.append(f"link add {workload.device} type veth peer name {peer}")
            lines.append(f"link set {workload.device} up")
        namespaces.batch(lines, namespace=host.namespace)
    inside.prepare([workload.namespace for workload in workloads])
    return workloads


def create_tagged(parent: Workload, *, port_id: str, mac: int, vlan: int, prefix: str, number: int) -> Workload:
    """Make a namespace whose `eth0` is a VLAN of the parent's: the workload of a sub-port."""
    namespace = f"{prefix}-w{number}"
    namespaces.batch([f"netns add {namespace}"])
    peer = f"eth0 netns {namespace} address {mac_to_text(mac)}"
    namespaces.batch([f"link add v{vlan} type veth peer name {peer}"], namespace=parent.namespace)
    parent.inside.prepare([namespace])
    parent.inside.tag(parent.namespace, vlan, f"v{vlan}")
    return Workload(port_id, mac, parent.host, namespace, parent.device, parent.inside)


def plug(workloads: Sequence[Workload]) -> None:
    """Plug workloads in, one database transaction for each host; returns when the switches have done it."""
    for host, of_host in by_host(workloads):
        arguments: list[str] = []
        for workload in of_host:
            arguments += ["--", "add-port", BRIDGE, workload.device, "--", "set", "interface"]
            arguments += [workload.device, f"external_ids:iface-id={workload.port_id}"]
        host.vsctl(arguments)


def unplug(workloads: Sequence[Workload]) -> None:
    """Take workloads off the bridge; their namespaces stay."""
    for host, of_host in by_host(workloads):
        arguments: list[str] = []
        for workload in of_host:
            arguments += ["--", "--if-exists", "del-port", BRIDGE, workload.device]
        host.vsctl(arguments)


def configure_by_dhcp(workloads: Sequence[Workload], script: Path) -> None:
    """Ask for an address on each, all at the same time. Raises Broken naming those that got none."""
    clients = [start_dhcp(workload, script) for workload in workloads]
    failed = []
    try:
        for workload, client in zip(workloads, clients, strict=True):
            try:
                if client.wait(DHCP_S) != 0:
                    failed.append(workload.port_id)
            except subprocess.TimeoutExpired:
                failed.append(workload.port_id)
    finally:
        for client in clients:
            client.kill()
            client.wait()
    if failed:
        raise Broken(f"no address by DHCP for {len(failed)} of {len(clients)}: {', '.join(failed[:5])}")


def start_dhcp(workload: Workload, script: Path) -> subprocess.Popen[bytes]:
    """Start a DHCP client that ends with status 0 when it has an address, 1 when nobody answers."""
    client = ["busybox", "udhcpc", "-i", "eth0", "-s", str(script), "-f", "-q", "-n", "-t", "8", "-T", "1"]
    options = ["-O", "mtu", "-O", "router", "-O", "staticroutes"]
    return subprocess.Popen(
        namespaces.inside(workload.namespace, [*client, *options]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def configure(workload: Workload, *, address: str, gateway: str | None, mtu: int) -> None:
    """Set an address by hand. `address`: with its prefix length, as `10.0.0.5/24`."""
    lines = [f"addr replace {address} dev eth0", f"link set eth0 mtu {mtu}"]
    if gateway is not None:
        lines.append(f"route replace default via {gateway}")
    namespaces.batch(lines, namespace=workload.namespace)


def by_host(workloads: Sequence[Workload]) -> list[tuple[EmulatedHost, list[Workload]]]:
    """Group by host, in the order in which hosts first occur."""
    grouped: dict[str, tuple[EmulatedHost, list[Workload]]] = {}
    for workload in workloads:
        grouped.setdefault(workload.host.namespace, (workload.host, []))[1].append(workload)
    return list(grouped.values())
