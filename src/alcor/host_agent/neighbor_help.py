"""Rescues neighbours: for each order, a second agent in this process that writes to the neighbour's data plane.

controller --Rescue--> order --probe--> the target's data plane answers?  no: RescueReport
                              yes: Agent(host=target, rescuer=us, token) over a stream of its own
controller --RescueRenewal--> a newer certificate for the target's switch, a newer proof of the order
controller --Probe--> the target's data plane answers? --Probed--> controller
ends: RescueEnd, the lease not renewed, or another's newer token in the data plane
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from alcor.contracts.agent_channel import (
    Probe,
    Probed,
    Rescue,
    RescueEnd,
    RescueOutcome,
    RescueRenewal,
    RescueReport,
)
from alcor.host_agent.agent import Agent
from alcor.host_agent.rescue_duty import Answer, Report, RescueDuty
from alcor.model import errors
from alcor.model.ids import HostId
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Supervisor

AT_ONCE_MAX = 4  # hosts; what a rescue costs must not hurt the host that gives it
PROBE_S = 2.0
PROBES_MAX = 16  # questions to neighbours' data planes at once
LEASE_CHECKS = 8  # per lease

MakeAgent = Callable[[Rescue, RescueDuty], Agent]
AskDataPlane = Callable[[Rescue | Probe], Awaitable[None]]


class SwitchCertificates(Protocol):
    """What lets us into neighbours' switches, for our key: orders and renewals bring it."""

    public_key: bytes

    def take(self, target: HostId, certificate: bytes) -> None:
        """Use it at a target's switch from now on. Raises Invalid when it lets nobody in; the old is kept."""
        ...

    def drop(self, target: HostId) -> None:
        """Forget it: the rescue is over."""
        ...


class NoCertificates:
    """Implements `SwitchCertificates` for switches that let everybody in."""

    public_key = b""

    def take(self, target: HostId, certificate: bytes) -> None:
        """Nothing is needed."""

    def drop(self, target: HostId) -> None:
        """Nothing is kept."""


class Neighborhood:
    """Implements `NeighborHelp`. Owner of one task for each rescue.

    `probe` raises Unavailable when the target's data plane does not answer.
    """

    def __init__(
        self,
        host: HostId,
        make_agent: MakeAgent,
        probe: AskDataPlane,
        log: EventLog,
        *,
        certificates: SwitchCertificates,
    ) -> None:
        self.helps = True
        self.public_key = certificates.public_key
        self._host = host
        self._make_agent = make_agent
        self._probe = probe
        self._certificates = certificates
        self._log = log
        self._supervisor = Supervisor(log, failure=None)  # a task for each neighbour
        self._rescues: dict[HostId, _Rescue] = {}
        self._probes = 0  # under way
        self._helped: dict[HostId, None] = {}  # until the lease ended; at most so many as were helped at once

    def order(self, order: Rescue, report: Report) -> None:
        """Rescue a host; `report` is called when that is over, or cannot be."""
        held = self._rescues.get(order.target)
        if held is not None and held.order.token >= order.token:
            return  # this order or a newer one is being carried out
        if held is not None:
            held.stop("a newer order came")
        elif len(self._rescues) >= AT_ONCE_MAX or order.target == self._host:
            report(_report(order, RescueOutcome.REFUSED, f"it already rescues {len(self._rescues)} hosts"))
            return
        try:
            self._certificates.take(order.target, order.certificate)
        except errors.Invalid as error:
            report(_report(order, RescueOutcome.REFUSED, error.message))
            return
        self._helped.pop(order.target, None)
        rescue = self._rescues[order.target] = _Rescue(self._host, order)
        self._supervisor.start(f"rescue of {order.target}", self._carry_out(rescue, report))

    def renew(self, message: RescueRenewal) -> None:
        """Take a newer certificate and warrant, if that rescue is under way."""
        rescue = self._rescues.get(message.target)
        if rescue is not None and rescue.order.token == message.token:
            rescue.duty.warrant = message.warrant or rescue.duty.warrant
            try:
                self._certificates.take(message.target, message.certificate)
            except errors.Invalid as error:  # the one before it lasts for minutes
                self._log.warning("rescue_not_renewed", host_id=message.target, reason=error.message)

    def end(self, message: RescueEnd) -> None:
        """Stop, if that rescue is under way."""
        rescue = self._rescues.get(message.target)
        if rescue is not None and rescue.order.token == message.token:
            rescue.stop(message.reason)

    def probe(self, message: Probe, answer: Answer) -> None:
        """Ask a neighbour's data plane whether it answers; `answer` is called once."""
        if self._probes >= PROBES_MAX:
            answer(Probed(message.target, message.number, 0, f"{self._probes} neighbours are being asked"))
            return
        self._probes += 1
        self._supervisor.start(f"probe of {message.target}", self._ask(message, answer))

    def helped(self) -> tuple[HostId, ...]:
        """Name the hosts written for until no controller renewed the lease, and forget them."""
        helped, self._helped = tuple(self._helped), {}
        return helped

    async def close(self) -> None:
        """Stop all. What the neighbours forward goes on (law 6)."""
        await self._supervisor.close()

    async def _carry_out(self, rescue: "_Rescue", report: Report) -> None:
        order = rescue.order
        try:
            outcome, reason = await self._rescue(rescue)
        finally:
            if self._rescues.get(order.target) is rescue:
                del self._rescues[order.target]
                self._certificates.drop(order.target)
        self._log.info(
            "rescue_over", host_id=order.target, token=order.token, outcome=outcome.name.lower(), reason=reason
        )
        report(_report(order, outcome, reason))

    async def _ask(self, message: Probe, answer: Answer) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            reason = await self._no_answer(message)
        finally:
            self._probes -= 1
        answer(Probed(message.target, message.number, int((loop.time() - began_s) * 1_000_000), reason))

    async def _no_answer(self, whom: Rescue | Probe) -> str:
        """Say why the target's data plane does not answer; nothing when it does."""
        try:
            async with asyncio.timeout(PROBE_S):
                await self._probe(whom)
        except errors.Unavailable as error:
            return error.message
        except TimeoutError:
            return f"no answer within {PROBE_S} s"
        return ""

    async def _rescue(self, rescue: "_Rescue") -> tuple[RescueOutcome, str]:
        order = rescue.order
        if reason := await self._no_answer(order):
            return RescueOutcome.NO_ANSWER, reason
        if rescue.over.is_set():  # meanwhile; a newer order for this target may have ended, too
            return RescueOutcome.ENDED, rescue.reason
        self._log.info("rescue_begins", host_id=order.target, token=order.token, lease_s=order.lease_s)
        agent = self._make_agent(order, rescue.duty)
        work = self._supervisor.start(f"agent for {order.target}", agent.run())  # which logs its failure
        try:
            return RescueOutcome.ENDED, await self._until_over(rescue, agent, work)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    async def _until_over(self, rescue: "_Rescue", agent: Agent, work: asyncio.Task[None]) -> str:
        loop = asyncio.get_running_loop()
        lease_s = rescue.order.lease_s
        began_s = loop.time()
        while not rescue.over.is_set():
            if work.done():
                return "the rescue failed; see this host's event log"
            if loop.time() - max(agent.heard_at_s, began_s) > lease_s:
                self._helped[rescue.order.target] = None
                return "the lease was not renewed"
            try:
                async with asyncio.timeout(lease_s / LEASE_CHECKS):
                    await rescue.over.wait()
            except TimeoutError:
                continue
        return rescue.reason


class _Rescue:
    """One order. Owner of its end."""

    def __init__(self, host: HostId, order: Rescue) -> None:
        self.order = order
        self.duty = RescueDuty(host, order.token, order.warrant, self.stop)
        self.over = asyncio.Event()
        self.reason = ""

    def stop(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.over.set()


def _report(order: Rescue, outcome: RescueOutcome, reason: str) -> RescueReport:
    return RescueReport(order.target, order.token, outcome, reason)
