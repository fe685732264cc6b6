"""Workloads: a namespace each, with a veth plugged into the integration bridge of its host."""

from collections.abc import Sequence

import msgspec

from alcor.lab import namespaces
from alcor.lab.host import EmulatedHost
from alcor.lab.inside_client import InsideClient
from alcor.model import errors
from alcor.model.addressing import mac_to_text

BRIDGE = "br-int"
USABLE_S = 5.0  # a device that comes up has its addresses within milliseconds


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


def configure(workload: Workload, *, address: str, gateway: str | None, mtu: int) -> None:
    """Set an address of either IP version by hand. `address`: with its prefix length, as `10.0.0.5/24`.

    Of IPv6 by hand means that nobody looks for duplicates, and that routers advertise in vain. Returns when it
    may be used: until then the kernel would send from whatever it has, `::1` at worst. Raises Broken when it
    never may.
    """
    at_once = " nodad" if ":" in address else ""
    lines = [f"addr replace {address} dev eth0{at_once}", f"link set eth0 mtu {mtu}"]
    if gateway is not None:
        lines.append(f"route replace default via {gateway} dev eth0")
    if at_once:
        workload.inside.ignore_routers(workload.namespace)
    namespaces.batch(lines, namespace=workload.namespace)
    if at_once:
        wanted = (workload.namespace, address.partition("/")[0])
        if not all(workload.inside.await_ipv6([wanted], timeout_s=USABLE_S)):
            raise errors.Broken(f"the workload of port {workload.port_id} may not use {address}")


def by_host(workloads: Sequence[Workload]) -> list[tuple[EmulatedHost, list[Workload]]]:
    """Group by host, in the order in which hosts first occur."""
    grouped: dict[str, tuple[EmulatedHost, list[Workload]]] = {}
    for workload in workloads:
        grouped.setdefault(workload.host.namespace, (workload.host, []))[1].append(workload)
    return list(grouped.values())
