"""Flows as OpenFlow 1.4 bytes: pure, and quick, because every port of the host passes through here.

OpenFlow 1.4 rather than 1.5: it is the first version with bundles, and its flow statistics have a fixed layout
that a read-back of thousands of flows can step through. Formats: OpenFlow Switch Specification 1.4.0, sections
7.2 and 7.3; Nicira extensions as in ovs-actions(7) and ovs-fields(7).

A cookie is `mark (16 bits) | hash of table, priority, match and instructions (48 bits)`, so that a flow that is
missing, or is not what it should be, shows by its cookie alone.
"""

import struct
from enum import IntEnum
from hashlib import blake2b
from operator import mul

import msgspec

from alcor.data_plane.pipeline.flow import (
    Action,
    AnyFlow,
    Commit,
    Conjunction,
    DecTtl,
    Field,
    FlowKey,
    ForgetTrack,
    Goto,
    Match,
    Move,
    Output,
    OutputInPort,
    Pattern,
    PatternFlow,
    PopVlan,
    PushVlan,
    Resubmit,
    SetField,
    ToAgent,
    Track,
)

VERSION = 0x05
ALCOR_MARK = 0xA1C0
MARK_SHIFT = 48
MARK_MASK = 0xFFFF << MARK_SHIFT
METER_MARK = ALCOR_MARK << 16  # in the id of a meter, which has no cookie
METER_MARK_MASK = 0xFFFF << 16
ALL_BITS = 0xFFFFFFFFFFFFFFFF

PORT_IN_PORT = 0xFFFFFFF8
PORT_CONTROLLER = 0xFFFFFFFD
PORT_ANY = 0xFFFFFFFF
WHOLE_PACKET = 0xFFFF  # max_len: never truncated, never buffered in the switch

ACTIONS_CACHED_MAX = 65_536  # distinct action lists remembered; a host has about one for each remote host


class Command(IntEnum):
    """What a flow message asks for (OpenFlow 1.4, 7.3.4.1)."""

    ADD = 0
    DELETE = 3
    DELETE_STRICT = 4


class FieldFormat:
    """How one field travels: class and number of its OXM header, and its width."""

    __slots__ = ("bits", "field_class", "masked", "number", "plain", "width")

    def __init__(self, field_class: int, number: int, bits: int) -> None:
        self.field_class = field_class
        self.number = number
        self.bits = bits
        self.width = (bits + 7) // 8
        self.plain = struct.pack("!HBB", field_class, number << 1, self.width)
        self.masked = struct.pack("!HBB", field_class, number << 1 | 1, self.width * 2)


_OXM = 0x8000
_NXM1 = 0x0001
_ERICOXM = 0x1000  # two fields of neighbour discovery, since Open vSwitch 2.11

FORMATS: dict[Field, FieldFormat] = {
    Field.IN_PORT: FieldFormat(_OXM, 0, 32),
    Field.ETH_DST: FieldFormat(_OXM, 3, 48),
    Field.ETH_SRC: FieldFormat(_OXM, 4, 48),
    Field.ETH_TYPE: FieldFormat(_OXM, 5, 16),
    Field.IP_PROTO: FieldFormat(_OXM, 10, 8),
    Field.IP_SRC: FieldFormat(_OXM, 11, 32),
    Field.IP_DST: FieldFormat(_OXM, 12, 32),
    Field.IP_TTL: FieldFormat(_NXM1, 29, 8),
    Field.TCP_SRC: FieldFormat(_OXM, 13, 16),
    Field.TCP_DST: FieldFormat(_OXM, 14, 16),
    Field.UDP_SRC: FieldFormat(_OXM, 15, 16),
    Field.UDP_DST: FieldFormat(_OXM, 16, 16),
    Field.SCTP_SRC: FieldFormat(_OXM, 17, 16),
    Field.SCTP_DST: FieldFormat(_OXM, 18, 16),
    Field.ICMP_TYPE: FieldFormat(_OXM, 19, 8),
    Field.ICMP_CODE: FieldFormat(_OXM, 20, 8),
    Field.ARP_OP: FieldFormat(_OXM, 21, 16),
    Field.ARP_SPA: FieldFormat(_OXM, 22, 32),
    Field.ARP_TPA: FieldFormat(_OXM, 23, 32),
    Field.ARP_SHA: FieldFormat(_OXM, 24, 48),
    Field.ARP_THA: FieldFormat(_OXM, 25, 48),
    Field.TUN_ID: FieldFormat(_OXM, 38, 64),
    Field.TUN_DST: FieldFormat(_NXM1, 32, 32),
    Field.REG0: FieldFormat(_NXM1, 0, 32),
    Field.REG1: FieldFormat(_NXM1, 1, 32),
    Field.REG2: FieldFormat(_NXM1, 2, 32),
    Field.REG3: FieldFormat(_NXM1, 3, 32),
    Field.REG4: FieldFormat(_NXM1, 4, 32),
    Field.VLAN_VID: FieldFormat(_OXM, 6, 13),
    Field.REG5: FieldFormat(_NXM1, 5, 32),
    Field.REG6: FieldFormat(_NXM1, 6, 32),
    Field.REG7: FieldFormat(_NXM1, 7, 32),
    Field.CT_STATE: FieldFormat(_NXM1, 105, 32),
    Field.CT_MARK: FieldFormat(_NXM1, 107, 32),
    Field.CONJ_ID: FieldFormat(_NXM1, 37, 32),
    Field.IP_FRAG: FieldFormat(_NXM1, 26, 8),
    Field.IPV6_SRC: FieldFormat(_OXM, 26, 128),
    Field.IPV6_DST: FieldFormat(_OXM, 27, 128),
    Field.ICMPV6_TYPE: FieldFormat(_OXM, 29, 8),
    Field.ICMPV6_CODE: FieldFormat(_OXM, 30, 8),
    Field.ND_TARGET: FieldFormat(_OXM, 31, 128),
    Field.ND_RESERVED: FieldFormat(_ERICOXM, 1, 32),
    Field.ND_OPTIONS_TYPE: FieldFormat(_ERICOXM, 2, 8),
    Field.ND_SLL: FieldFormat(_OXM, 32, 48),
    Field.ND_TLL: FieldFormat(_OXM, 33, 48),
    Field.XXREG2: FieldFormat(_NXM1, 113, 128),
}

_COOKIE = struct.Struct("!Q")
_SETTINGS = struct.Struct(
    "!QBBHHHIIIHH"
)  # cookie mask, table, command, timeouts, priority, buffer, outs, flags
_MATCH = struct.Struct("!HH")
_IDENTITY = struct.Struct("!BH")
_INSTRUCTION = struct.Struct("!HHI")
_GOTO = struct.Struct("!HHBxxx")
_PADS = tuple(bytes(-length % 8) for length in range(8))
_NO_BUFFER = 0xFFFFFFFF
_ALL_TABLES = 0xFF
_VENDOR_NICIRA = 0x00002320
_REG_MOVE = 6
_RESUBMIT_TABLE = 14
_CONJUNCTION = 34
_CONTROLLER = 37  # with properties: how much of the packet, and the meter
_CT = 35
_CT_CLEAR = 43
_CT_COMMIT = 1
_CT_NO_TABLE = 0xFF
_ETHERTYPE_VLAN = 0x8100
_WHERE_IT_CAME_IN = 0xFFF8  # its port, to a table that is resubmitted to
_ZONE_BITS = 15  # offset 0, 16 bits, in the `ofs << 6 | bits - 1` form


class FlowEncoder:
    """Encodes flows under one mark. Owner of its caches of action lists and patterns."""

    def __init__(self, mark: int = ALCOR_MARK) -> None:
        self._mark = mark << MARK_SHIFT
        self._instructions: dict[tuple[Action, ...], bytes] = {}
        self._patterns: dict[tuple[Pattern, int], _EncodedPattern] = {}  # and how many numbers the actions have

    def add(self, flow: AnyFlow) -> tuple[int, bytes]:
        """Give the cookie of a flow and the body of the message that installs or replaces it."""
        if isinstance(flow, PatternFlow):
            kind = flow.pattern, len(flow.what)
            pattern = self._patterns.get(kind)
            if pattern is None:
                pattern = self._patterns[kind] = _EncodedPattern(flow)
            content, settings = pattern.content(flow), pattern.settings
        else:
            (table, priority, match), actions, _ = flow
            instructions = self._instructions.get(actions)
            if instructions is None:
                instructions = self._remember(actions)
            content = _IDENTITY.pack(table, priority) + encode_match(match) + instructions
            settings = _settings(table, priority)
        cookie = self._mark | int.from_bytes(blake2b(content, digest_size=6).digest(), "big")
        return cookie, _COOKIE.pack(cookie) + settings + content[_IDENTITY.size :]

    def remove(self, key: FlowKey) -> bytes:
        """Give the body that deletes the flow with this key, if it carries the mark."""
        settings = _settings(key.table, key.priority, Command.DELETE_STRICT, cookie_mask=MARK_MASK)
        return _COOKIE.pack(self._mark) + settings + encode_match(key.match)

    def remove_cookie(self, cookie: int) -> bytes:
        """Give the body that deletes what has exactly this cookie. O(1) in the switch: it indexes them."""
        settings = _settings(_ALL_TABLES, 0, Command.DELETE, cookie_mask=ALL_BITS)
        return _COOKIE.pack(cookie) + settings + encode_match(())

    def _remember(self, actions: tuple[Action, ...]) -> bytes:
        if len(self._instructions) >= ACTIONS_CACHED_MAX:
            self._instructions.clear()
        encoded = encode_instructions(actions)
        self._instructions[actions] = encoded
        return encoded


class _EncodedPattern:
    """A pattern as bytes, which are linear in its numbers if taken as one number: each is written as it is."""

    def __init__(self, example: PatternFlow) -> None:
        pattern, places = example.pattern, len(example.where)
        zeros = (0,) * (places + len(example.what))

        def whole(*numbers: int) -> bytes:
            key = msgspec.structs.replace(example, where=numbers[:places]).key
            instructions = encode_instructions(pattern.actions(*numbers[places:]))
            return _IDENTITY.pack(pattern.table, pattern.priority) + encode_match(key.match) + instructions

        self._length = len(whole(*zeros))
        self._base = int.from_bytes(whole(*zeros), "big")
        ones = [(*zeros[:place], 1, *zeros[place + 1 :]) for place in range(len(zeros))]
        self._factors = [int.from_bytes(whole(*one), "big") - self._base for one in ones]
        self.settings = _settings(pattern.table, pattern.priority)

    def content(self, flow: PatternFlow) -> bytes:
        """Give table, priority, match and instructions of a flow of the pattern."""
        number: int = sum(map(mul, self._factors, flow.where + flow.what), self._base)
        return number.to_bytes(self._length, "big")


def encode_match(match: Match) -> bytes:
    """Encode a match, padded. Terms must ascend by field: a field's prerequisites come before it."""
    parts = []
    for field, value, mask in match:
        form = FORMATS[field]
        width = form.width
        if mask is None:
            parts.append(form.plain + value.to_bytes(width, "big"))
        else:
            parts.append(form.masked + (value & mask).to_bytes(width, "big") + mask.to_bytes(width, "big"))
    terms = b"".join(parts)
    length = 4 + len(terms)
    return _MATCH.pack(1, length) + terms + _PADS[length & 7]


def encode_instructions(actions: tuple[Action, ...]) -> bytes:
    """Encode actions as instructions: apply them, then go to a table if the last one says so."""
    goto = b""
    if actions and isinstance(actions[-1], Goto):
        goto = _GOTO.pack(1, 8, actions[-1].table)
        actions = actions[:-1]
    if not actions:
        return goto
    applied = encode_actions(actions)
    return _INSTRUCTION.pack(4, 8 + len(applied), 0) + applied + goto


def encode_actions(actions: tuple[Action, ...]) -> bytes:
    """Encode a list of actions, none of which is Goto."""
    return b"".join(_encode_action(action) for action in actions)


def _encode_action(action: Action) -> bytes:
    match action:
        case SetField(field=field, value=value):
            return _set_field(field, value)
        case Move(source=source, target=target):
            start, end = FORMATS[source], FORMATS[target]
            bits = min(start.bits, end.bits)
            return struct.pack(
                "!HHIHHHH4s4s", 0xFFFF, 24, _VENDOR_NICIRA, _REG_MOVE, bits, 0, 0, start.plain, end.plain
            )
        case DecTtl():
            return struct.pack("!HHI", 24, 8, 0)
        case PopVlan():
            return struct.pack("!HH4x", 18, 8)
        case PushVlan():
            return struct.pack("!HHH2x", 17, 8, _ETHERTYPE_VLAN)
        case Output(port=port):
            return struct.pack("!HHIH6x", 0, 16, port, 0)
        case OutputInPort():
            return struct.pack("!HHIH6x", 0, 16, PORT_IN_PORT, 0)
        case ToAgent(meter=meter):
            size, metered = (
                struct.pack("!HHHxx", 0, 6, WHOLE_PACKET),
                struct.pack("!HHI", 5, 8, METER_MARK | meter),
            )
            return struct.pack("!HHIH6x", 0xFFFF, 32, _VENDOR_NICIRA, _CONTROLLER) + size + metered
        case Resubmit(table=table):
            return struct.pack(
                "!HHIHHB3x", 0xFFFF, 16, _VENDOR_NICIRA, _RESUBMIT_TABLE, _WHERE_IT_CAME_IN, table
            )
        case Track(zone=zone, table=table):
            return _track(zone, flags=0, table=table, nested=b"")
        case Commit(zone=zone, mark=mark):
            nested = _set_field(Field.CT_MARK, mark)
            return _track(zone, flags=_CT_COMMIT, table=_CT_NO_TABLE, nested=nested)
        case ForgetTrack():
            return struct.pack("!HHIH6x", 0xFFFF, 16, _VENDOR_NICIRA, _CT_CLEAR)
        case Conjunction(id=number, clause=clause, clauses=clauses):
            return struct.pack(
                "!HHIHBBI", 0xFFFF, 16, _VENDOR_NICIRA, _CONJUNCTION, clause - 1, clauses, number
            )
        case Goto():
            raise ValueError("going to a table is the last action, and an instruction")


def _set_field(field: Field, value: int) -> bytes:
    form = FORMATS[field]
    content = form.plain + value.to_bytes(form.width, "big")
    length = 4 + len(content)
    pad = _PADS[length & 7]
    return struct.pack("!HH", 25, length + len(pad)) + content + pad


def _track(zone: Field, *, flags: int, table: int, nested: bytes) -> bytes:
    head = struct.pack(
        "!HHIHH4sHB3xH",
        0xFFFF,
        24 + len(nested),
        _VENDOR_NICIRA,
        _CT,
        flags,
        FORMATS[zone].plain,
        _ZONE_BITS,
        table,
        0,
    )
    return head + nested


def _settings(table: int, priority: int, command: Command = Command.ADD, *, cookie_mask: int = 0) -> bytes:
    return _SETTINGS.pack(cookie_mask, table, command, 0, 0, priority, _NO_BUFFER, PORT_ANY, PORT_ANY, 0, 0)
