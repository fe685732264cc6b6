"""DHCP clients of workloads: udhcpc of busybox for IPv4, and for IPv6, which that may lack, dhclient of ISC."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from alcor.lab import namespaces
from alcor.lab.workload import Workload
from alcor.model.errors import Broken

DHCP_S = 30.0

# What udhcpc runs when something becomes of its lease; only what the server says is set.
_SCRIPT = """#!/bin/busybox sh
case "$1" in
  deconfig) busybox ip -4 addr flush dev "$interface" ;;
  bound|renew)
    [ -n "$mtu" ] && busybox ip link set dev "$interface" mtu "$mtu"
    busybox ip -4 addr flush dev "$interface"
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

# What dhclient runs. Before it starts, the link-local address must be usable; what is on the link, routers say.
_SCRIPT_V6 = """#!/bin/busybox sh
case "$reason" in
  PREINIT6)
    busybox ip link set dev "$interface" up
    for _ in $(busybox seq 100); do
      busybox grep -q " 20 80 *$interface" /proc/net/if_inet6 && break
      busybox sleep 0.05
    done ;;
  BOUND6|RENEW6|REBIND6)
    ip -6 addr replace "$new_ip6_address/128" dev "$interface" \\
      valid_lft "$new_max_life" preferred_lft "$new_preferred_life" ;;
  EXPIRE6|RELEASE6|STOP6)
    ip -6 addr del "$old_ip6_address/128" dev "$interface" ;;
esac
exit 0
"""
_SETTINGS_V6 = "also request dhcp6.name-servers, dhcp6.domain-search;\n"


class DhcpFiles:
    """What the clients of a lab need and keep. Owner of its directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self) -> None:
        """Write the scripts that clients run."""
        self._directory.mkdir(parents=True)
        for path, script in ((self.script, _SCRIPT), (self.script_v6, _SCRIPT_V6)):
            path.write_text(script)
            path.chmod(0o755)
        self.settings_v6.write_text(_SETTINGS_V6)

    @property
    def script(self) -> Path:
        return self._directory / "lease"

    @property
    def script_v6(self) -> Path:
        return self._directory / "lease6"

    @property
    def settings_v6(self) -> Path:
        return self._directory / "settings6"

    def leases_v6(self, workload: Workload) -> Path:
        """Where a workload's client notes its leases, with all options."""
        return self._directory / f"{workload.namespace}.leases6"


def configure(workloads: Sequence[Workload], files: DhcpFiles) -> None:
    """Ask for an IPv4 address on each, all at the same time. Raises Broken naming those that got none."""
    clients = [start(workload, files) for workload in workloads]
    failed = []
    try:
        for workload, client in zip(workloads, clients, strict=True):
            try:
                if client.wait(DHCP_S) != 0:
                    failed.append(workload.port_id)
            except subprocess.TimeoutExpired:
                failed.append(workload.port_id)
    finally:
        end(clients)
    _raise_for(failed, len(workloads), "DHCP")


def start(workload: Workload, files: DhcpFiles) -> subprocess.Popen[bytes]:
    """Start a DHCP client that ends with status 0 when it has an address, 1 when nobody answers."""
    client = [
        "busybox",
        "udhcpc",
        "-i",
        "eth0",
        "-s",
        str(files.script),
        "-f",
        "-q",
        "-n",
        "-t",
        "8",
        "-T",
        "1",
    ]
    return _run(workload, [*client, "-O", "mtu", "-O", "router", "-O", "staticroutes"])


def configure_v6(wanted: Sequence[tuple[Workload, str]], files: DhcpFiles) -> None:
    """Ask for IPv6 addresses, all at the same time, until each workload may use the one that it must get.

    Raises Broken naming those that got none, or another.
    """
    clients = [start_v6(workload, files) for workload, _ in wanted]
    try:
        await_v6(wanted, "DHCPv6")
    finally:
        end(clients)


def start_v6(workload: Workload, files: DhcpFiles) -> subprocess.Popen[bytes]:
    """Start a DHCPv6 client that runs until it is killed."""
    leases = files.leases_v6(workload)
    places = ["-lf", str(leases), "-pf", str(leases.with_suffix(".pid")), "-sf", str(files.script_v6)]
    return _run(workload, ["dhclient", "-6", "-d", "-D", "LL", "-cf", str(files.settings_v6), *places, "eth0"])


def await_v6(wanted: Sequence[tuple[Workload, str]], by: str) -> None:
    """Wait until workloads may use IPv6 addresses. Raises Broken naming those that have them not in time."""
    if wanted:
        asked = [(workload.namespace, ip) for workload, ip in wanted]
        have = wanted[0][0].inside.await_ipv6(asked, timeout_s=DHCP_S)
        failed = [each.port_id for (each, _), has in zip(wanted, have, strict=True) if not has]
        _raise_for(failed, len(wanted), by)


def _run(workload: Workload, command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        namespaces.inside(workload.namespace, command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def end(clients: Sequence[subprocess.Popen[bytes]]) -> None:
    """End clients. What they have set stays."""
    for client in clients:
        client.kill()
        client.wait()


def _raise_for(failed: Sequence[str], count: int, by: str) -> None:
    if failed:
        raise Broken(f"no address by {by} for {len(failed)} of {count}: {', '.join(failed[:5])}")
