"""The OpenFlow 1.4 messages around the flows: built and read here, sent by `openflow`. Pure.

Formats: OpenFlow Switch Specification 1.4.0, section 7.
"""

import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

from alcor.data_plane.ovs.encoding import (
    FORMATS,
    METER_MARK,
    METER_MARK_MASK,
    PORT_ANY,
    PORT_CONTROLLER,
    VERSION,
    WHOLE_PACKET,
    encode_actions,
    encode_match,
)
from alcor.data_plane.pipeline import hand_over
from alcor.data_plane.pipeline.flow import Action, Field, Meter, Resubmit
from alcor.data_plane.pipeline.matching import ETHERTYPE_IPV6
from alcor.data_plane.pipeline.tables import Table

HEADER = struct.Struct("!BBHI")  # version, type, length, number
CHUNK_BYTES = 64 * 1024  # written at once; the switch reads while the next chunk is made


class Kind(IntEnum):
    """Types of message (OpenFlow 1.4, 7.1.1)."""

    HELLO = 0
    ERROR = 1
    ECHO_REQUEST = 2
    ECHO_REPLY = 3
    EXPERIMENTER = 4
    SET_CONFIG = 9
    PACKET_IN = 10
    PACKET_OUT = 13
    FLOW_MOD = 14
    MULTIPART_REQUEST = 18
    MULTIPART_REPLY = 19
    BARRIER_REQUEST = 20
    BARRIER_REPLY = 21
    ROLE_REQUEST = 24
    METER_MOD = 29
    ROLE_STATUS = 30
    BUNDLE_CONTROL = 33
    BUNDLE_ADD = 34


class Bundle(IntEnum):
    """Requests about a bundle; each reply is one more (OpenFlow 1.4, 7.3.9.1)."""

    OPEN = 0
    COMMIT = 4
    DISCARD = 6


class MeterCommand(IntEnum):
    """What a meter message asks for (OpenFlow 1.4, 7.3.4.4)."""

    ADD = 0
    MODIFY = 1
    DELETE = 2


class FlowOnSwitch(NamedTuple):
    """A flow as the switch reports it."""

    cookie: int
    table: int
    priority: int
    port_key: int = 0  # of an anti-spoofing flow, the port that it is about
    leg: tuple[int, int] | None = None  # of a flow into a router in IPv6, VNI and MAC address of its leg


class PacketIn(NamedTuple):
    """A packet that a flow of a table handed to the agent, with the fields it had (in_port and registers)."""

    cookie: int
    table: int
    in_port: int
    fields: dict[Field, int]
    data: bytes


_ATOMIC_ORDERED = 3
_ROLE_MASTER, _ROLE_SLAVE = 2, 3
_IS_SLAVE = (1, 10)  # of a request that only a master may make
_FLOW_STATISTICS = 1
_METER_CONFIGURATION = 10
_ALL_METERS = 0xFFFFFFFF
_IN_PACKETS, _WITH_BURST = 2, 4
_DROP_BAND = 1
_VENDOR_NICIRA = 0x00002320
_FLUSH_ZONE = 29  # NXT_CT_FLUSH_ZONE of Open vSwitch
_BUNDLE_ADD = struct.Struct("!4sI12sI")
_ENTRY = struct.Struct("!HBxIIHHHHHxxQQQHH")
_METER = struct.Struct("!HHI")  # command or length, flags, id
_BAND = struct.Struct("!HHIIxxxx")  # type, length, rate, burst
_PACKET_IN = struct.Struct("!IHBBQHH")

_BY_HEADER = {(form.field_class, form.number): field for field, form in FORMATS.items()}
# A switch reports registers that are not zero, each by itself: their class, and those that are xxreg2.
_REGISTERS, _LONG_REGISTER = 1, range(8, 12)

_ERROR_TYPES = {
    0: "the greeting failed",
    1: "the request is not understood",
    2: "an action is not accepted",
    3: "an instruction is not accepted",
    4: "a match is not accepted",
    5: "the flow is not accepted",
    11: "the role is not given",
    12: "the meter is not accepted",
    13: "the request failed in the switch",
    17: "the bundle failed",
    0xFFFF: "an extension is not accepted",
}
_ERROR_CODES = {
    (1, 1): "unknown type of message",
    (1, 6): "wrong length",
    (1, 9): "no such table",
    (1, 10): "another is the master",
    (2, 0): "unknown type of action",
    (2, 4): "no such output",
    (2, 5): "wrong argument",
    (2, 10): "a field's prerequisites are not matched",
    (2, 13): "unknown field to set",
    (4, 6): "unknown field",
    (4, 7): "value out of range",
    (4, 9): "a field's prerequisites are not matched",
    (4, 10): "a field occurs twice",
    (5, 1): "the table is full",
    (5, 2): "no such table",
    (11, 0): "a newer master was here",
    (12, 1): "it is there already",
    (12, 3): "it is not there",
    (12, 10): "there are too many",
    (17, 3): "timed out",
    (17, 12): "one of its messages failed",
}


def message(kind: Kind, number: int, body: bytes = b"") -> bytes:
    """Put a header before a body."""
    return HEADER.pack(VERSION, kind, 8 + len(body), number) + body


def hello(number: int) -> bytes:
    """Offer exactly the version that we speak."""
    return message(Kind.HELLO, number, struct.pack("!HHI", 1, 8, 1 << VERSION))


def receive_packets(number: int) -> bytes:
    """Ask for packets: a switch sends none to a connection that it did not open, until this is set."""
    return message(Kind.SET_CONFIG, number, struct.pack("!HH", 0, WHOLE_PACKET))


def master_role(number: int, generation: int) -> bytes:
    """Ask to be master; a generation older than the newest seen is refused (OpenFlow 1.4, 7.3.9)."""
    return message(Kind.ROLE_REQUEST, number, struct.pack("!IxxxxQ", _ROLE_MASTER, generation))


def bundle_control(number: int, bundle: int, what: Bundle) -> bytes:
    """Open, commit or discard a bundle that is atomic and ordered."""
    return message(Kind.BUNDLE_CONTROL, number, struct.pack("!IHH", bundle, what, _ATOMIC_ORDERED))


def bundle_chunks(bundle: int, first_number: int, bodies: Iterable[bytes]) -> Iterator[bytes]:
    """Wrap flow bodies for a bundle; body `i` gets the number `first_number + i`. Yields chunks to write."""
    parts: list[bytes] = []
    size = 0
    heads: dict[int, tuple[bytes, bytes]] = {}  # by length: what is around the number, which comes twice
    for number, body in enumerate(bodies, first_number):
        length = len(body)
        if length not in heads:
            heads[length] = _bundle_heads(bundle, length)
        before, between = heads[length]
        parts.append(_BUNDLE_ADD.pack(before, number, between, number))
        parts.append(body)
        size += _BUNDLE_ADD.size + length
        if size >= CHUNK_BYTES:
            yield b"".join(parts)
            parts.clear()
            size = 0
    if parts:
        yield b"".join(parts)


def _bundle_heads(bundle: int, body_length: int) -> tuple[bytes, bytes]:
    length = HEADER.size + body_length
    outer = struct.pack("!BBH", VERSION, Kind.BUNDLE_ADD, 16 + length)
    return outer, struct.pack("!IHHBBH", bundle, 0, _ATOMIC_ORDERED, VERSION, Kind.FLOW_MOD, length)


def flush_zone(number: int, zone: int) -> bytes:
    """Forget all connections of a conntrack zone. Takes the switch O(its connections)."""
    return message(Kind.EXPERIMENTER, number, struct.pack("!II6xH", _VENDOR_NICIRA, _FLUSH_ZONE, zone))


def flow_request(number: int, *, cookie: int, cookie_mask: int) -> bytes:
    """Ask for the flows whose cookie equals `cookie` under the mask."""
    body = struct.pack(
        "!HHxxxxBxxxIIxxxxQQ", _FLOW_STATISTICS, 0, 0xFF, PORT_ANY, PORT_ANY, cookie, cookie_mask
    )
    return message(Kind.MULTIPART_REQUEST, number, body + encode_match(()))


def more_follow(body: bytes) -> bool:
    """Does a part of an answer say that it is not the last?"""
    _, flags = struct.unpack_from("!HH", body)
    return bool(flags & 1)


def read_flows(body: bytes) -> list[FlowOnSwitch]:
    """Read one part of the answer to `flow_request`."""
    flows = []
    at = 8
    unpack = _ENTRY.unpack_from
    while at < len(body):
        entry = unpack(body, at)
        key, leg = 0, None
        if entry[1] in (Table.SPOOF, Table.FORWARD):
            start = at + _ENTRY.size
            fields = _read_fields(body[start : start + entry[-1] - 4])
            key = fields.get(Field.REG1, 0)
            if fields.get(Field.ETH_TYPE) == ETHERTYPE_IPV6 and entry[1] == Table.FORWARD:
                leg = (fields.get(Field.REG0, 0), fields.get(Field.ETH_DST, 0))
        flows.append(FlowOnSwitch(entry[9], entry[1], entry[4], key, leg))
        at += entry[0]
    return flows


def change_meter(number: int, command: MeterCommand, meter: Meter) -> bytes:
    """Add, change or delete a meter that drops what is more than its rate (OpenFlow 1.4, 7.3.4.4)."""
    head = _METER.pack(command, _IN_PACKETS | _WITH_BURST, METER_MARK | meter.id)
    return message(
        Kind.METER_MOD, number, head + _BAND.pack(_DROP_BAND, _BAND.size, meter.rate_per_s, meter.burst)
    )


def meter_request(number: int) -> bytes:
    """Ask for all meters."""
    body = struct.pack("!HHxxxxIxxxx", _METER_CONFIGURATION, 0, _ALL_METERS)
    return message(Kind.MULTIPART_REQUEST, number, body)


def read_meters(body: bytes) -> list[Meter]:
    """Read the meters of ours in one part of the answer to `meter_request`.

    One that does not limit packets by dropping them, in one way only, reads as a meter of no rate.
    """
    meters = []
    at = 8
    while at < len(body):
        length, flags, number = _METER.unpack_from(body, at)
        if number & METER_MARK_MASK == METER_MARK:
            rate = burst = 0
            if flags == _IN_PACKETS | _WITH_BURST and length == _METER.size + _BAND.size:
                kind, _, rate, burst = _BAND.unpack_from(body, at + _METER.size)
                rate = rate if kind == _DROP_BAND else 0
            meters.append(Meter(number & ~METER_MARK_MASK, rate, burst))
        at += length
    return meters


def read_packet_in(body: bytes) -> PacketIn:
    """Read a packet that was handed over, and the fields that Alcor knows of its metadata."""
    _, _, _, _, cookie, _, match_length = _PACKET_IN.unpack_from(body)
    start = _PACKET_IN.size - 4
    fields = _read_fields(body[start + 4 : start + match_length])
    data = body[start + (match_length + 7) // 8 * 8 + 2 :]
    table = hand_over.table_of(fields.get(Field.REG6, 0))
    return PacketIn(cookie, table, fields.get(Field.IN_PORT, 0), fields, data)


def resume_packet(number: int, packet: PacketIn, actions: tuple[Action, ...], table: int) -> bytes:
    """Send a packet on that was handed over, from a table on, as if it came in where it did."""
    encoded = encode_actions((*actions, Resubmit(table)))
    head = struct.pack("!IIHxxxxxx", 0xFFFFFFFF, packet.in_port, len(encoded))
    return message(Kind.PACKET_OUT, number, head + encoded + packet.data)


def packet_out(number: int, actions: tuple[Action, ...], data: bytes) -> bytes:
    """Send a packet of our own; the actions may not output to where it came from, it came from nowhere."""
    encoded = encode_actions(actions)
    head = struct.pack("!IIHxxxxxx", 0xFFFFFFFF, PORT_CONTROLLER, len(encoded))
    return message(Kind.PACKET_OUT, number, head + encoded + data)


def is_demoted(body: bytes) -> bool:
    """Does a role status say that this connection is no longer the master? (OpenFlow 1.4, 7.4.4)"""
    (role,) = struct.unpack_from("!I", body)
    return bool(role == _ROLE_SLAVE)


def is_demotion(body: bytes) -> bool:
    """Does an error say that another connection is the master now?"""
    return struct.unpack_from("!HH", body) == _IS_SLAVE


def error_words(body: bytes) -> str:
    """Say in words what an error message means."""
    kind, code = struct.unpack_from("!HH", body)
    what = _ERROR_TYPES.get(kind, "refused")
    why = _ERROR_CODES.get((kind, code))
    return f"{what}: {why}" if why else f"{what} (type {kind}, code {code})"


def _read_fields(data: bytes) -> dict[Field, int]:
    fields: dict[Field, int] = {}
    at = 0
    while at + 4 <= len(data):
        field_class, number, length = struct.unpack_from("!HBB", data, at)
        value = data[at + 4 : at + 4 + length]
        known = _BY_HEADER.get((field_class, number >> 1))
        if field_class == _REGISTERS and number >> 1 in _LONG_REGISTER:
            place = 32 * (_LONG_REGISTER[-1] - (number >> 1))
            fields[Field.XXREG2] = fields.get(Field.XXREG2, 0) | int.from_bytes(value[:4], "big") << place
        if known is not None:
            if number & 1:
                value = value[: length // 2]
            fields[known] = int.from_bytes(value, "big")
        at += 4 + length
    return fields
