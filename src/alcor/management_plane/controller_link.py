"""The controller as seen from an API process: asked over a stream, wherever it is now.

commit ---------> Committed -----> controller     it reads the change log at once
request --------> Request -------> controller
                  Reply <---------
no stream: states are unknown, so nothing is in force (law 1); waits wait for its return, in their time;
           whatever else only the controller knows is Unavailable. The stream is opened again for ever.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from alcor.contracts import api_channel, received
from alcor.contracts.agent_channel import BEAT_S, SILENCE_S, Beat, Channel, Farewell
from alcor.contracts.api_channel import (
    ANSWERS,
    PROTOCOL,
    STATES_MAX,
    ApiHello,
    ApiWelcome,
    Cancel,
    Committed,
    Question,
    Refusal,
    Reply,
    Request,
    ToApi,
)
from alcor.contracts.convergence import (
    HostStatus,
    NetworkProgress,
    PortState,
    Receipt,
    ResyncProgress,
    TraceResult,
    Until,
)
from alcor.contracts.store import Change
from alcor.model import errors
from alcor.model.ids import HostId, PortId
from alcor.model.records import Host, Port
from alcor.runtime.event_log import EventLog
from alcor.runtime.pending_requests import PendingRequests
from alcor.runtime.supervision import Failure, Supervisor

ANSWER_S = 5.0  # longer than silence lasts until it is noticed
HELLO_S = 5.0
RETRY_MIN_S = 0.05
RETRY_MAX_S = 1.0
UNANSWERED_MAX = 10_000  # questions; more: the controller does not keep up
_MARGIN_S = 1.0  # that the controller's answer to a wait may take longer than the wait
_UNKNOWN = PortState("DOWN", False, False, None, "the controller does not answer: nothing is known of its host")

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[ToApi] = msgspec.msgpack.Decoder(ToApi)
_answer_decoders: dict[type[Question], msgspec.msgpack.Decoder[Any]] = {
    question: msgspec.msgpack.Decoder(answer) for question, answer in ANSWERS.items()
}


class ControllerLink:
    """Implements `Convergence` and `Tracer`. Owner of the stream and of the questions under way."""

    def __init__(
        self,
        urls: Sequence[str],
        connect: Callable[[str], Awaitable[Channel]],
        log: EventLog,
        *,
        name: str,
        failure: Failure | None = None,
    ) -> None:
        """`urls`: where the controller may be, tried in turn. `name`: of this process, for its log."""
        self._urls = urls
        self._connect = connect
        self._log = log
        self._name = name
        self._failure = failure
        self._supervisor = Supervisor(log, failure=failure)
        self._channel: Channel | None = None
        self._connected = asyncio.Event()
        self._heard_s = 0.0
        self._epoch = 0  # of the newest controller heard of
        self._numbers = itertools.count(1)
        self._pending = PendingRequests[msgspec.Raw]()
        self._away_because = "it was not reached yet"

    def start(self) -> None:
        """Look for the controller from now on."""
        self._supervisor.start("controller_link", self._run())

    async def close(self) -> None:
        """End the stream, and all questions with Unavailable."""
        await self._supervisor.close()
        self._lost("the link to it is closed")

    @property
    def is_connected(self) -> bool:
        return self._channel is not None

    def on_commit(self, change: Change) -> None:
        """Tell the controller of a commit of this process. It finds those it is not told of, but later."""
        if self._channel is not None:
            self._channel.send(_encoder.encode(Committed(change.revision)))

    # Convergence and Tracer

    async def port_states(self, ports: Sequence[Port]) -> list[PortState]:
        found: list[PortState] = []
        try:
            for start in range(0, len(ports), STATES_MAX):
                found += await self._ask(api_channel.PortStates(tuple(ports[start : start + STATES_MAX])))
        except errors.Unavailable:
            return [_UNKNOWN] * len(ports)
        return found

    async def wait(
        self,
        port_ids: Sequence[PortId],
        *,
        revision: int,
        until: Until,
        timeout_s: float,
    ) -> bool:
        return await self._wait(
            lambda left_s: api_channel.Wait(tuple(port_ids), revision, until, left_s), timeout_s
        )

    async def wait_revision(self, revision: int, *, timeout_s: float) -> bool:
        return await self._wait(lambda left_s: api_channel.WaitRevision(revision, left_s), timeout_s)

    async def receipt(self, revision: int) -> Receipt | None:
        answer: Receipt | None = await self._ask(api_channel.ReceiptOf(revision))
        return answer

    async def hosts(self) -> list[HostStatus]:
        answer: list[HostStatus] = await self._ask(api_channel.Hosts())
        return answer

    async def host(self, host_id: HostId) -> HostStatus | None:
        answer: HostStatus | None = await self._ask(api_channel.OneHost(host_id))
        return answer

    async def host_records(self) -> list[Host]:
        answer: list[Host] = await self._ask(api_channel.HostRecords())
        return answer

    async def live_hosts(self) -> list[HostId]:
        answer: list[HostId] = await self._ask(api_channel.LiveHosts())
        return answer

    async def resync(self) -> ResyncProgress:
        answer: ResyncProgress = await self._ask(api_channel.Resync())
        return answer

    async def resync_networks(self) -> list[NetworkProgress]:
        answer: list[NetworkProgress] = await self._ask(api_channel.ResyncNetworks())
        return answer

    async def trace(
        self, *, port_id: PortId, to_ip: bytes, protocol: str, dst_port: int, icmp_type: int | None
    ) -> TraceResult:
        answer: TraceResult = await self._ask(api_channel.Trace(port_id, to_ip, protocol, dst_port, icmp_type))
        return answer

    # Asking

    async def _wait(self, question: Callable[[float], Question], timeout_s: float) -> bool:
        """Ask until there is an answer or the time is over: a controller that comes back is asked again."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while True:
            if self._channel is None:
                try:
                    async with asyncio.timeout_at(deadline):
                        await self._connected.wait()
                except TimeoutError:
                    return False
            left_s = max(0.0, deadline - loop.time())
            try:
                return bool(await self._ask(question(left_s), within_s=left_s + _MARGIN_S))
            except errors.Unavailable:
                if loop.time() >= deadline:
                    return False
                await asyncio.sleep(min(RETRY_MIN_S, deadline - loop.time()))

    async def _ask(self, question: Question, *, within_s: float = ANSWER_S) -> Any:
        """Give the answer, decoded. Raises Unavailable, and whatever the controller raises."""
        channel = self._channel
        if channel is None:
            raise _away(self._away_because)
        if len(self._pending) >= UNANSWERED_MAX:
            raise _away("it does not keep up with what it is asked")
        number = next(self._numbers)
        with self._pending.expect(number) as answer:
            channel.send(_encoder.encode(Request(number, question)))
            try:
                async with asyncio.timeout(within_s):
                    raw = await answer
            except TimeoutError:
                raise _away("it does not answer in time") from None
            finally:
                if answer.cancelled():
                    channel.send(_encoder.encode(Cancel(number)))
        return _answer_decoders[type(question)].decode(raw)

    # The stream

    async def _run(self) -> None:
        retry_s = RETRY_MIN_S
        for url in itertools.cycle(self._urls):
            try:
                channel = await self._connect(url)
            except errors.Unavailable as error:
                reason = error.message
            else:
                reason = await self._serve(channel, url)
            if self._connected.is_set():
                self._connected.clear()
                retry_s = RETRY_MIN_S
                self._log.warning("controller_lost", url=url, reason=reason)
            else:
                self._log.debug("controller_not_reached", url=url, reason=reason)
            self._lost(reason)
            await asyncio.sleep(retry_s)
            retry_s = min(RETRY_MAX_S, retry_s * 2)

    async def _serve(self, channel: Channel, url: str) -> str:
        """Use a stream until it ends; say why it did."""
        beats = Supervisor(self._log, failure=self._failure)
        try:
            await self._introduce(channel)
            self._log.info("controller_reached", url=url, epoch=self._epoch)
            self._heard_s = asyncio.get_running_loop().time()
            self._channel = channel
            self._connected.set()
            beats.start("controller_beats", self._beat(channel))
            await self._read(channel)
        except errors.AlcorError as error:
            channel.close(error.message)
        finally:
            self._channel = None
            channel.close()
            await beats.close()
        return channel.close_reason or ""

    async def _introduce(self, channel: Channel) -> None:
        channel.send(_encoder.encode(ApiHello(PROTOCOL, self._name)))
        try:
            async with asyncio.timeout(HELLO_S):
                frame = await channel.receive()
        except TimeoutError:
            raise errors.Unavailable("no answer to Hello came in time", retry_after_s=RETRY_MAX_S) from None
        if frame is None:
            raise errors.Unavailable(f"the stream ended: {channel.close_reason}", retry_after_s=RETRY_MAX_S)
        match received.message(_decoder, frame):
            case ApiWelcome(epoch=epoch) if epoch < self._epoch:
                raise errors.Invalid(f"this controller is of term {epoch}; there is one of {self._epoch}")
            case ApiWelcome(epoch=epoch):
                self._epoch = epoch
            case Farewell(reason=reason):
                raise errors.Invalid(f"the controller refuses: {reason}")
            case _:
                raise errors.Invalid("the controller's first message is no Welcome")

    async def _read(self, channel: Channel) -> None:
        loop = asyncio.get_running_loop()
        while (frame := await channel.receive()) is not None:
            self._heard_s = loop.time()
            match received.message(_decoder, frame):
                case Reply(number=number, answer=answer):
                    self._pending.answer(number, answer)
                case Refusal(number=number) as refusal:
                    self._pending.refuse(number, api_channel.error_of(refusal))
                case Farewell(reason=reason):
                    raise errors.Unavailable(reason, retry_after_s=RETRY_MAX_S)
                case Beat():
                    pass
                case ApiWelcome():
                    raise errors.Invalid("a stream has one Welcome")

    async def _beat(self, channel: Channel) -> None:
        loop = asyncio.get_running_loop()
        beat = _encoder.encode(Beat())
        while loop.time() - self._heard_s < SILENCE_S:
            channel.send(beat)
            await asyncio.sleep(BEAT_S)
        channel.close(f"nothing was heard of it for {SILENCE_S} s")

    def _lost(self, reason: str) -> None:
        """End what is under way, and say from now on why there is no answer."""
        self._away_because = reason
        self._pending.end(lambda: _away(reason))


def _away(reason: str) -> errors.Unavailable:
    return errors.Unavailable(f"The controller does not answer: {reason}.", retry_after_s=RETRY_MAX_S)
