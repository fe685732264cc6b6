"""A fleet with faults on demand still ends with every port in force, and its agents were really killed."""

from pathlib import Path

from alcor.adapters import stream
from alcor.contracts.memory_store import MemoryStore
from alcor.control_plane.controller import Controller
from alcor.host_agent.settings import AgentTiming
from alcor.model.ids import HostId
from alcor.processes.fleet import EmulatedHosts
from alcor.processes.fleet_faults import Faults
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import SILENT
from doubles.control_plane import commit, network, port, subnet

HOSTS = 10
QUICK = AgentTiming(reconnect_min_s=0.01, reconnect_max_s=0.05)
FAULTS = Faults(loss=0.02, slow_ms=5, crash=0.2)


async def test_streams_break_and_agents_die_and_yet_all_comes_in_force(tmp_path: Path) -> None:
    store = MemoryStore()
    controller = Controller(store, SystemClock(), SILENT)
    await controller.start()
    server = await stream.serve([f"unix://{tmp_path}/agents.sock"], controller.serve_channel, SILENT)
    await commit(store, networks=(network(),), subnets=(subnet(),))
    hosts = EmulatedHosts(HOSTS, (server.urls[0],), SILENT, timing=QUICK, state_dir=tmp_path, faults=FAULTS)
    hosts.start()
    try:
        revisions = []
        for number in range(60):
            one = port(number, HostId(f"host-{number % HOSTS}"))
            revisions.append(await commit(store, ports=(one,)))
            assert await controller.convergence.wait(
                [one.id], revision=revisions[-1], until="in_force", timeout_s=20
            )
        for revision in revisions:
            assert await controller.convergence.wait_revision(revision, timeout_s=20)
        assert not hosts.failed.is_set()
        await hosts.crash([HostId("host-0")])  # at least one, however fast this machine is
        assert hosts.crashes
        assert await controller.convergence.wait(
            [one.id], revision=revisions[-1], until="in_force", timeout_s=20
        )
    finally:
        await hosts.stop()
        await server.close()
        await controller.stop()
