"""The rescue path: a host whose agent is dead is written to by a neighbour, until its own agent is back.

    stream ends --left--> case --detector, grace--> agent dead --choice--> Rescue(token) --> neighbour
                                                      RescueReport (no answer) --> host gone, asked again
    Hello(rescuer, token) --admit--> the neighbour's stream is the host's (ledger, receipts: as with any agent)
                          <-- RescueRenewal (certificate for the host's switch, warrant), every five minutes
    Hello (own agent) ------------> newer token; RescueEnd --> neighbour     (and its writes are refused anyway)

Tokens grow with every change of writer, over controllers too: epoch << 32 | counter. The switch itself refuses
whoever writes under an older one, so an order that is late or lost does no harm.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple

import msgspec

from alcor.contracts import agent_channel
from alcor.contracts.agent_channel import (
    Hello,
    Rescue,
    RescueEnd,
    RescueOutcome,
    RescueRenewal,
    RescueReport,
)
from alcor.contracts.convergence import HostStatus, RescueStatus
from alcor.control_plane.health import detector, rescue_choice, warrants
from alcor.control_plane.health.detector import DetectorSettings, Evidence, Judgement, Surroundings, Verdict
from alcor.control_plane.health.helpers import Helpers
from alcor.control_plane.health.losses import Losses
from alcor.control_plane.health.rescue_choice import Candidate
from alcor.control_plane.health.rescue_trail import RescueTrail
from alcor.control_plane.nodes import HostNode
from alcor.control_plane.region import Region
from alcor.model import errors
from alcor.model.ids import HostId
from alcor.runtime.clock import Clock

TICK_S = 0.05
LOOKS_MAX = 512  # cases in one tick, each in its turn: a lost region must not take the controller's time
ORDERS_MAX = 8  # in one tick
LEASE_S = 5.0  # a neighbour cut off from us stops on its own after it; it hears us every second or two
HELPED_GRACE_S = 1.0  # an agent that is back connects within it
ORDER_S = 6.0  # from an order until the neighbour's Hello in the host's name
AGAIN_MIN_S, AGAIN_MAX_S = 1.0, 30.0  # between orders for a host whose data plane does not answer
ZONES_S = 1.0  # between counts of the hosts: O(hosts)

# And warrants: a later controller believes none that is much older (`warrants.CLOCKS_S`).
# Certificates last fifteen minutes, so that a rescue whose controller is away has ten at least. Without a
# controller it goes on for a lease: nothing ends for want of a certificate, and clocks may be wrong by minutes.
RENEW_S = 300.0

Send = Callable[[HostId, Rescue | RescueRenewal | RescueEnd], None]


class Powers(NamedTuple):
    """What only a region's controllers can: prove that an order was theirs, and let a neighbour into a switch.

    `certify` gives the certificate of a neighbour (second) for a host's switch (first) and for the neighbour's
    public key; an empty one when it cannot.
    """

    warrant_key: bytes
    certify: Callable[[HostId, HostId, bytes], bytes]


NO_POWERS = Powers(b"", lambda target, neighbour, public_key: b"")  # simulated switches let everybody in


class _Order(msgspec.Struct):
    """One neighbour's task. `taken_at_us`: since when it writes; 0: not yet.

    `lost_at_s`: since when its stream is away, which may be back within the grace; None: it is not away.
    """

    neighbour: HostId
    token: int
    at_s: float
    why: str
    certified_at_s: float
    taken_at_us: int = 0
    lost_at_s: float | None = None
    lost_by: str = ""
    granted: int = (
        0  # to write under instead of `token`, by which the neighbour knows a former controller's order
    )


class _Case:
    """A host without its own agent."""

    __slots__ = ("again_s", "due_s", "evidence", "failed", "judgement", "order")

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.judgement = Judgement(Verdict.SUSPECTED, f"its stream ended: {evidence.left_reason}")
        self.order: _Order | None = None
        self.failed: dict[HostId, float] = {}
        self.due_s = 0.0  # no order before
        self.again_s = AGAIN_MIN_S


class Rescues:
    """Owner of the cases, the orders and the tokens. `send` gives a message to a host's own agent."""

    def __init__(
        self,
        region: Region,
        send: Send,
        clock: Clock,
        trail: RescueTrail,
        *,
        epoch: int,
        powers: Powers,
        settings: DetectorSettings = detector.USUAL,
    ) -> None:
        self._region = region
        self._present: dict[HostId, HostId] = {}  # who speaks for a host: itself (empty) or its rescuer
        self._helpers = Helpers()
        self._losses = Losses(settings.cut_off_s)
        self._send = send
        self._clock = clock
        self._trail = trail
        self._settings = settings
        self._epoch = epoch
        self._powers = powers
        self._public_keys: dict[HostId, bytes] = {}  # of those present that can help
        # Hosts for which no former controller's order counts any more: they spoke for themselves here, or an
        # order of ours was given or ended.
        self._settled: set[HostId] = set()
        self._counter = 0
        self._cases: dict[HostId, _Case] = {}
        self._ordered: dict[HostId, dict[HostId, None]] = {}  # by neighbour: whom it has orders for
        self._succeeded: dict[HostId, float] = {}
        self._opened = asyncio.Event()
        self._zones: dict[str, int] = {}  # hosts of each, counted now and then
        self._zones_at_s = -math.inf

    async def run(self) -> None:
        """Look after the cases until cancelled; sleep while there are none."""
        while True:
            await self._opened.wait()
            while self._cases:
                await asyncio.sleep(TICK_S)
                self.look(self._clock.monotonic_s())
            self.end_trail()
            self._opened.clear()

    def end_trail(self) -> None:
        """Tell what the audit trail has not heard yet: no host is without its agent any more."""
        self._trail.tell_rest()

    async def open_missed(self) -> None:
        """Take up hosts that agents introduced to former controllers, and none to this one in time."""
        since_s = self._clock.monotonic_s()
        await asyncio.sleep(self._settings.start_grace_s)
        for host_id, node in self._region.hosts.items():
            if node.record is not None and host_id not in self._present and host_id not in self._cases:
                reason = "it did not connect since this controller started"
                self._open(host_id, Evidence(heard_at_s=since_s, left_at_s=since_s, left_reason=reason))

    # What is heard

    def admit(self, hello: Hello) -> None:
        """Refuse a neighbour that was not ordered, or no longer. Raises Conflict.

        One that proves to write by order of a former controller goes on, if nobody else speaks for the host:
        its switch knows its token, and whoever is newer there has ended it already.
        """
        if not hello.rescuer or self._is_inherited(hello):
            return
        case = self._cases.get(hello.host)
        order = case.order if case is not None else None
        if order is None or (order.neighbour, order.token) != (hello.rescuer, hello.token):
            raise errors.Conflict(f"'{hello.rescuer}' has no order to write for host '{hello.host}'")

    def connected(self, hello: Hello) -> int:
        """Take note of who speaks for a host from now on, and give the token to write under."""
        if self._is_inherited(hello):
            self._inherit(hello)
        self._present[hello.host] = hello.rescuer
        if hello.helps and not hello.rescuer:
            self._helpers.came(hello.host, data_plane=hello.data_plane, zone=hello.zone)
            self._public_keys[hello.host] = hello.public_key
        else:
            self._helpers.left(hello.host)
            self._public_keys.pop(hello.host, None)
        case = self._cases.get(hello.host)
        if hello.rescuer:
            assert case is not None, "admitted before"
            assert case.order is not None, "admitted before"
            if not case.order.taken_at_us:
                case.order.taken_at_us = self._clock.now_us()
                self._trail.taken(hello.host, hello.rescuer, hello.token, why=case.order.why)
            case.order.lost_at_s = None
            self._succeeded[hello.rescuer] = self._clock.monotonic_s()
            return case.order.granted or hello.token
        self._settled.add(hello.host)
        if case is not None:
            self._close(hello.host, case, "its own agent is back")
            if case.judgement.verdict is not Verdict.SUSPECTED:
                self._trail.returned(hello.host)
        self._take_up(hello.host, hello.helped)
        return self._next_token()

    def _is_inherited(self, hello: Hello) -> bool:
        case = self._cases.get(hello.host)
        return (
            bool(hello.rescuer)
            and agent_channel.epoch_of(hello.token) < self._epoch
            and hello.host not in self._present
            and hello.host not in self._settled
            and (case is None or case.order is None)
            and warrants.proves(
                hello.warrant,
                self._powers.warrant_key,
                target=hello.host,
                neighbour=hello.rescuer,
                token=hello.token,
                now_s=self._now_s(),
                renewed_s=RENEW_S,
            )
        )

    def _inherit(self, hello: Hello) -> None:
        """Make a former controller's order our own, as old as it is: it says nothing of our connections."""
        now_s = self._clock.monotonic_s()
        why = "its agent was dead before this controller started"
        if hello.host not in self._cases:
            lost_s = now_s - self._settings.cut_off_s
            self._open(hello.host, Evidence(heard_at_s=lost_s, left_at_s=lost_s, left_reason=why))
        # What this controller sends is written under a token of its own: the former one may yet be alive, and
        # order another neighbour.
        granted = self._next_token()
        # How long its certificate lasts is not known: renewed as soon as the neighbour's own agent is here.
        order = _Order(hello.rescuer, hello.token, now_s, why, certified_at_s=-math.inf, granted=granted)
        self._assign(hello.host, self._cases[hello.host], order)

    def _take_up(self, neighbour: HostId, helped: Iterable[HostId]) -> None:
        """Take up hosts that the neighbour wrote for until no controller was there."""
        now_s = self._clock.monotonic_s()
        for target in helped:
            node = self._region.hosts.get(target)
            if node is None or node.record is None or target in self._present or target in self._cases:
                continue
            why = f"'{neighbour}' wrote for it until no controller was there"
            self._open(
                target,
                Evidence(heard_at_s=now_s, left_at_s=now_s, left_reason=why, grace_s=HELPED_GRACE_S),
            )

    def left(self, host_id: HostId, reason: str, *, heard_at_s: float, is_silent: bool) -> None:
        """Nobody speaks for a host any longer: neither its own agent nor a neighbour.

        `is_silent`: its stream is open, but it was judged dead. Else its stream ended, and may be back.
        """
        now_s = self._clock.monotonic_s()
        rescuer = self._present.pop(host_id)
        self._helpers.left(host_id)
        self._public_keys.pop(host_id, None)
        if not rescuer:
            self._void_untaken(host_id, reason, now_s)
            grace_s = 0.0 if is_silent else self._settings.grace_s
            self._open(
                host_id,
                Evidence(heard_at_s=heard_at_s, left_at_s=now_s, left_reason=reason, grace_s=grace_s),
            )
            return
        case = self._cases.get(host_id)
        if case is None or case.order is None or case.order.neighbour != rescuer:
            return
        case.order.lost_at_s, case.order.lost_by = now_s, reason
        if is_silent:
            self._lose_rescuer(host_id, case, case.order, now_s)

    def _void_untaken(self, neighbour: HostId, reason: str, now_s: float) -> None:
        """It is gone before it took these orders: others are asked at once."""
        for target in list(self._ordered.get(neighbour, ())):
            case = self._cases[target]
            if case.order is not None and not case.order.taken_at_us:
                self._trail.rescuer_left(target, neighbour, case.order.token, reason)
                self._over(target, case, now_s)

    def _lose_rescuer(self, host_id: HostId, case: _Case, order: _Order, now_s: float) -> None:
        self._trail.rescuer_left(host_id, order.neighbour, order.token, order.lost_by)
        self._tell(order.neighbour, RescueEnd(host_id, order.token, order.lost_by))
        self._over(host_id, case, now_s)

    def reported(self, neighbour: HostId, report: RescueReport) -> None:
        """A neighbour does not write for a host, or no longer."""
        case = self._cases.get(report.target)
        if case is None and report.outcome is RescueOutcome.ENDED:
            self._take_up(neighbour, (report.target,))  # its lease ended after its Hello to this controller
        if case is None or case.order is None:
            return
        if (case.order.neighbour, case.order.token) != (neighbour, report.token):
            return
        now_s = self._clock.monotonic_s()
        self._trail.not_done(report.target, neighbour, report.token, report.outcome, report.reason)
        self._over(report.target, case, now_s)
        if report.outcome is RescueOutcome.ENDED:  # another writes there: asking again at once is of no use
            case.due_s = now_s + AGAIN_MIN_S
        if report.outcome is RescueOutcome.NO_ANSWER:
            case.evidence = msgspec.structs.replace(case.evidence, no_answer=report.reason)
            case.due_s = now_s + case.again_s
            case.again_s = min(2 * case.again_s, AGAIN_MAX_S)

    # What is done about it

    def look(self, now_s: float) -> None:
        """Judge the cases whose turn it is, and order a neighbour where that is due. O(LOOKS_MAX)."""
        self._count_hosts(now_s)
        self._trail.tell_rest(now_s)
        orders = 0
        in_turn = list(islice(self._cases, LOOKS_MAX))
        for host_id in in_turn:
            case = self._cases[host_id]
            if len(in_turn) < len(self._cases):
                self._cases[host_id] = self._cases.pop(host_id)
            node = self._region.hosts.get(host_id)
            if node is None or node.record is None:
                self._close(host_id, case, "the host is known no longer")
                self._settled.discard(host_id)
                continue
            around = self._surroundings(node.record.zone, now_s)
            judgement = detector.judge(case.evidence, around, now_s, self._settings)
            if judgement.verdict is not case.judgement.verdict:
                self._note(host_id, judgement, now_s - (case.evidence.left_at_s or now_s))
            case.judgement = judgement
            self._end_overdue(host_id, case, now_s)
            wants_help = judgement.verdict in (Verdict.AGENT_DEAD, Verdict.HOST_GONE)
            if wants_help and case.order is None and now_s >= case.due_s and orders < ORDERS_MAX:
                orders += self._give_order(node, case, now_s)
            elif case.order is not None and now_s - case.order.certified_at_s > RENEW_S and orders < ORDERS_MAX:
                orders += self._renew(host_id, case.order, now_s)

    def described(self, status: HostStatus) -> HostStatus:
        """Add to a host's status what is held of it when it is without its own agent."""
        case = self._cases.get(status.record.id)
        if case is None:
            return status
        reason, order = case.judgement.reason, case.order
        if order is None or not order.taken_at_us or order.lost_at_s is not None:
            return msgspec.structs.replace(status, reason=reason)
        return msgspec.structs.replace(
            status,
            reason=f"{reason}; its data plane answers, and '{order.neighbour}' writes for it",
            rescue=RescueStatus(order.neighbour, order.taken_at_us, order.why),
        )

    def _end_overdue(self, host_id: HostId, case: _Case, now_s: float) -> None:
        order = case.order
        if order is None:
            return
        if not order.taken_at_us and now_s - order.at_s > ORDER_S:
            self._call_off(host_id, case, "the order was not carried out in time")
            self._over(host_id, case, now_s)
        elif order.lost_at_s is not None and now_s - order.lost_at_s >= self._settings.grace_s:
            self._lose_rescuer(host_id, case, order, now_s)

    def _give_order(self, node: HostNode, case: _Case, now_s: float) -> bool:
        """Order a neighbour; False when none can help now."""
        record = node.record
        assert record is not None, "looked at before"
        near = self._helpers.near(data_plane=record.data_plane, zone=record.zone)
        choice = rescue_choice.choose(record.zone, [self._candidate(host, case) for host in near], now_s)
        if choice.host is None:
            case.due_s = now_s + AGAIN_MIN_S
            return False
        order = _Order(choice.host, self._next_token(), now_s, case.judgement.reason, certified_at_s=now_s)
        self._assign(node.id, case, order)
        self._settled.add(node.id)
        self._trail.ordered(node.id, order.neighbour, order.token, why=order.why, chosen=choice.reason)
        certificate = self._powers.certify(node.id, choice.host, self._public_keys[choice.host])
        self._tell(
            choice.host,
            Rescue(
                node.id,
                record.vtep,
                record.zone,
                record.data_plane,
                order.token,
                LEASE_S,
                self._warrant(node.id, order),
                certificate,
            ),
        )
        return True

    def _renew(self, host_id: HostId, order: _Order, now_s: float) -> bool:
        """Certify a rescuer anew, and let it prove its order anew; False while its own agent is not there."""
        public_key = self._public_keys.get(order.neighbour)
        if public_key is None:
            return False
        order.certified_at_s = now_s
        certificate = self._powers.certify(host_id, order.neighbour, public_key)
        warrant = self._warrant(host_id, order)
        self._tell(order.neighbour, RescueRenewal(host_id, order.token, certificate, warrant))
        return True

    def _warrant(self, host_id: HostId, order: _Order) -> bytes:
        return warrants.make(
            self._powers.warrant_key,
            target=host_id,
            neighbour=order.neighbour,
            token=order.token,
            now_s=self._now_s(),
        )

    def _now_s(self) -> int:
        return self._clock.now_us() // 1_000_000

    def _candidate(self, host_id: HostId, case: _Case) -> Candidate:
        node = self._region.hosts[host_id]
        return Candidate(
            host=host_id,
            zone=node.record.zone if node.record is not None else "",
            rescues=self._helpers.rescues(host_id),
            ports=sum(map(len, node.networks.values())),
            failed_at_s=case.failed.get(host_id),
            succeeded_at_s=self._succeeded.get(host_id),
        )

    def _assign(self, host_id: HostId, case: _Case, order: _Order) -> None:
        case.order = order
        self._helpers.ordered(order.neighbour)
        self._ordered.setdefault(order.neighbour, {})[host_id] = None

    def _release(self, host_id: HostId, neighbour: HostId) -> None:
        self._helpers.over(neighbour)
        del self._ordered[neighbour][host_id]
        if not self._ordered[neighbour]:
            del self._ordered[neighbour]

    def _over(self, host_id: HostId, case: _Case, now_s: float) -> None:
        if case.order is not None:
            self._settled.add(host_id)
            case.failed[case.order.neighbour] = now_s
            self._release(host_id, case.order.neighbour)
            case.order = None

    def _close(self, host_id: HostId, case: _Case, reason: str) -> None:
        del self._cases[host_id]
        self._losses.found(host_id)
        self._call_off(host_id, case, reason)
        if case.order is not None:
            self._release(host_id, case.order.neighbour)

    def _call_off(self, host_id: HostId, case: _Case, reason: str) -> None:
        if case.order is not None:
            self._trail.ended(host_id, case.order.neighbour, case.order.token, reason)
            self._tell(case.order.neighbour, RescueEnd(host_id, case.order.token, reason))

    def _tell(self, neighbour: HostId, message: Rescue | RescueRenewal | RescueEnd) -> None:
        if self._present.get(neighbour) == "":  # its own agent is there
            self._send(neighbour, message)

    def _open(self, host_id: HostId, evidence: Evidence) -> None:
        self._cases[host_id] = _Case(evidence)
        node, left_at_s = self._region.hosts.get(host_id), evidence.left_at_s
        if node is not None and node.record is not None and left_at_s is not None:
            self._losses.lost(host_id, node.record.zone, left_at_s, self._clock.monotonic_s())
        self._opened.set()

    def _count_hosts(self, now_s: float) -> None:
        if now_s - self._zones_at_s > ZONES_S:
            self._zones_at_s = now_s
            self._zones = dict(
                Counter(node.record.zone for node in self._region.hosts.values() if node.record is not None)
            )

    def _surroundings(self, zone: str, now_s: float) -> Surroundings:
        return Surroundings(self._zones.get(zone, 0), self._losses.lately(zone, now_s))

    def _next_token(self) -> int:
        self._counter += 1
        return agent_channel.token_of(self._epoch, self._counter)

    def _note(self, host_id: HostId, judgement: Judgement, after_s: float) -> None:
        self._trail.judged(host_id, judgement.verdict, judgement.reason, after_ms=round(after_s * 1000))
