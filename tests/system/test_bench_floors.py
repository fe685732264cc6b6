"""The floor of a bench sends exactly the flows that the hosts gained, and leaves nothing."""

from collections import Counter

import pytest
from ovs_scene import needs_ovs

from alcor.bench.floors import SCRATCH_BRIDGE, BundleFloor
from alcor.bench.hosts import OvsLab
from alcor.data_plane.pipeline.tables import Table
from alcor.host_agent import journal
from alcor.lab import namespaces
from doubles.topology import Region

pytestmark = [pytest.mark.ovs, needs_ovs]


async def test_a_raw_bundle_holds_the_flows_of_the_ports_that_were_added() -> None:
    hosts = OvsLab(1)
    hosts.lab.start()
    floor = BundleFloor(hosts)
    try:
        region = Region(hosts=("h1",))
        region.add_net("n", 7, "10.0.0.0/24")
        region.add_port("first", "n-s0", 10, "h1")
        write_journal(hosts, region)
        await floor.open()
        floor.follow()
        region.add_port("second", "n-s0", 11, "h1", security=False)
        write_journal(hosts, region)
        assert await floor.measure() > 0
        socket = f"unix:{hosts.lab.hosts[0].run_dir}/{SCRATCH_BRIDGE}.mgmt"
        dump = namespaces.run(["ovs-ofctl", "-O", "OpenFlow14", "--no-stats", "dump-flows", socket])
        flows = [line for line in dump.splitlines() if "cookie=0xa1c0" in line]
        # Anti-spoofing of both IP versions, a MAC address, one local, a tunnel: the journal is another host's.
        tables = Counter(int(line.partition("table=")[2].partition(",")[0]) for line in flows)
        assert tables == {Table.SPOOF: 8, Table.NEIGHBOUR: 1, Table.LOCAL: 1, Table.REMOTE: 1}
        assert not [line for line in flows if "10.0.0.10" in line]
        await floor.close()
        assert SCRATCH_BRIDGE not in hosts.lab.hosts[0].vsctl(["list-br"])
    finally:
        await hosts.stop()


def write_journal(hosts: OvsLab, region: Region) -> None:
    directory = hosts.state_dir("h1")
    directory.mkdir(exist_ok=True)
    (directory / "journal").write_bytes(journal.snapshot(region.state("h1")))
