"""The agent of a host as a process. Wiring only."""

import asyncio
import gc
import signal
from collections.abc import Coroutine
from pathlib import Path
from ssl import SSLContext
from typing import Any, Literal

import msgspec
import uvloop

from alcor.adapters import stream
from alcor.adapters.beat_sockets import BeatSender
from alcor.adapters.certificates import agent_key
from alcor.adapters.nats import access
from alcor.adapters.nats.access import Access
from alcor.adapters.nats.agent_queue import NatsAgentQueue
from alcor.contracts.agent_channel import Channel, Probe, Rescue
from alcor.contracts.data_plane import DataPlane, HostFacts, facts_of
from alcor.host_agent.agent import Agent
from alcor.host_agent.connections import Connect
from alcor.host_agent.journal import FileJournal, NoJournal
from alcor.host_agent.neighbor_help import Neighborhood
from alcor.host_agent.rescue_duty import NeighborHelp, RescueDuty
from alcor.host_agent.settings import USUAL, AgentTiming
from alcor.model import errors
from alcor.model.addressing import ip_to_text
from alcor.model.ids import HostId
from alcor.runtime import open_files, tls
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure, Supervisor
from alcor.runtime.tls import RescuerContexts

EXIT_CLEAN = 0
EXIT_FAILED = 1  # start it again: applying is idempotent
EXIT_SETTINGS = 2  # starting it again changes nothing
GC_THRESHOLD = 50_000  # goal state is long-lived and has no cycles: the default looks at it again and again
OVS_RUN_DIR = Path("/var/run/openvswitch")


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What one agent needs. `vtep` is packed. `state_dir` None: it keeps nothing over a restart.

    `queue_url` empty: no queue. Without `controller_urls` the queue is the only path. `queue_credentials` are
    for a cluster that is not the region's own; to that the certificates are enough.
    """

    host: str
    vtep: bytes
    controller_urls: tuple[str, ...]
    queue_url: str = ""
    queue_credentials: Path | None = None
    zone: str = ""
    data_plane: Literal["ovs", "simulated"] = "ovs"
    ovs_run_dir: Path = OVS_RUN_DIR
    state_dir: Path | None = None
    timing: AgentTiming = USUAL
    certificates: Path | None = None  # of `alcor certificate`; without them no rescue, neither given nor taken


def main(settings: AgentSettings, log: EventLog) -> int:
    """Run one agent on a loop of its own until SIGTERM or SIGINT; give the exit status."""
    open_files.raise_limit()
    return uvloop.run(run(settings, log))


async def run(settings: AgentSettings, log: EventLog) -> int:
    """Run one agent until SIGTERM or SIGINT, and give the exit status. What forwards goes on (law 6)."""
    has_path = settings.controller_urls or settings.queue_url
    if not settings.host or len(settings.vtep) not in (4, 16) or not has_path:
        log.error("settings_refused", reason="an agent needs a host name, a tunnel address and a controller")
        return EXIT_SETTINGS
    facts = facts_of(settings.host, settings.vtep)
    try:
        context = tls.agent_context(settings.certificates) if settings.certificates else None
        connect = _connect(context, sender := BeatSender(log))
        help_of = _neighborhood(settings, context, connect, log) if context is not None else None
        place = queue_access(settings.queue_url, settings.certificates, settings.queue_credentials)
    except errors.Invalid as error:
        log.error("settings_refused", reason=error.message)
        return EXIT_SETTINGS
    failure = Failure()
    queue = open_queue(place, settings.host, log, failure)
    agent = Agent(
        facts,
        settings.zone,
        _data_plane(settings, facts, log, failure),
        FileJournal(settings.state_dir) if settings.state_dir else NoJournal(),
        connect,
        SystemClock(),
        log,
        urls=settings.controller_urls,
        timing=settings.timing,
        help_of=help_of,
        agent_queue=queue,
    )
    log.info("agent_starts", host_id=settings.host, data_plane=settings.data_plane)
    try:
        return await until_told(agent.run(), settings.host, log.about(host_id=settings.host), failure)
    finally:
        sender.close()
        if queue is not None:
            await queue.close()


def queue_access(url: str, certificates: Path | None, credentials: Path | None) -> Access | None:
    """Say how to get into the queue; None when there is no URL. Raises Invalid."""
    return access.choose(url, certificates=certificates, credentials=credentials) if url else None


def open_queue(place: Access | None, name: str, log: EventLog, failure: Failure) -> NatsAgentQueue | None:
    """Connect to the queue, now or when it is there; None when there is none."""
    if place is None:
        return None
    queue = NatsAgentQueue(place, log, name=name, failure=failure)
    queue.start()
    return queue


def tune_collector() -> None:
    """Let the garbage collector leave alone what is there, and look at the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 50, 50)


def _data_plane(settings: AgentSettings, facts: HostFacts, log: EventLog, failure: Failure) -> DataPlane:
    if settings.data_plane == "simulated":
        from alcor.data_plane.simulated.driver import SimulatedDataPlane
        from alcor.data_plane.simulated.fabric import Fabric

        return SimulatedDataPlane(facts, Fabric())
    from alcor.data_plane.ovs.driver import OvsDataPlane
    from alcor.data_plane.ovs.setup import Exposure

    exposure = None
    if settings.certificates:
        files = (str(settings.certificates / name) for name in ("switch.key", "switch.pem", tls.RESCUERS))
        exposure = Exposure(ip_to_text(facts.vtep), *files)
    return OvsDataPlane(facts, settings.ovs_run_dir, log, exposure=exposure, failure=failure)


def _connect(context: SSLContext | None, sender: BeatSender) -> Connect:
    async def connect(url: str) -> Channel:
        return await stream.connect(url, ssl=context if url.startswith("tcps:") else None, sender=sender)

    return connect


def _neighborhood(
    settings: AgentSettings, context: SSLContext, connect: Connect, log: EventLog
) -> NeighborHelp | None:
    """Make what rescues neighbours: only hosts with Open vSwitch can be reached by others. Raises Invalid."""
    if settings.data_plane != "ovs":
        return None
    directory = settings.certificates
    assert directory is not None, "the context is made of them"
    if not (directory / tls.RESCUERS).exists():
        raise errors.Invalid(f"{directory} has no {tls.RESCUERS}: issue the host's certificates anew")
    from alcor.data_plane.ovs import endpoint
    from alcor.data_plane.ovs.driver import OvsDataPlane
    from alcor.data_plane.ovs.fence import Bid
    from alcor.data_plane.ovs.probe import greet, probe

    log = log.about(by=settings.host)
    greeting = tls.greeting_context(directory)
    certificates = RescuerContexts(directory, agent_key(directory))

    def make(order: Rescue, duty: RescueDuty) -> Agent:
        facts = facts_of(order.target, order.vtep)
        place = endpoint.remote(order.target, order.vtep, certificates.context(order.target))
        bid = Bid(order.token, duty.rescuer, int(order.lease_s * 1000))
        failure = Failure(duty.over)  # what fails at a neighbour's switch ends the rescue, not our own agent
        return Agent(
            facts,
            order.zone,
            OvsDataPlane(facts, place, log, bid=bid, failure=failure),
            NoJournal(),
            connect,
            SystemClock(),
            log,
            urls=settings.controller_urls,
            timing=settings.timing,
            rescue=duty,
        )

    async def ask(whom: Rescue | Probe) -> None:
        if isinstance(whom, Rescue):
            await probe(endpoint.remote(whom.target, whom.vtep, certificates.context(whom.target)))
        else:
            await greet(endpoint.remote(whom.target, whom.vtep, greeting))

    return Neighborhood(HostId(settings.host), make, ask, log, certificates=certificates)


async def until_told(work: Coroutine[Any, Any, object], name: str, log: EventLog, failure: Failure) -> int:
    """Run the work until it or any other part of the process fails, or a signal ends it."""
    tune_collector()
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    supervisor = Supervisor(log, failure=failure)
    task = supervisor.start(name, work)
    waiting = [asyncio.create_task(each.wait()) for each in (told, failure)]
    try:
        await asyncio.wait([task, *waiting], return_when=asyncio.FIRST_COMPLETED)
        if told.is_set() and not failure.is_set():
            log.info("agent_ends")
            return EXIT_CLEAN
        log.error("agent_ends", reason=failure.reason or "its work is over")
        return EXIT_FAILED
    finally:
        for each in waiting:
            each.cancel()
        await supervisor.close()
