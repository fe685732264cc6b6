"""Answers packets that the pipeline hands over (DHCP, routers, ICMP errors), so many a second for each port."""

import asyncio
from collections.abc import Callable, Sequence

from alcor.data_plane.ovs.messages import PacketIn
from alcor.data_plane.pipeline.flow import Field
from alcor.runtime.clock import Clock
from alcor.runtime.limits import TokenBuckets

RATE_PER_S = 20.0
BURST = 40.0  # a workload that boots asks a few times; a flood of one must not starve the others
WAITING_MAX = 256
AT_ONCE = 32  # answered before other work of the loop gets its turn


class Answers:
    """Owner of the packets that wait. What comes too often or finds no room is dropped and counted."""

    def __init__(
        self,
        *,
        answer: Callable[[int, int, bytes], Sequence[bytes]],
        send: Callable[[PacketIn, bytes], None],
        clock: Clock,
    ) -> None:
        """`answer`: (VNI, port key, frame) -> the frames to send back, which `send` does, one by one."""
        self._answer = answer
        self._send = send
        self._clock = clock
        self._waiting: asyncio.Queue[PacketIn] = asyncio.Queue(WAITING_MAX)
        self._buckets: TokenBuckets[int] = TokenBuckets(rate_per_s=RATE_PER_S, burst=BURST)
        self.answered = 0
        self.dropped = 0

    def put(self, packet: PacketIn) -> None:
        """Take a packet in. Never blocks."""
        key = packet.fields.get(Field.REG1, 0)
        if self._waiting.full() or not self._buckets.take(key, self._clock.monotonic_s()):
            self.dropped += 1
            return
        self._waiting.put_nowait(packet)

    async def run(self) -> None:
        """Answer forever."""
        while True:
            self._reply(await self._waiting.get())
            for _ in range(AT_ONCE - 1):
                if self._waiting.empty():
                    break
                self._reply(self._waiting.get_nowait())
            await asyncio.sleep(0)

    def _reply(self, packet: PacketIn) -> None:
        vni, key = packet.fields.get(Field.REG0, 0), packet.fields.get(Field.REG1, 0)
        answer = self._answer(vni, key, packet.data)
        self.answered += bool(answer)
        for frame in answer:
            self._send(packet, frame)
