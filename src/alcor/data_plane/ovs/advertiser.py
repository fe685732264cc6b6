"""Sends what `advertising` finds due to the workloads of a switch, so many a second."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

from alcor.data_plane import advertisements
from alcor.data_plane.advertisements import Advertisement
from alcor.data_plane.advertising import Advertising
from alcor.data_plane.pipeline.program import FlowProgram
from alcor.data_plane.pipeline.retold import Retold
from alcor.model.ids import PortId
from alcor.runtime.clock import Clock

# A router that joins a network of five hundred local ports is known to all of them within two seconds, and no
# turn of the loop is longer than a millisecond or two.
AT_ONCE = 16
BETWEEN_S = 0.05
NOT_NOW_S = 1.0  # while the switch does not answer


class Advertiser:
    """Owner of what ports were told, and of the notes about whom to look at again."""

    def __init__(
        self,
        *,
        told: Callable[[PortId], Sequence[Advertisement]],
        send: Callable[[PortId, bytes], None],
        can_send: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self.retold = Retold()
        self._advertising = Advertising(told)
        self._send = send
        self._can_send = can_send
        self._clock = clock
        self._woken = asyncio.Event()

    def look(self, program: FlowProgram, *, is_complete: bool) -> None:
        """Follow what was noted since the last time. O(ports concerned).

        `is_complete` False: what the program does not know may be so, and is not taken back (law 6).
        """
        ports, networks = self.retold.take()
        for network_id in networks:
            ports.update(program.ports_of(network_id))
        there = {port_id for port_id in ports if program.is_attached(port_id)}
        self._advertising.forget(ports - there)
        if not is_complete:
            later = there & self._advertising.ports
            self.retold.note(later, ())
            there -= later
        self._advertising.look(there, self._clock.monotonic_s())
        if self._advertising.next_s is not None:
            self._woken.set()

    def meet(self, port_ids: set[PortId]) -> None:
        """Know that the workloads of these ports are others than before: they have heard nothing yet."""
        self._advertising.forget(port_ids)
        self.retold.note(port_ids, ())

    def succeed(self, program: FlowProgram, legs: Iterable[tuple[int, int]]) -> None:
        """Take over from who wrote before: what it said of legs that are gone is to be taken back.

        `legs`: VNI and MAC address of those that the switch knew. O(ports on this host), if there are any.
        """
        gone: dict[int, list[int]] = {}
        for vni, mac in legs:
            if all(leg.mac != mac or len(leg.ip) != 16 for leg in program.legs(vni)):
                gone.setdefault(vni, []).append(mac)
        for port_id in program.reached_through(program.attached()) if gone else ():
            scope = program.port_scope(port_id)
            for mac in gone.get(scope.network.vni, ()) if scope is not None else ():
                self._advertising.remember(port_id, advertisements.of_former_router(mac))
                self.retold.note((port_id,), ())

    async def run(self) -> None:
        """Send forever."""
        while True:
            self._woken.clear()
            if not self._can_send():
                await asyncio.sleep(NOT_NOW_S)
            elif self._say():
                await asyncio.sleep(BETWEEN_S)
            else:
                await self._until_due()

    def _say(self) -> bool:
        """Send some of what is due. Was there any?"""
        some = self._advertising.take(self._clock.monotonic_s(), at_most=AT_ONCE)
        for due in some:
            for said in due.said:
                for frame in advertisements.to_everybody(said):
                    self._send(due.port_id, frame)
        return bool(some)

    async def _until_due(self) -> None:
        next_s = self._advertising.next_s
        try:
            async with asyncio.timeout(None if next_s is None else next_s - self._clock.monotonic_s()):
                await self._woken.wait()
        except TimeoutError:
            return
