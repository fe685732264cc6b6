"""One emulated host: a namespace with its own Open vSwitch, all state in one directory."""

import os
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from alcor.lab import namespaces
from alcor.lab.underlay import UNDERLAY_MTU
from alcor.model.addressing import ip_to_text
from alcor.model.errors import Unavailable

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
DATABASE = "ovsdb-server"
SWITCH = "ovs-vswitchd"
VTEP_PREFIX_LEN = 16
END_S = 5.0


class EmulatedHost:
    """A host of a lab. Owner of its two daemons and its run directory; the lab owns the namespace.

    The database's socket is `run_dir/db.sock`; the integration bridge's OpenFlow socket, once somebody made
    that bridge, is `run_dir/br-int.mgmt`.
    """

    def __init__(self, *, name: str, namespace: str, run_dir: Path, vtep: bytes) -> None:
        self.name = name
        self.namespace = namespace
        self.run_dir = run_dir
        self.vtep = vtep

    def start(self, database: Path) -> None:
        """Start both daemons on a copy of an empty database and make `br-phy` with the tunnel address."""
        self.run_dir.mkdir(parents=True)
        shutil.copyfile(database, self.run_dir / "conf.db")
        namespaces.batch(["link set lo up", "link set eth0 up"], namespace=self.namespace)
        self.start_database()
        self.vsctl(["--no-wait", "init"])
        self._run_switch()
        self.vsctl(
            "add-br br-phy -- set bridge br-phy datapath_type=netdev fail-mode=standalone "
            f"-- add-port br-phy eth0 -- set interface br-phy mtu_request={UNDERLAY_MTU}".split()
        )
        self._set_vtep()

    def start_database(self) -> None:
        """Start `ovsdb-server` on what the database holds."""
        remotes = [f"--remote=punix:{self.run_dir}/db.sock", *_LISTENERS]
        self._run_daemon(DATABASE, [f"{self.run_dir}/conf.db", *remotes])

    def start_switch(self) -> None:
        """Start `ovs-vswitchd` again: as a host's network configuration would, this gives back the address."""
        self._run_switch()
        self._set_vtep()

    def kill(self, daemon: str, *, how: signal.Signals = signal.SIGKILL) -> None:
        """Kill one of the daemons and wait for its end."""
        pid = daemon_pid(self.run_dir, daemon)
        if pid is None:
            return
        os.kill(pid, how)
        wait_gone(pid)
        (self.run_dir / f"{daemon}.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """Kill both daemons; the namespace and the directory are the lab's to remove."""
        for daemon in (SWITCH, DATABASE):
            self.kill(daemon)

    def vsctl(self, arguments: Sequence[str]) -> str:
        """Run `ovs-vsctl` against this host; returns when the switch has done it."""
        return namespaces.run(["ovs-vsctl", "--timeout=30", f"--db=unix:{self.run_dir}/db.sock", *arguments])

    def ofctl(self, command: str, *rest: str, statistics: bool = False) -> str:
        """Run `ovs-ofctl` on the integration bridge: `ofctl("dump-flows", "table=0")`."""
        options = ["-O", "OpenFlow14", *([] if statistics else ["--no-stats"])]
        return namespaces.run(["ovs-ofctl", *options, command, f"unix:{self.run_dir}/br-int.mgmt", *rest])

    def appctl(self, *arguments: str) -> str:
        """Run `ovs-appctl` against the switch."""
        target = f"--target={self.run_dir}/{SWITCH}.ctl"
        return namespaces.run(["ovs-appctl", "--timeout=30", target, *arguments])

    def _run_switch(self) -> None:
        self._run_daemon(SWITCH, [f"unix:{self.run_dir}/db.sock"])

    def _run_daemon(self, daemon: str, arguments: Sequence[str]) -> None:
        files = [f"--{kind}={self.run_dir}/{daemon}.{end}" for kind, end in _FILES]
        command = [daemon, *arguments, *files, "-vconsole:off", "--detach", "--no-chdir"]
        environment = ["env", f"OVS_RUNDIR={self.run_dir}", f"OVS_DBDIR={self.run_dir}"]
        namespaces.run(namespaces.inside(self.namespace, [*environment, *command]))

    def _set_vtep(self) -> None:
        address = f"{ip_to_text(self.vtep)}/{VTEP_PREFIX_LEN}"
        deadline = time.monotonic() + 10.0
        # The switch makes the device of a bridge in the database a moment after it has started.
        while "br-phy" not in namespaces.run(["ip", "-n", self.namespace, "-o", "link"]):
            if time.monotonic() > deadline:
                raise Unavailable("the switch did not make br-phy", retry_after_s=1.0)
            time.sleep(0.02)
        namespaces.batch([f"addr replace {address} dev br-phy", "link set br-phy up"], namespace=self.namespace)


# As Debian starts it: what else it listens on, and with which certificate, is in the database itself.
_LISTENERS = (
    "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
    "--private-key=db:Open_vSwitch,SSL,private_key",
    "--certificate=db:Open_vSwitch,SSL,certificate",
    "--ca-cert=db:Open_vSwitch,SSL,ca_cert",
)
_FILES = (("unixctl", "ctl"), ("pidfile", "pid"), ("log-file", "log"))


def empty_database(path: Path) -> Path:
    """Make a database without contents, to be copied for each host."""
    namespaces.run(["ovsdb-tool", "create", str(path), str(SCHEMA)])
    return path


def daemon_pid(run_dir: Path, daemon: str) -> int | None:
    """Give the process id of a daemon of this directory; None when it does not run (or is another by now)."""
    try:
        pid = int((run_dir / f"{daemon}.pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if str(run_dir).encode() in command else None


def wait_gone(pid: int) -> None:
    """Wait until a process that was killed is gone."""
    deadline = time.monotonic() + END_S
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.005)


def _runs(pid: int) -> bool:
    """A daemon that nobody waits for stays as a zombie: it holds nothing any more."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
