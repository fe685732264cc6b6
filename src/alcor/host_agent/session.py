"""One stream to the controller: decodes and encodes messages, beats, and notices silence."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from alcor.contracts import packed_ids
from alcor.contracts.agent_channel import (
    PROTOCOL,
    Beat,
    Channel,
    Compare,
    Farewell,
    FromAgent,
    FromController,
    Pace,
    Probe,
    Rescue,
    RescueEnd,
    RescueRenewal,
    Unknown,
    Update,
    Welcome,
)
from alcor.contracts.beat_datagram import BeatKey
from alcor.host_agent.settings import AgentTiming
from alcor.model.ids import HostId

UNWELCOMED_PATIENCE = 3  # times the silence that ends a stream
BEATS_PER_SILENCE = 3  # at least: whatever the controller asks for
BEAT_MIN_S = 0.01
WELCOME_S = 1.0  # what the queue delivers so long before its welcome shows that the welcome was lost

# What the agent acts on at once.
Other: TypeAlias = Welcome | Unknown | Rescue | RescueRenewal | RescueEnd | Probe | Compare
OnUpdate = Callable[[Update, bytes], Awaitable[None]]
OnOther = Callable[[Other], None]
_encoder = msgspec.msgpack.Encoder()


class Session:
    """Owner of one channel. `introduced`: Hello was sent; nothing else goes before it.

    `is_shared`: every controller that is alive hears and is heard, as over the queue. The session is with the
    newest one; `newest_epoch` is its epoch, or the newest known before.
    """

    def __init__(
        self,
        host: HostId,
        channel: Channel,
        timing: AgentTiming,
        held: Callable[[], bytes],
        *,
        newest_epoch: int = 0,
        is_shared: bool = False,
    ) -> None:
        """`held` gives what a beat says."""
        self.newest_epoch = newest_epoch
        self._is_shared = is_shared
        self._ended_here = False
        self._introduced_at_s = 0.0
        self.introduced = False
        self.welcomed = False
        self._read_at_s = 0.0  # when the controller served us last on the channel, by the loop's clock
        self._host = host
        self._channel = channel
        self._timing = timing
        self._loop = asyncio.get_running_loop()
        self._held = held
        self._beat_s = timing.beat_s
        self._tick_at_s = 0.0
        self._quiet_s = 0.0  # by turns, not the clock: when this process was held up, none but it is to blame
        self._busy = False  # what was heard is being passed on, and nothing more is read
        self._timer: asyncio.TimerHandle | None = None
        self._beat_key: BeatKey | None = None  # with it beats go as datagrams
        self._answered_at_s = 0.0  # one of these

    def send(self, message: FromAgent) -> None:
        """Queue a message. After the end it does nothing."""
        self._channel.send(_encoder.encode(message))

    def introduce(self, hello: FromAgent) -> None:
        """Send the first message; from now on the others may follow."""
        self.send(hello)
        self.introduced = True
        self._introduced_at_s = self._loop.time()

    @property
    def heard_at_s(self) -> float:
        """When the controller served us last, or answered a datagram, by the loop's clock."""
        return max(self._read_at_s, self._channel.beat_at_s)

    @property
    def is_open(self) -> bool:
        return self._channel.close_reason is None

    def close(self, reason: str) -> None:
        """End the stream; `read` returns, and what has come and was not read counts no longer."""
        self._ended_here = True
        self._channel.close(reason)

    async def read(self, *, on_update: OnUpdate, on_other: OnOther) -> str:
        """Pass on what is heard until the end, and give its reason."""
        self._begin_rhythm()
        self._timer = self._next_tick()
        try:
            while (frame := await self._channel.receive()) is not None and not self._ended_here:
                self._quiet_s = 0.0
                try:
                    message = packed_ids.read(frame)
                except msgspec.DecodeError as error:
                    self.close(f"malformed message: {error}")
                    break
                if self._is_shared and not self._is_from_newest(message):
                    continue
                if not isinstance(message, Farewell):  # who is sent away is not served
                    self._read_at_s = self._loop.time()
                if isinstance(message, Update):
                    self._busy = True
                    await on_update(message, frame)
                    self._busy = False
                else:
                    self._hear(message, on_other)
        finally:
            self._timer.cancel()
            self.close("the agent ends")
        return self._channel.close_reason or ""

    def _is_from_newest(self, message: FromController) -> bool:
        """Is it said by the controller that the session is with? One that is newer ends it: Hello must tell."""
        if not isinstance(message, (Welcome, Update, Farewell)) or not message.epoch:
            return True
        if message.epoch > self.newest_epoch and self.welcomed:
            self.close("a newer controller answers")
        is_newest = message.epoch >= self.newest_epoch
        self.newest_epoch = max(self.newest_epoch, message.epoch)
        if isinstance(message, Update) and not self.welcomed:
            # Nothing is taken before the token to write under.
            if self._loop.time() - self._introduced_at_s > WELCOME_S:
                self.close("the welcome was lost")
            return False
        return is_newest and self.is_open

    def _hear(self, message: Other | Beat | Pace | Farewell, on_other: OnOther) -> None:
        match message:
            case Welcome() if message.protocol != PROTOCOL:
                self.close(f"the controller speaks protocol {message.protocol}, this agent {PROTOCOL}")
            case Welcome() if message.epoch < self.newest_epoch:
                # It would take what we hold for newer, and be told that all it sends is in force already.
                self.close(
                    f"the controller's epoch {message.epoch} is behind {self.newest_epoch}, which is known"
                )
            case Welcome():
                self.newest_epoch = message.epoch
                self.welcomed = True
                self._beat_key = message.beat_key
                on_other(message)
            case Farewell():
                self.close(f"the controller says farewell: {message.reason}")
            case Beat():
                pass
            case Pace():
                self._keep(message.beat_s)
            case _:
                on_other(message)

    def _tick(self) -> None:
        if self.introduced:
            self._quiet_s += 0.0 if self._busy else self._beat_s
            self._hear_answers()
            # A controller that all come back to at once is slow to welcome: coming again makes it slower.
            patience = 1 if self.welcomed else UNWELCOMED_PATIENCE
            if self._quiet_s > patience * self._timing.silence_s:
                self.close("the controller is silent")
                return
            held = self._held()
            if self._beat_key is None or not self._channel.beat(self._beat_key, held):
                self.send(Beat(held))
        self._timer = self._next_tick()

    def _hear_answers(self) -> None:
        """Take note of an answer to our datagrams since the last turn."""
        answered_at_s = self._channel.beat_at_s
        if answered_at_s > self._answered_at_s:
            self._answered_at_s = answered_at_s
            self._quiet_s = 0.0

    def _begin_rhythm(self) -> None:
        """Begin somewhere in a beat's time: agents that come back all at once do not beat all at once."""
        self._tick_at_s = self._loop.time() + (_share(self._host) - 1) * self._beat_s

    def _next_tick(self) -> asyncio.TimerHandle:
        self._tick_at_s = next_tick_s(self._tick_at_s, now_s=self._loop.time(), beat_s=self._beat_s)
        return self._loop.call_at(self._tick_at_s, self._tick)

    def _keep(self, beat_s: float) -> None:
        beat_s = max(BEAT_MIN_S, min(beat_s, self._timing.silence_s / BEATS_PER_SILENCE))
        if self._timer is None:
            return
        if beat_s == self._beat_s:
            if not self._is_shared:  # over the queue it is told again and again
                self.send(Beat(self._held()))
            return
        self._beat_s = beat_s
        self._begin_rhythm()
        self._timer.cancel()
        self._tick()


def next_tick_s(tick_at_s: float, *, now_s: float, beat_s: float) -> float:
    """Give the first moment of a rhythm that is after now and after the last tick.

    Sessions of one process that was held up so stay apart, instead of beating together from then on.
    """
    late_s = max(0.0, now_s - tick_at_s)  # some loops' timers are a moment early
    return tick_at_s + (late_s // beat_s + 1) * beat_s


def next_attempt(attempt: int, *, lasted_s: float, is_welcomed: bool, timing: AgentTiming) -> int:
    """Number the attempt after a stream that ended, for the wait before it.

    After one that lasted, the first is due again. One that ends soon is not trusted at once: with the queue as
    another path, going to and fro would cost a synchronisation each time.
    """
    return 1 if is_welcomed and lasted_s >= timing.steady_s else attempt + 1


def reconnect_delay_s(host: HostId, attempt: int, timing: AgentTiming) -> float:
    """Give the wait before an attempt (from 1): doubling, and spread over the hosts.

    The spread comes from the host's name: agents that lost their controller at once come back one after the
    other, and need no randomness for it.
    """
    ceiling_s: float = min(timing.reconnect_max_s, timing.reconnect_min_s * 2 ** min(attempt - 1, 16))
    return ceiling_s * (0.2 + 0.8 * _share(f"{host}/{attempt}"))


def _share(name: str) -> float:
    """Give a number from 0 to 1, evenly spread over names."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big") / 0xFFFFFFFF
