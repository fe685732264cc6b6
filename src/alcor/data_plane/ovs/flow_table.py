"""The flows of ours that a switch holds: what was confirmed, what is there, and how the two are made equal.

Nothing here waits for its turn: the driver sees to it that one call runs at a time.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from alcor.data_plane.ovs.encoding import ALCOR_MARK, MARK_MASK, MARK_SHIFT, FlowEncoder, cookies_of
from alcor.data_plane.ovs.openflow import OpenFlowConnection
from alcor.data_plane.pipeline.flow import Flow, FlowChange, FlowKey

ROUNDS_MAX = 32  # a commit stops at the first flow it refuses, so each round finds one


class RefusedByBridge(NamedTuple):
    """A flow that the switch does not take, and why."""

    flow: Flow
    reason: str


class Repair(NamedTuple):
    """What a comparison found and put right."""

    installed: int
    removed: int
    refused: list[RefusedByBridge]
    port_keys: frozenset[int] = frozenset()  # of ports that flows were removed of


class FlowTable:
    """Owner of the record of wanted cookies; empty when a connection is new."""

    def __init__(self, connection: OpenFlowConnection) -> None:
        self._connection = connection
        self._encoder = FlowEncoder()
        self._cookies: dict[FlowKey, int] = {}
        self._refused: dict[FlowKey, int] = {}  # cookie that was refused: not tried again until it changes

    async def change(self, change: FlowChange) -> list[RefusedByBridge]:
        """Make a change in one atomic bundle, less what is refused. Raises Unavailable."""
        removals = [self._encoder.remove(key) for key in change.remove]
        for key in change.remove:
            self._cookies.pop(key, None)
        if self._refused:
            for key in change.remove:
                self._refused.pop(key, None)
            for flow in change.install:
                self._refused.pop(flow.key, None)
        return await self._commit(removals, change.install, [])

    def refused(self) -> list[FlowKey]:
        """Name the flows that the switch refused as they were last."""
        return list(self._refused)

    async def equalise(self, wanted: Mapping[FlowKey, Flow], *, remove: bool) -> Repair:
        """Compare with what the switch holds, install what is missing or different, remove strangers last.

        Only flows with our mark are strangers, and each goes by its exact cookie. Raises Unavailable.
        """
        self._cookies = cookies_of(wanted.values(), self._encoder)
        return await self.repair(wanted, remove=remove)

    async def repair(self, wanted: Mapping[FlowKey, Flow], *, remove: bool) -> Repair:
        """Do the same by the cookies on record, which is quick. `wanted`: all that was put in force before."""
        held = await self._connection.flows(cookie=ALCOR_MARK << MARK_SHIFT, cookie_mask=MARK_MASK)
        on_switch = {flow.cookie: flow.port_key for flow in held}
        missing = [
            wanted[key]
            for key, cookie in self._cookies.items()
            if cookie not in on_switch and self._refused.get(key) != cookie
        ]
        strangers = sorted(on_switch.keys() - self._cookies.values()) if remove else []
        if not missing and not strangers:
            return Repair(0, 0, [])
        removals = [self._encoder.remove_cookie(cookie) for cookie in strangers]
        refused = await self._commit([], missing, removals)
        keys = frozenset(on_switch[cookie] for cookie in strangers) - {0}
        return Repair(len(missing) - len(refused), len(strangers), refused, keys)

    async def _commit(
        self, before: list[bytes], flows: Sequence[Flow], after: list[bytes]
    ) -> list[RefusedByBridge]:
        refused: list[RefusedByBridge] = []
        for _ in range(ROUNDS_MAX):
            count = len(before) + len(flows) + len(after)
            if not count:
                return refused
            answer = await self._connection.bundle(chain(before, self._encode(flows), after), count=count)
            if not answer:
                return refused
            reasons = {at.place - len(before): at.reason for at in answer}
            places = [place for place in reasons if 0 <= place < len(flows)]
            if not places:  # not a flow's fault: the bundle as a whole
                return refused + [RefusedByBridge(flow, answer[0].reason) for flow in flows]
            for place in places:
                refused.append(RefusedByBridge(flows[place], reasons[place]))
                self._refused[flows[place].key] = self._cookies[flows[place].key]
            flows = [flow for place, flow in enumerate(flows) if place not in reasons]
        return refused + [RefusedByBridge(flow, "too many flows were refused") for flow in flows]

    def _encode(self, flows: Iterable[Flow]) -> Iterator[bytes]:
        for flow in flows:
            cookie, body = self._encoder.add(flow)
            self._cookies[flow.key] = cookie
            yield body
