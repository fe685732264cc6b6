"""What the machine could do at best with the same rows and the same flows, measured beside our own figures."""

import asyncio
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import asyncpg

from alcor.adapters.postgres.embedded import EmbeddedPostgres
from alcor.bench.hosts import OvsLab
from alcor.contracts.data_plane import facts_of
from alcor.data_plane.ovs import setup
from alcor.data_plane.ovs.encoding import FlowEncoder
from alcor.data_plane.ovs.endpoint import Endpoint
from alcor.data_plane.ovs.openflow import OpenFlowConnection
from alcor.data_plane.pipeline.flow import AnyFlow
from alcor.data_plane.pipeline.program import FlowProgram
from alcor.host_agent import journal
from alcor.lab import namespaces
from alcor.lab.host import EmulatedHost
from alcor.model import errors

# What one port create writes, and how its rows are found: the log's row by revision, the others by port.
_ROWS_OF = {
    "ports": "SELECT * FROM ports WHERE id = ANY($1)",
    "addresses": "SELECT * FROM addresses WHERE port_id = ANY($1)",
    "group_members": "SELECT * FROM group_members WHERE port_id = ANY($1)",
}
ROUNDS = 5
SCRATCH_BRIDGE = "br-floor"


class CopyFloor:
    """A raw COPY of rows that exist, into empty tables of the same shape. Owner of its connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, data_dir: Path) -> "CopyFloor":
        """Connect to a region's embedded database and make the tables."""
        connection = await asyncpg.connect(EmbeddedPostgres(data_dir / "postgres").dsn)
        for table in (*_ROWS_OF, "changes"):
            await connection.execute(f"CREATE TABLE floor_{table} (LIKE {table} INCLUDING ALL)")
        return cls(connection)

    async def measure(self, port_ids: Sequence[str], revision: int) -> float:
        """Give the median milliseconds of one transaction that copies the rows of these ports and commits."""
        ids = [UUID(port_id) for port_id in port_ids]
        rows = {
            table: list(map(tuple, await self._connection.fetch(sql, ids))) for table, sql in _ROWS_OF.items()
        }
        log = await self._connection.fetch("SELECT * FROM changes WHERE revision = $1", revision)
        rows["changes"] = list(map(tuple, log))
        times = []
        for _ in range(ROUNDS):
            await self._connection.execute(f"TRUNCATE {', '.join(f'floor_{table}' for table in rows)}")
            started = time.perf_counter()
            async with self._connection.transaction():
                for table, records in rows.items():
                    await self._connection.copy_records_to_table(f"floor_{table}", records=records)
            times.append((time.perf_counter() - started) * 1000)
        return statistics.median(times)

    async def close(self) -> None:
        await self._connection.close()


class BundleFloor:
    """The flows that a batch added, as one raw bundle for each host, sent by this process to empty bridges.

    Owner of the connections and of the bridges on the hosts of the lab. Encoding counts, as Python must do it;
    choosing the flows does not.
    """

    def __init__(self, lab: OvsLab) -> None:
        self._hosts = [_ScratchHost(host, lab.state_dir(host.name) / "journal") for host in lab.lab.hosts]

    async def open(self) -> None:
        """Make the bridges and connect. After a failure `close` removes what was made."""
        for host in self._hosts:
            await host.open()

    def follow(self) -> None:
        """Take up what the hosts hold now; `measure` sends what they have gained since the last time."""
        for host in self._hosts:
            host.follow()

    async def measure(self) -> float:
        """Give the median milliseconds until all hosts have what they gained, all sent at the same time."""
        self.follow()
        times = []
        for _ in range(ROUNDS):
            for host in self._hosts:
                await host.empty()
            started = time.perf_counter()
            await asyncio.gather(*(host.send() for host in self._hosts))
            times.append((time.perf_counter() - started) * 1000)
        return statistics.median(times)

    async def close(self) -> None:
        for host in self._hosts:
            await host.close()


class _ScratchHost:
    """One host's part. `gained`: the flows that its last journal has and the one before had not."""

    def __init__(self, host: EmulatedHost, journal_file: Path) -> None:
        self._host = host
        self._journal_file = journal_file
        self._socket = f"{host.run_dir}/{SCRATCH_BRIDGE}.mgmt"
        self._program = FlowProgram(facts_of(host.name, host.vtep), setup.TUNNEL_OFPORT)
        self._encoder = FlowEncoder()
        self._connection: OpenFlowConnection | None = None
        self.gained: list[AnyFlow] = []

    async def open(self) -> None:
        options = ["datapath_type=netdev", "fail-mode=secure", "protocols=OpenFlow13,OpenFlow14,OpenFlow15"]
        bridge = ["add-br", SCRATCH_BRIDGE, "--", "set", "bridge", SCRATCH_BRIDGE, *options]
        await asyncio.to_thread(self._host.vsctl, bridge)
        self._connection = await OpenFlowConnection.open(
            Endpoint(path=self._socket), on_packet=lambda _: None, on_lost=lambda _: None
        )

    def follow(self) -> None:
        # The agent wrote its journal before it acknowledged: what is in force is in there.
        state, _ = journal.replay(self._journal_file.read_bytes())
        self.gained = self._program.replace(state).install

    async def empty(self) -> None:
        command = ["ovs-ofctl", "-O", "OpenFlow14", "del-flows", f"unix:{self._socket}"]
        await asyncio.to_thread(namespaces.run, command)

    async def send(self) -> None:
        assert self._connection is not None, "open first"
        bodies = (self._encoder.add(flow)[1] for flow in self.gained)
        refused = await self._connection.bundle(bodies, count=len(self.gained))
        if refused:
            raise errors.Broken(f"the scratch bridge refused a flow: {refused[0].reason}")

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        await asyncio.to_thread(self._host.vsctl, ["--if-exists", "del-br", SCRATCH_BRIDGE])
