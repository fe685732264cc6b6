"""Flows and meters of ours on a switch: what is there, and how it is made equal to what is wanted.

Of what was put in force only the sum of its cookies is kept: while the switch reports flows with the same sum,
it holds what was put there. Otherwise all that is wanted is encoded again, and compared flow by flow.
Nothing here waits for its turn: the driver sees to it that one call runs at a time.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from alcor.data_plane.ovs import meters
from alcor.data_plane.ovs.encoding import ALCOR_MARK, MARK_MASK, MARK_SHIFT, FlowEncoder
from alcor.data_plane.ovs.openflow import OpenFlowConnection
from alcor.data_plane.pipeline import hand_over
from alcor.data_plane.pipeline.flow import AnyFlow, FlowChange, FlowKey
from alcor.model.errors import Broken, Unavailable
from alcor.runtime.event_log import Fields

ROUNDS_MAX = 32  # a commit stops at the first flow it refuses, so each round finds one


class RefusedByBridge(NamedTuple):
    """A flow that the switch does not take, and why."""

    flow: AnyFlow
    reason: str


class Repair(NamedTuple):
    """What a comparison found and put right."""

    installed: int
    removed: int
    refused: list[RefusedByBridge]
    port_keys: frozenset[int] = frozenset()  # of ports that flows were removed of
    legs: frozenset[tuple[int, int]] = frozenset()  # of routers in IPv6, too: VNI, MAC address
    meters: int = 0  # that were to be added, changed or deleted
    meters_refused: str = ""  # and why the switch did not
    left: int = 0  # strangers that were not to be removed

    @property
    def figures(self) -> Fields:
        """What the event log says of it; all of them are empty when nothing was wrong."""
        figures = Fields(installed=self.installed, removed=self.removed, meters=self.meters)
        return figures | Fields(meters_refused=self.meters_refused) if self.meters_refused else figures


class FlowTable:
    """Owner of the record of what the switch holds; empty when a connection is new."""

    def __init__(self, connection: OpenFlowConnection) -> None:
        self._connection = connection
        self._encoder = FlowEncoder()
        self._sum: int | None = None  # of the cookies of our flows on the switch; None: compare them one by one
        self._refused: dict[FlowKey, AnyFlow] = {}  # not tried again until they change

    async def change(self, change: FlowChange) -> list[RefusedByBridge]:
        """Make a change in one atomic bundle, less what is refused. Raises Unavailable."""
        removals = [self._encoder.remove(flow.key) for flow in change.remove]
        self._count_out(chain(change.remove, change.replaced))
        if self._refused:
            for flow in chain(change.remove, change.install):
                self._refused.pop(flow.key, None)
        return await self._commit(removals, change.install, [])

    def refused(self) -> list[AnyFlow]:
        """Give the flows that the switch refused as they were last."""
        return list(self._refused.values())

    async def equalise(self, wanted: Iterable[AnyFlow], *, remove: bool) -> Repair:
        """Compare with what the switch holds, install what is missing or different, remove strangers last.

        Only what has our mark is a stranger; each flow goes by its exact cookie. O(flows). Raises Unavailable.
        What was refused is tried again: whoever asks takes for held what is not refused now.
        """
        self._sum = None
        self._refused.clear()
        return await self.repair(wanted, remove=remove)

    async def repair(self, wanted: Iterable[AnyFlow], *, remove: bool) -> Repair:
        """Do the same, but look at what is `wanted` only when the sum of the cookies is another than it was."""
        metered = await self._connection.meters()
        missing = meters.missing(hand_over.METERS, metered)
        refused = await self._change_meters(missing)
        repair = await self._repair_flows(wanted, remove=remove)
        strangers = meters.strangers(hand_over.METERS, metered) if remove else ()
        refused = refused or await self._change_meters(strangers)
        return repair._replace(meters=len(missing) + len(strangers), meters_refused=refused)

    async def _change_meters(self, changes: Sequence[meters.MeterChange]) -> str:
        """Give the reason if it is refused: a switch that cannot limit packets still has to forward them."""
        try:
            if changes:
                await self._connection.change_meters(changes)
        except Broken as error:
            return error.message
        return ""

    async def _repair_flows(self, wanted: Iterable[AnyFlow], *, remove: bool) -> Repair:
        held = await self._connection.flows(cookie=ALCOR_MARK << MARK_SHIFT, cookie_mask=MARK_MASK)
        found = sum(flow.cookie for flow in held)
        if found == self._sum:
            return Repair(0, 0, [])
        strangers = {flow.cookie: flow for flow in held}
        missing = []
        on_switch = frozenset(strangers)
        for flow in wanted:
            cookie, _ = self._encoder.add(flow)
            if cookie in on_switch:
                strangers.pop(cookie, None)
            elif not self._refused or not self._was_refused(flow, cookie):
                missing.append(flow)
        gone = sorted(strangers) if remove else []
        self._sum = found - sum(gone)
        refused = await self._commit([], missing, [self._encoder.remove_cookie(cookie) for cookie in gone])
        keys = frozenset(strangers[cookie].port_key for cookie in gone) - {0}
        legs = frozenset(leg for cookie in gone if (leg := strangers[cookie].leg) is not None)
        left = len(strangers) - len(gone)
        return Repair(len(missing) - len(refused), len(gone), refused, keys, legs, left=left)

    def _was_refused(self, flow: AnyFlow, cookie: int) -> bool:
        refused = self._refused.get(flow.key)
        return refused is not None and self._encoder.add(refused)[0] == cookie

    async def _commit(
        self, before: list[bytes], flows: Sequence[AnyFlow], after: list[bytes]
    ) -> list[RefusedByBridge]:
        refused: list[RefusedByBridge] = []
        for _ in range(ROUNDS_MAX):
            count = len(before) + len(flows) + len(after)
            if not count:
                return refused
            answer = await self._connection.bundle(chain(before, self._encode(flows), after), count=count)
            if not answer:
                return refused
            self._sum = None
            reasons = {at.place - len(before): at.reason for at in answer}
            places = [place for place in reasons if 0 <= place < len(flows)]
            if not places:  # not a flow's fault: the bundle as a whole
                await self._remove_alone(before + after)
                return refused + [RefusedByBridge(flow, answer[0].reason) for flow in flows]
            for place in places:
                refused.append(RefusedByBridge(flows[place], reasons[place]))
                self._refused[flows[place].key] = flows[place]
            flows = [flow for place, flow in enumerate(flows) if place not in reasons]
        await self._remove_alone(before + after)
        return refused + [RefusedByBridge(flow, "too many flows were refused") for flow in flows]

    async def _remove_alone(self, removals: list[bytes]) -> None:
        """Remove flows without putting any in force: what is not refused counts as done. Raises Unavailable."""
        answer = await self._connection.bundle(removals, count=len(removals)) if removals else []
        if answer:
            raise Unavailable(f"the switch does not remove flows: {answer[0].reason}", retry_after_s=1)

    def _encode(self, flows: Iterable[AnyFlow]) -> Iterator[bytes]:
        for flow in flows:
            cookie, body = self._encoder.add(flow)
            if self._sum is not None:
                self._sum += cookie
            yield body

    def _count_out(self, flows: Iterable[AnyFlow]) -> None:
        if self._sum is not None:
            self._sum -= sum(self._encoder.add(flow)[0] for flow in flows)
