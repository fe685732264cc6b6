"""What stands in for an agent's neighbours: a controller on any channel, and a data plane that can fail."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from alcor.contracts.agent_channel import (
    PROTOCOL,
    Acknowledgement,
    Beat,
    Channel,
    FromAgent,
    FromController,
    Hello,
    Outcome,
    Plugs,
    Update,
    Welcome,
)
from alcor.contracts.data_plane import DataPlaneEvents, Refusal
from alcor.model import errors
from alcor.model.goal_state import (
    HostState,
    NetworkChange,
    NetworkEntry,
    Placement,
    SectionChange,
    SectionKey,
    SectionUpdate,
)
from alcor.model.ids import NetworkId, PortId, Vni
from alcor.model.version import Version
from doubles.waiting import eventually

_decoder: msgspec.msgpack.Decoder[FromAgent] = msgspec.msgpack.Decoder(FromAgent)
_encoder = msgspec.msgpack.Encoder()


def key(name: str) -> SectionKey:
    return SectionKey(f"network:{name}")


def change(*ports: str, network: str = "n") -> NetworkChange:
    """A network whose placements are named."""
    placements = tuple(
        Placement(PortId(name), 1, (b"\x0a\x00\x00\x01",), b"\x7f\x00\x00\x01") for name in ports
    )
    return NetworkChange(
        network=NetworkEntry(NetworkId(network), Vni(7), 1450, True), set_placements=placements
    )


def full(name: str, revision: int, *ports: str, epoch: int = 1) -> SectionUpdate:
    return SectionUpdate(key(name), None, Version(epoch, revision), change(*ports, network=name))


def delta(name: str, base: int, revision: int, *ports: str, epoch: int = 1) -> SectionUpdate:
    placements = change(*ports).set_placements
    return SectionUpdate(
        key(name), Version(epoch, base), Version(epoch, revision), NetworkChange(set_placements=placements)
    )


def removal(name: str, revision: int, *, epoch: int = 1) -> SectionUpdate:
    return SectionUpdate(key(name), None, Version(epoch, revision), None)


class Conversation:
    """The controller's end of one stream. Keeps everything that it heard; beats when told to."""

    def __init__(self, channel: Channel, *, epoch: int = 1, beat_s: float = 0.02) -> None:
        self.channel = channel
        self.epoch = epoch
        self.hello: Hello | None = None
        self.acknowledgements: list[Acknowledgement] = []
        self.plugs: list[Plugs] = []
        self.beats = 0
        self.numbers = 0
        self._beat_s = beat_s

    async def run(self) -> None:
        """Read until the end, answering Hello with Welcome."""
        beating = asyncio.create_task(self._beat())
        try:
            while (frame := await self.channel.receive()) is not None:
                self._hear(_decoder.decode(frame))
        finally:
            beating.cancel()

    def send(self, message: FromController) -> None:
        self.channel.send(_encoder.encode(message))

    def update(self, *sections: SectionUpdate, complete: bool = False) -> int:
        """Send an update and give its number."""
        self.numbers += 1
        self.send(Update(self.numbers, sections, complete))
        return self.numbers

    async def answer(self, number: int) -> Acknowledgement:
        return await eventually(
            lambda: next((one for one in self.acknowledgements if one.number == number), None)
        )

    async def outcomes(self, *sections: SectionUpdate, complete: bool = False) -> list[Outcome]:
        """Send an update and give what became of its sections."""
        return [one.outcome for one in (await self.answer(self.update(*sections, complete=complete))).results]

    def _hear(self, message: FromAgent) -> None:
        assert (self.hello is None) == isinstance(message, Hello), "Hello is the first message, and sent once"
        match message:
            case Hello():
                self.hello = message
                self.send(Welcome(PROTOCOL, self.epoch))
            case Acknowledgement():
                self.acknowledgements.append(message)
            case Plugs():
                self.plugs.append(message)
            case Beat():
                self.beats += 1

    async def _beat(self) -> None:
        while self._beat_s:
            await asyncio.sleep(self._beat_s)
            self.send(Beat())


class FailingDataPlane:
    """Holds section contents; refuses, fails and waits as told. Fails the test when the contract is broken.

    `holds`: what is in force. `gate`: cleared, `apply` and `synchronise` wait for it.
    """

    name = "failing"
    answers_at_once = False

    def __init__(self) -> None:
        self.holds: dict[SectionKey, SectionChange] = {}
        self.refuses: dict[SectionKey, str] = {}
        self.is_away = False
        self.starts_ready = True
        self.gate = asyncio.Event()
        self.gate.set()
        self.applied: list[tuple[SectionKey, ...]] = []
        self.synchronised: list[bool] = []
        self.plugged: list[PortId] = []
        self.holds_more = False
        self.is_closed = False
        self.tokens: list[int] = []
        self.events: DataPlaneEvents | None = None
        self._is_busy = False

    async def start(self, events: DataPlaneEvents) -> None:
        self.events = events
        if self.starts_ready:
            asyncio.get_running_loop().call_soon(events.ready)

    async def synchronise(self, state: HostState, *, remove: bool) -> Sequence[Refusal]:
        async def work() -> None:
            self.synchronised.append(remove)
            self.holds_more = not remove and not self.holds.keys() <= state.sections.keys()
            for name in [one for one in self.holds if remove and one not in state.sections]:
                del self.holds[name]
            self._hold(state, list(state.sections))

        await self._alone(work)
        return self._refusals(state.sections)

    async def apply(self, state: HostState, updates: Sequence[SectionUpdate]) -> Sequence[Refusal]:
        for update in updates:
            assert update.version <= state.versions[update.key], "the state has the updates already"

        async def work() -> None:
            self.applied.append(tuple(update.key for update in updates))
            for update in updates:
                if update.key not in state.sections:
                    self.holds.pop(update.key, None)
            self._hold(state, [update.key for update in updates if update.key in state.sections])

        await self._alone(work)
        return self._refusals({update.key for update in updates})

    def grant(self, token: int) -> None:
        self.tokens.append(token)

    @property
    def token(self) -> int:
        return max(self.tokens, default=0)

    def plugged_ports(self) -> Sequence[PortId]:
        return sorted(self.plugged)

    async def close(self) -> None:
        self.is_closed = True

    def lose(self) -> None:
        assert self.events is not None
        self.is_away = True
        self.events.lost("pulled")

    def recover(self) -> None:
        assert self.events is not None
        self.is_away = False
        self.events.ready()

    async def _alone(self, work: Callable[[], Awaitable[None]]) -> None:
        assert not self._is_busy, "one call at a time"
        self._is_busy = True
        try:
            await self.gate.wait()
            if self.is_away:
                raise errors.Unavailable("the data plane is away", retry_after_s=0.01)
            await work()
        finally:
            self._is_busy = False

    def _hold(self, state: HostState, names: Sequence[SectionKey]) -> None:
        for name in names:
            if name not in self.refuses:
                self.holds[name] = state.sections[name].full()

    def _refusals(self, names: object) -> list[Refusal]:
        assert isinstance(names, dict | set)
        return [Refusal(name, reason) for name, reason in self.refuses.items() if name in names]
