"""Serves API processes: answers what they ask, and hears of what they commit."""

import asyncio
import functools
from collections.abc import Callable

import msgspec

from alcor.contracts import api_channel, received
from alcor.contracts.agent_channel import FRAME_MAX, Beat, Channel, Farewell
from alcor.contracts.api_channel import (
    PROTOCOL,
    STATES_MAX,
    WAITS_MAX,
    ApiHello,
    ApiWelcome,
    Cancel,
    Committed,
    FromApi,
    Question,
    Reply,
    Request,
)
from alcor.contracts.convergence import Convergence, Tracer
from alcor.model import errors
from alcor.runtime import supervision
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Supervisor

RETRY_AFTER_S = 1.0
ANSWER_MAX = FRAME_MAX // 2  # about 50,000 hosts

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[FromApi] = msgspec.msgpack.Decoder(FromApi)


class ApiStreams:
    """Serves any number of streams; each owns the waits that it was asked for."""

    def __init__(
        self,
        convergence: Convergence,
        tracer: Tracer,
        told: Callable[[int], None],
        log: EventLog,
        *,
        epoch: int,
        waits_max: int = WAITS_MAX,
        answer_max: int = ANSWER_MAX,
    ) -> None:
        """`told` hears of revisions that were committed. `waits_max`: of one stream; `answer_max`: in bytes."""
        self._convergence = convergence
        self._tracer = tracer
        self._told = told
        self._log = log
        self._epoch = epoch
        self._waits_max = waits_max
        self._answer_max = answer_max

    async def serve(self, channel: Channel) -> None:
        """Serve one API process until its stream ends."""
        name = ""
        try:
            name = await _hello(channel)
            supervision.name_task(f"API process {name}")
            channel.send(_encoder.encode(ApiWelcome(PROTOCOL, self._epoch)))
            self._log.info("api_welcomed", name=name)
            await self._follow(channel)
            self._log.info("api_left", name=name, reason=channel.close_reason or "")
        except errors.AlcorError as error:
            self._log.warning("api_refused", name=name, reason=error.message)
            channel.send(_encoder.encode(Farewell(error.message, self._epoch)))
        finally:
            channel.close()

    async def _follow(self, channel: Channel) -> None:
        waits: dict[int, asyncio.Task[None]] = {}
        tasks = Supervisor(self._log, failure=None)
        try:
            while (frame := await channel.receive()) is not None:
                match received.message(_decoder, frame):
                    case Committed(revision=revision):
                        self._told(revision)
                    case (
                        Request(
                            number=number, question=api_channel.Wait() | api_channel.WaitRevision()
                        ) as asked
                    ):
                        if len(waits) >= self._waits_max:
                            full = errors.Unavailable("too many wait already", retry_after_s=RETRY_AFTER_S)
                            channel.send(_encoder.encode(api_channel.refusal_of(number, full)))
                            continue
                        # A task for what takes long; all else is answered from memory, in turn.
                        task = waits[number] = tasks.start("api_wait", self._reply(channel, asked))
                        task.add_done_callback(functools.partial(_forget, waits, number))
                    case Request() as asked:
                        await self._reply(channel, asked)
                    case Cancel(number=number):
                        if (wait := waits.get(number)) is not None:
                            wait.cancel()
                    case Beat():  # the channel answers those that come alone
                        channel.send(frame)
                    case ApiHello():
                        raise errors.Invalid("a stream has one Hello")
        finally:
            await tasks.close()

    async def _reply(self, channel: Channel, request: Request) -> None:
        try:
            raw = _encoder.encode(await self._answer(request.question))
            # A frame that is too long would end the stream, and all other questions.
            if len(raw) > self._answer_max:
                raise errors.Unavailable(
                    f"the answer has {len(raw)} bytes: ask the controller's own API",
                    retry_after_s=RETRY_AFTER_S,
                )
        except errors.AlcorError as error:
            channel.send(_encoder.encode(api_channel.refusal_of(request.number, error)))
        else:
            channel.send(_encoder.encode(Reply(request.number, msgspec.Raw(raw))))

    async def _answer(self, question: Question) -> object:
        known = self._convergence
        match question:
            case api_channel.PortStates(ports=ports):
                if len(ports) > STATES_MAX:
                    raise errors.Invalid(f"{len(ports)} ports in one question: at most {STATES_MAX}")
                return await known.port_states(ports)
            case api_channel.Wait():
                return await known.wait(
                    question.port_ids,
                    revision=question.revision,
                    until=question.until,
                    timeout_s=question.timeout_s,
                )
            case api_channel.WaitRevision():
                return await known.wait_revision(question.revision, timeout_s=question.timeout_s)
            case api_channel.ReceiptOf(revision=revision):
                return await known.receipt(revision)
            case api_channel.OneHost(host_id=host_id):
                return await known.host(host_id)
            case api_channel.Trace():
                return await self._tracer.trace(
                    port_id=question.port_id,
                    to_ip=question.to_ip,
                    protocol=question.protocol,
                    dst_port=question.dst_port,
                    icmp_type=question.icmp_type,
                )
            case _:
                return await self._answer_of_all(question)

    async def _answer_of_all(
        self,
        question: api_channel.Hosts
        | api_channel.HostRecords
        | api_channel.LiveHosts
        | api_channel.Resync
        | api_channel.ResyncNetworks,
    ) -> object:
        known = self._convergence
        match question:
            case api_channel.Hosts():
                return await known.hosts()
            case api_channel.HostRecords():
                return await known.host_records()
            case api_channel.LiveHosts():
                return await known.live_hosts()
            case api_channel.Resync():
                return await known.resync()
            case api_channel.ResyncNetworks():
                return await known.resync_networks()


def _forget(waits: dict[int, asyncio.Task[None]], number: int, task: asyncio.Task[None]) -> None:
    waits.pop(number, None)


async def _hello(channel: Channel) -> str:
    hello = received.message(_decoder, await received.first(channel))
    if not isinstance(hello, ApiHello):
        raise errors.Invalid("the first message is a Hello")
    if hello.protocol != PROTOCOL:
        raise errors.Invalid(f"protocol {hello.protocol} is not spoken here, but {PROTOCOL}")
    return hello.name
