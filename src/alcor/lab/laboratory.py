"""A lab: hosts on one underlay and their workloads, all of it gone when it ends.

    with Laboratory(hosts=4) as lab:
        lab.hosts[0].namespace, lab.hosts[0].run_dir, lab.hosts[0].vtep
        workloads = lab.add_workloads([WorkloadPlan(port_id, mac, lab.hosts[0]), ...])

The names of all namespaces start with the lab's id; `cleanup` removes what a killed lab left behind.
"""

import atexit
import os
import secrets
import shutil
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

from alcor.lab import cleanup, dhcp, namespaces, workload
from alcor.lab.dhcp import DhcpFiles
from alcor.lab.host import EmulatedHost, empty_database
from alcor.lab.inside_client import InsideClient
from alcor.lab.underlay import Underlay
from alcor.lab.workload import Workload, WorkloadPlan

HOSTS_MAX = 200
STARTED_AT_ONCE = 4
_FIRST_VTEP = (172 << 24) | (31 << 16)


def missing() -> list[str]:
    """Say in words what a laboratory needs and does not have here."""
    found = []
    if os.geteuid() != 0:
        found.append("not root")
    if shutil.which("ovs-vswitchd") is None and not Path("/usr/sbin/ovs-vswitchd").exists():
        found.append("Open vSwitch is not installed")
    return found


class Laboratory:
    """Owner of every namespace, process and file of the lab."""

    def __init__(self, *, hosts: int) -> None:
        assert 0 < hosts <= HOSTS_MAX
        self.id = f"alcor-{secrets.token_hex(2)}"
        self.directory = cleanup.LABS / self.id
        self.underlay = Underlay(f"{self.id}-u")
        self.hosts = [self._host(number) for number in range(1, hosts + 1)]
        self.workloads: list[Workload] = []
        self.inside = InsideClient()
        self.dhcp_files = DhcpFiles(self.directory / "dhcp")
        self._workloads_made = 0
        self._closed = True
        self._owner = os.getpid()

    def __enter__(self) -> "Laboratory":
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Bring up underlay and hosts. After a failure `close` removes what was made."""
        cleanup.remove_dead_labs()
        self._closed = False
        self.directory.mkdir(parents=True)
        (self.directory / cleanup.OWNER).write_text(cleanup.own_mark())
        atexit.register(self.close)
        _end_on_sigterm()
        self.dhcp_files.write()
        database = empty_database(self.directory / "empty.db")
        self.underlay.start()
        namespaces.batch([f"netns add {host.namespace}" for host in self.hosts])
        self.underlay.connect([(host.namespace, host.name) for host in self.hosts])
        with ThreadPoolExecutor(STARTED_AT_ONCE) as pool:
            list(pool.map(lambda host: host.start(database), self.hosts))

    def add_workloads(self, plans: Sequence[WorkloadPlan], *, plugged: bool = True) -> list[Workload]:
        """Make workloads and plug them in; needs `br-int` on their hosts."""
        first = self._workloads_made + 1
        self._workloads_made += len(plans)
        made = workload.create(plans, prefix=self.id, first=first, inside=self.inside)
        self.workloads += made
        if plugged:
            workload.plug(made)
        return made

    def add_tagged(self, parent: Workload, *, port_id: str, mac: int, vlan: int) -> Workload:
        """Make the workload of a sub-port, behind its parent's."""
        self._workloads_made += 1
        number = self._workloads_made
        made = workload.create_tagged(
            parent, port_id=port_id, mac=mac, vlan=vlan, prefix=self.id, number=number
        )
        self.workloads.append(made)
        return made

    def configure_by_dhcp(self, workloads: Sequence[Workload]) -> None:
        """Give workloads their IPv4 addresses by DHCP, all at the same time."""
        dhcp.configure(workloads, self.dhcp_files)

    def configure_by_dhcpv6(self, wanted: Sequence[tuple[Workload, str]]) -> None:
        """Let workloads ask for IPv6 addresses, all at the same time, until they have those given here."""
        dhcp.configure_v6(wanted, self.dhcp_files)

    def await_slaac(self, wanted: Sequence[tuple[Workload, str]]) -> None:
        """Wait until the kernels of workloads have made themselves the IPv6 addresses given here."""
        dhcp.await_v6(wanted, "router advertisements")

    def close(self) -> None:
        """Remove everything; may be called again."""
        if self._closed or self._owner != os.getpid():
            return  # a forked child ends with a copy of this object, which owns nothing
        self._closed = True
        atexit.unregister(self.close)
        self.inside.close()
        cleanup.remove_lab(self.directory)

    def _host(self, number: int) -> EmulatedHost:
        name = f"h{number}"
        vtep = (_FIRST_VTEP + (number // 250 << 8) + number % 250 + 1).to_bytes(4, "big")
        return EmulatedHost(name=name, namespace=f"{self.id}-{name}", run_dir=self.directory / name, vtep=vtep)


def _end_on_sigterm() -> None:
    """Turn SIGTERM into an ordinary end, unless the program has its own way with it."""
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)
