"""One controller's term under simulation: its process, its session with the store, its place at the queue."""

import asyncio
import random

from alcor.control_plane.controller import Controller
from alcor.control_plane.delivery.away_hosts import AwayPace
from alcor.control_plane.delivery.resync import ResyncLimits
from alcor.control_plane.region import OnDemandBounds
from alcor.model import errors
from alcor.runtime.clock import Clock
from alcor.runtime.event_log import EventLog
from alcor.simulation import virtual_time
from alcor.simulation.compute_host import AHEAD_MAX_S, DRIFT_MAX
from alcor.simulation.faulty_store import StoreSession
from alcor.simulation.lossy_queue import LossyQueue
from alcor.simulation.store_server import StoreServer
from alcor.simulation.virtual_time import Part
from alcor.simulation.wire import Wire

# So little that hosts wait for each other, and that turns end before all is sent.
RESYNC = ResyncLimits(hosts=2, bytes=20_000, turn_s=1.5)
# So soon that much is written before a host is heard again, in turns of so little that some are interrupted.
AWAY = AwayPace(round_s=0.05, turn_s=0.02, turn_frames=3)


class SimulatedTerm:
    """Owner of a controller and of all that it is connected to. `place`: the address that agents dial."""

    def __init__(
        self,
        server: StoreServer,
        queue: LossyQueue,
        clock: Clock,
        log: EventLog,
        chance: random.Random,
        *,
        number: int,
        place: str,
        on_demand: OnDemandBounds,
        faulty: bool,
    ) -> None:
        loop = virtual_time.running()
        ahead_s = chance.uniform(-AHEAD_MAX_S, AHEAD_MAX_S)
        rate = 1.0 + chance.uniform(-DRIFT_MAX, DRIFT_MAX)
        self.number = number
        self.place = place
        self.part = Part(loop, f"controller {place}", ahead_s=ahead_s, rate=rate)
        self.session = StoreSession(server, chance, commits_here=False)
        self.session.faulty = faulty
        self.queue_end = queue.controller_end()
        self.is_serving = False
        self._loop = loop
        self._log = log
        self._wires: list[Wire] = []
        self._served: set[asyncio.Task[None]] = set()
        self.controller = self.part.run(
            lambda: Controller(
                self.session, clock, log, queue=self.queue_end, on_demand=on_demand, resync=RESYNC, away=AWAY
            )
        )

    async def start(self) -> None:
        """Begin. Raises Unavailable when the store did not let it."""
        begun = self._loop.create_task(self.controller.start(), context=self.part.context)
        try:
            await begun
        except errors.Unavailable:
            await self.stop()
            raise
        self.is_serving = True

    async def stop(self) -> None:
        """End in order: farewells are said."""
        self.part.resume()
        self.session.close()
        await self._loop.create_task(self.controller.stop(), context=self.part.context)
        self.queue_end.end()
        served = list(self._served)
        for task in served:
            task.cancel()
        if served:
            await asyncio.wait(served)

    async def crash(self, chance: random.Random) -> None:
        """End as a kill does. A crashed machine is not even heard to go."""
        self.queue_end.cut()  # what it would say no longer leaves
        for wire in self._wires:
            (wire.silence if chance.random() < 0.3 else wire.cut)()
        await self.stop()

    def serve(self, wire: Wire, violation: list[str]) -> None:
        """Serve an agent's stream until it ends."""
        self._wires = [other for other in self._wires if other.is_open]
        self._wires.append(wire)
        task = self._loop.create_task(self._serve(wire, violation), context=self.part.context)
        self._served.add(task)
        task.add_done_callback(self._served.discard)

    async def _serve(self, wire: Wire, violations: list[str]) -> None:
        try:
            await self.controller.serve_channel(wire.controller_end)
        except Exception as error:  # noqa: BLE001  # whatever it is, it must not be
            violations.append(f"serving an agent failed: {error!r}")
            self._log.error("stream_failed", reason=repr(error))
