"""A lab leaves nothing behind, however it ends."""

import signal
import subprocess
import sys
import time

import pytest
from lab_remains import remains_of
from ovs_scene import leftovers, needs_ovs

from alcor.lab import cleanup, packets
from alcor.lab.laboratory import Laboratory
from alcor.lab.packets import Probe
from alcor.lab.workload import WorkloadPlan, configure
from alcor.model.errors import Broken

pytestmark = [pytest.mark.ovs, needs_ovs]

CHILD = """
import time
from alcor.lab.laboratory import Laboratory
with Laboratory(hosts=1) as lab:
    print(lab.id, flush=True)
    time.sleep(60)
"""


def start_child() -> tuple[subprocess.Popen[str], str]:
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    return child, child.stdout.readline().strip()


def test_an_exception_leaves_nothing() -> None:
    with pytest.raises(Broken), Laboratory(hosts=1) as lab:
        raise Broken("on purpose")
    assert leftovers(lab) == []
    assert remains_of(lab.id) == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_nothing(how: signal.Signals) -> None:
    child, lab_id = start_child()
    try:
        assert remains_of(lab_id)
        child.send_signal(how)
        child.wait(10)
        assert remains_of(lab_id) == []
    finally:
        child.kill()
        child.communicate()


def test_what_a_killed_lab_left_is_removed_by_the_next_and_the_living_are_not() -> None:
    child, lab_id = start_child()
    with Laboratory(hosts=1) as living:
        child.kill()
        child.communicate()
        assert remains_of(lab_id)
        assert cleanup.remove_dead_labs() == [lab_id]
        assert remains_of(lab_id) == []
        assert living.hosts[0].vsctl(["list-br"]).split() == ["br-phy"]


def test_a_lab_is_quick_and_its_probes_tell_the_truth() -> None:
    started = time.monotonic()
    with Laboratory(hosts=2) as lab:
        for host in lab.hosts:
            host.vsctl(["add-br", "br-int", "--", "set", "bridge", "br-int", "datapath_type=netdev"])
        plans = [WorkloadPlan(f"p{n}", 0x02AA00000000 + n, lab.hosts[n % 2]) for n in range(4)]
        workloads = lab.add_workloads(plans)
        for number, workload in enumerate(workloads):
            configure(workload, address=f"10.0.0.{number + 1}/24", gateway=None, mtu=1450)
        assert time.monotonic() - started < 10.0
        packets.serve(workloads, 80)
        # Bridges of different hosts are not joined here: only neighbours reach each other.
        probes = [
            Probe(workload, f"10.0.0.{other + 1}", kind, port)
            for workload in workloads
            for other in range(4)
            for kind, port in (("icmp", 0), ("tcp", 80), ("tcp", 81))
            if workloads[other] is not workload
        ]
        expected = [
            probe.port != 81 and workloads[int(probe.to_ip[-1]) - 1].host is probe.from_workload.host
            for probe in probes
        ]
        assert packets.probe_matrix(probes) == expected
        # Who answers must be who had to: an answer of somebody else is as wrong as none.
        for kind, port in (("icmp", 0), ("tcp", 80)):
            right, wrong = (
                Probe(workloads[0], "10.0.0.3", kind, port, answerer=workloads[number]) for number in (2, 3)
            )
            assert packets.probe_matrix([right, wrong]) == [True, False]
