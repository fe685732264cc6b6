"""The cheapest agent there can be: it answers everything at once, and counts what it is sent."""

import asyncio
from collections.abc import Sequence

import msgspec

from alcor.adapters import stream
from alcor.contracts import packed_ids
from alcor.contracts.agent_channel import (
    BEAT_S,
    PROTOCOL,
    Acknowledgement,
    Ask,
    Beat,
    Channel,
    Farewell,
    FromAgent,
    Hello,
    Outcome,
    SectionResult,
    Unknown,
    Update,
    Want,
)
from alcor.host_agent import inbox
from alcor.model import errors
from alcor.model.goal_state import HostState, NetworkChange, SectionUpdate
from alcor.model.ids import HostId

_encoder = msgspec.msgpack.Encoder()


class RawAgent:
    """Owner of one channel. `state` is what it was told; `found` counts placements."""

    def __init__(self, host: str, channel: Channel) -> None:
        self.host = HostId(host)
        self.state = HostState()
        self.found = 0
        self.bytes_received = 0
        self.update_bytes = 0  # of these, what is goal state
        self.sections: list[SectionUpdate] = []  # of the last update
        self._channel = channel
        self._asks = 0
        self._timer = asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    @classmethod
    async def connect(cls, url: str, host: str, vtep: bytes) -> "RawAgent":
        """Open a stream and take everything. Raises Unavailable."""
        agent = cls(host, await stream.connect(url))
        agent._send(Hello(PROTOCOL, HostId(host), vtep, "", "bench", "1", 1, reads_packed=True))
        while not await agent.take():
            pass
        return agent

    async def take(self) -> bool:
        """Take the next message and answer it. True when it ends a synchronisation. Raises Unavailable."""
        frame = await self._channel.receive()
        if frame is None:
            raise errors.Unavailable(
                f"the stream of {self.host} ended: {self._channel.close_reason}", retry_after_s=1
            )
        self.bytes_received += len(frame)
        message = packed_ids.read(frame)
        match message:
            case Update(number=number, sections=sections, complete=complete):
                self.update_bytes += len(frame)
                self._answer(number, sections)
                return complete
            case Farewell(reason=reason):
                raise errors.Unavailable(f"the controller says farewell: {reason}", retry_after_s=1)
            case Unknown(wants=wants):
                raise errors.Broken(f"{len(wants)} addresses are unknown that are there")
            case _:
                pass
        return False

    async def look_up(self, wants: Sequence[Want]) -> None:
        """Ask, and wait until all placements are here and acknowledged."""
        self._asks += 1
        goal = self.found + len(wants)
        self._send(Ask(self._asks, tuple(wants)))
        while self.found < goal:
            await self.take()

    def close(self) -> None:
        """End the stream."""
        self._timer.cancel()
        self._channel.close("the benchmark ends")

    def _beat(self) -> None:
        """Be heard, also while nobody reads here: a silent agent is taken for gone."""
        self._send(Beat())
        self._timer = asyncio.get_running_loop().call_later(BEAT_S, self._beat)

    def _answer(self, number: int, sections: Sequence[SectionUpdate]) -> None:
        self.sections = list(sections)
        results = []
        for section in sections:
            inbox.receive(self.state, section)
            if isinstance(section.change, NetworkChange):
                self.found += len(section.change.set_placements)
            results.append(SectionResult(section.key, section.version, Outcome.IN_FORCE))
        self._send(Acknowledgement(number, tuple(results)))

    def _send(self, message: FromAgent) -> None:
        self._channel.send(_encoder.encode(message))
