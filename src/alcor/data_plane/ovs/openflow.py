"""One OpenFlow connection to a bridge: atomic bundles, meters, read-back of both, packets in and out.

    caller                     connection                         switch
      bundle(bodies) --------->  open, adds (in chunks), barrier --->
                                 <--- errors by message number, barrier reply
                                 commit (or discard) --------------->
      <--- refusals, or none --  <--- commit reply

A request that is not answered in time leaves the switch in an unknown state, so it ends the connection; the
owner connects again and reads back.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from alcor.data_plane.ovs import messages
from alcor.data_plane.ovs.dialogue import Dialogue
from alcor.data_plane.ovs.encoding import VERSION
from alcor.data_plane.ovs.endpoint import Endpoint
from alcor.data_plane.ovs.messages import Bundle, FlowOnSwitch, Kind, MeterCommand, PacketIn
from alcor.data_plane.pipeline.flow import Action, Meter
from alcor.model.errors import Broken

ECHO_EVERY_S = 5.0
SILENT_MAX = 4  # echoes: longer than any commit seen, and what is asked has its own patience
NUMBER_MAX = 0xFFFFFFF0


class RefusedFlow(NamedTuple):
    """A message of a bundle that the switch refused: its place in the bundle, and why."""

    place: int
    reason: str


class Stale(Broken):
    """The switch has seen a master of a newer generation."""


class OpenFlowConnection:
    """A connection in use. Owner of its dialogue; `on_lost` is called once when it ends unasked."""

    def __init__(self, *, on_packet: Callable[[PacketIn], None], on_lost: Callable[[str], None]) -> None:
        self._on_packet = on_packet
        self._received = bytearray()
        self._number = 0
        self._dialogue: Dialogue[bytes] = Dialogue(
            "switch",
            on_data=self._read,
            on_lost=on_lost,
            on_end=self._end,
            greeting=messages.hello(self._take_numbers(1)),
        )
        self._bundle = 0
        self._readers: dict[int, Callable[[bytes], None]] = {}  # of answers in parts
        self._refused: dict[int, str] = {}
        self._bundle_numbers = range(0)
        self._each_numbers = range(0)
        self._each_refused = ""
        self._greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._echo: asyncio.TimerHandle | None = None
        self._heard = False
        self._silent_for = 0

    @classmethod
    async def open(
        cls, endpoint: Endpoint, *, on_packet: Callable[[PacketIn], None], on_lost: Callable[[str], None]
    ) -> "OpenFlowConnection":
        """Connect and agree on the version. Raises Unavailable."""
        connection = cls(on_packet=on_packet, on_lost=on_lost)
        await connection._dialogue.open(endpoint, greeted=connection._greeted)
        return connection

    async def bundle(self, bodies: Iterable[bytes], *, count: int) -> list[RefusedFlow]:
        """Put all flow messages in force at once, in order, or none; the list names those refused.

        `bodies` may be lazy, `count` of them: the switch reads one chunk while the next is made. One bundle at
        a time: the caller sees to that. Raises Unavailable.
        """
        assert not self._bundle_numbers, "one bundle at a time"
        self._bundle = self._bundle % NUMBER_MAX + 1
        self._refused = {}
        opened = self._take_numbers(1)
        first = self._take_numbers(count)
        self._bundle_numbers = range(opened, first + count)
        try:
            async with self._dialogue.patience("a bundle was not answered in time"):
                self._dialogue.send(messages.bundle_control(opened, self._bundle, Bundle.OPEN))
                for number, chunk in enumerate(messages.bundle_chunks(self._bundle, first, bodies)):
                    if number:
                        await asyncio.sleep(0)  # lets the loop write the last chunk, and others have a turn
                    await self._dialogue.writable.wait()
                    self._dialogue.send(chunk)
                barrier = self._take_numbers(1)
                await self._dialogue.ask(barrier, messages.message(Kind.BARRIER_REQUEST, barrier))
                if not self._refused:
                    await self._control(Bundle.COMMIT)
                else:
                    await self._control(Bundle.DISCARD)
        finally:
            self._bundle_numbers = range(0)
        return [RefusedFlow(max(number - first, 0), why) for number, why in sorted(self._refused.items())]

    async def flows(self, *, cookie: int, cookie_mask: int) -> list[FlowOnSwitch]:
        """Read back the flows whose cookie equals `cookie` under the mask. Raises Unavailable."""
        held: list[FlowOnSwitch] = []
        number = self._take_numbers(1)
        request = messages.flow_request(number, cookie=cookie, cookie_mask=cookie_mask)
        await self._read_back(number, request, lambda part: held.extend(messages.read_flows(part)))
        return held

    async def meters(self) -> dict[int, Meter]:
        """Read back the meters of ours, by id. Raises Unavailable."""
        held: list[Meter] = []
        number = self._take_numbers(1)
        request = messages.meter_request(number)
        await self._read_back(number, request, lambda part: held.extend(messages.read_meters(part)))
        return {meter.id: meter for meter in held}

    async def change_meters(self, changes: Sequence[tuple[MeterCommand, Meter]]) -> None:
        """Add, change or delete meters, in order: they do not go into a bundle. Raises Unavailable, Broken."""
        first = self._take_numbers(len(changes))
        requests = [messages.change_meter(first + at, *change) for at, change in enumerate(changes)]
        await self._do_each(first, requests, "limit packets for the agent")

    async def flush_zones(self, zones: Sequence[int]) -> None:
        """Forget all connections of these conntrack zones. Raises Unavailable, Broken."""
        first = self._take_numbers(len(zones))
        requests = [messages.flush_zone(first + at, zone) for at, zone in enumerate(zones)]
        await self._do_each(first, requests, "forget connections")

    async def become_master(self, generation: int) -> None:
        """Be the only one whose changes are taken. Raises Stale when a newer master was here, Unavailable."""
        number = self._take_numbers(1)
        try:
            async with self._dialogue.patience("a change of role was not answered in time"):
                await self._dialogue.ask(number, messages.master_role(number, generation))
        except Broken as error:
            raise Stale(error.message) from error

    def packet_out(self, actions: tuple[Action, ...], data: bytes) -> None:
        """Send a packet. Dropped when the switch reads too slowly: its sender will ask again."""
        if self._dialogue.writable.is_set():
            self._dialogue.send(messages.packet_out(self._take_numbers(1), actions, data))

    def resume_packet(self, packet: PacketIn, actions: tuple[Action, ...], table: int) -> None:
        """Send a packet on that was handed over, from a table on. Dropped like `packet_out`."""
        if self._dialogue.writable.is_set():
            self._dialogue.send(messages.resume_packet(self._take_numbers(1), packet, actions, table))

    def close(self) -> None:
        """Let go of the connection; `on_lost` is not called."""
        self._dialogue.close()

    # -- what arrives

    def _read(self, data: bytes) -> None:
        self._heard = True
        buffer = self._received
        buffer += data
        at = 0
        while len(buffer) - at >= 8:
            version, kind, length, number = messages.HEADER.unpack_from(buffer, at)
            if length < 8:
                self._dialogue.give_up("the switch sent what is not OpenFlow")
                return
            if len(buffer) - at < length:
                break
            body = bytes(buffer[at + 8 : at + length])
            at += length
            self._receive(version, kind, number, body)
        del buffer[:at]

    def _end(self, reason: str) -> None:
        if self._echo is not None:
            self._echo.cancel()
        if not self._greeted.done():
            self._greeted.set_exception(ConnectionError(reason))
            self._greeted.exception()

    def _receive(self, version: int, kind: int, number: int, body: bytes) -> None:
        if kind == Kind.MULTIPART_REPLY:
            self._receive_part(number, body)
        elif kind == Kind.PACKET_IN:
            self._on_packet(messages.read_packet_in(body))
        elif kind == Kind.ERROR:
            self._receive_error(number, body)
        elif kind == Kind.ECHO_REQUEST:
            self._dialogue.send(messages.message(Kind.ECHO_REPLY, number, body))
        elif kind == Kind.HELLO:
            self._greet(version)
        elif kind == Kind.ROLE_STATUS:
            if messages.is_demoted(body):
                self._dialogue.give_up("another writer took the switch over")
        else:
            self._dialogue.pending.answer(number, body)

    def _greet(self, version: int) -> None:
        if version < VERSION:
            self._dialogue.give_up(f"the switch speaks only version {version:#x} of OpenFlow")
            return
        self._dialogue.send(messages.receive_packets(self._take_numbers(1)))
        self._echo = asyncio.get_running_loop().call_later(ECHO_EVERY_S, self._ask_alive)
        if not self._greeted.done():
            self._greeted.set_result(None)

    def _receive_part(self, number: int, body: bytes) -> None:
        read = self._readers.get(number)
        if read is None:
            return
        read(body)
        if not messages.more_follow(body):
            self._dialogue.pending.answer(number, b"")

    def _receive_error(self, number: int, body: bytes) -> None:
        reason = messages.error_words(body)
        if messages.is_demotion(body):
            # Stop at once, whatever was asked.
            self._dialogue.give_up(f"another writer took the switch over: {reason}")
            return
        if number in self._bundle_numbers:
            self._refused.setdefault(number, reason)
            return
        if number in self._each_numbers:
            self._each_refused = reason
        self._dialogue.pending.refuse(number, Broken(reason))

    def _ask_alive(self) -> None:
        # A stopped switch keeps its socket open: silence over several requests is the only sign of it.
        self._silent_for = 0 if self._heard else self._silent_for + 1
        self._heard = False
        if self._silent_for >= SILENT_MAX:
            self._dialogue.give_up("the switch is silent")
        if not self._dialogue.is_closing:
            self._dialogue.send(messages.message(Kind.ECHO_REQUEST, self._take_numbers(1)))
            self._echo = asyncio.get_running_loop().call_later(ECHO_EVERY_S, self._ask_alive)

    # -- what leaves

    async def _read_back(self, number: int, request: bytes, read: Callable[[bytes], None]) -> None:
        self._readers[number] = read
        try:
            async with self._dialogue.patience("what the switch holds was not read back in time"):
                await self._dialogue.ask(number, request)
        finally:
            del self._readers[number]

    async def _do_each(self, first: int, requests: Sequence[bytes], what: str) -> None:
        """Send requests that are answered only when refused, numbered from `first`. One call at a time."""
        barrier = self._take_numbers(1)
        self._each_numbers, self._each_refused = range(first, first + len(requests)), ""
        try:
            async with self._dialogue.patience(f"the switch did not {what} in time"):
                end = messages.message(Kind.BARRIER_REQUEST, barrier)
                await self._dialogue.ask(barrier, b"".join([*requests, end]))
        finally:
            self._each_numbers = range(0)
        if self._each_refused:
            raise Broken(f"the switch does not {what}: {self._each_refused}")

    async def _control(self, what: Bundle) -> None:
        number = self._take_numbers(1)
        try:
            await self._dialogue.ask(number, messages.bundle_control(number, self._bundle, what))
        except Broken as error:
            if not self._refused:
                self._refused[0] = error.message

    def _take_numbers(self, count: int) -> int:
        if self._number + count >= NUMBER_MAX:
            self._number = 0
        first = self._number + 1
        self._number += count
        return first
