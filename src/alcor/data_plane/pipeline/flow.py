"""Flows as data: what `simulated` interprets and `ovs` encodes.

Semantics are those of OpenFlow 1.5 with the Nicira extensions `ct`, `conjunction` and `move`
(OpenFlow Switch Specification 1.5.1; ovs-actions(7), ovs-fields(7)).
"""

from enum import IntEnum, unique
from typing import NamedTuple, TypeAlias

import msgspec


@unique
class Field(IntEnum):
    """A packet or metadata field. All values are unsigned integers in network order."""

    IN_PORT = 1
    ETH_SRC = 2
    ETH_DST = 3
    ETH_TYPE = 4
    IP_PROTO = 5
    IP_SRC = 6  # IPv4
    IP_DST = 7
    IP_TTL = 8
    TCP_SRC = 9
    TCP_DST = 10
    UDP_SRC = 11
    UDP_DST = 12
    ICMP_TYPE = 13
    ICMP_CODE = 14
    ARP_OP = 15
    ARP_SPA = 16
    ARP_TPA = 17
    ARP_SHA = 18
    ARP_THA = 19
    TUN_ID = 20
    TUN_DST = 21
    REG0 = 22
    REG1 = 23
    REG2 = 24
    REG3 = 25
    REG4 = 26
    CT_STATE = 27  # bits: CtState
    CT_MARK = 28
    CONJ_ID = 29
    IP_FRAG = 30
    REG5 = 31
    SCTP_SRC = 32
    SCTP_DST = 33
    VLAN_VID = 34  # of a tagged frame VLAN_PRESENT | its VLAN; others have none


VLAN_PRESENT = 0x1000  # in VLAN_VID: the frame has a tag


class CtState:
    """Bits of CT_STATE as Open vSwitch numbers them (ovs-fields(7))."""

    NEW = 0x01
    EST = 0x02
    REL = 0x04
    RPL = 0x08
    INV = 0x10
    TRK = 0x20


class Term(NamedTuple):
    """One condition: the bits of `field` under `mask` equal `value`. Mask None: all bits."""

    field: Field
    value: int
    mask: int | None = None


Match: TypeAlias = tuple[Term, ...]  # ascending by field, one term a field


class _Action(msgspec.Struct, frozen=True):
    pass


class SetField(_Action, frozen=True):
    """Write a constant."""

    field: Field
    value: int


class Move(_Action, frozen=True):
    """Copy one field into another of the same width."""

    source: Field
    target: Field


class DecTtl(_Action, frozen=True):
    """Take one from the TTL; the packet is dropped when nothing is left."""


class PopVlan(_Action, frozen=True):
    """Take the VLAN tag off the frame."""


class PushVlan(_Action, frozen=True):
    """Put a VLAN tag on the frame, without its VLAN."""


class Output(_Action, frozen=True):
    """Send a copy to an OpenFlow port."""

    port: int


class OutputInPort(_Action, frozen=True):
    """Send back where it came from."""


class ToAgent(_Action, frozen=True):
    """Hand the packet to the agent (DHCP, ICMP errors), with its registers."""


class Track(_Action, frozen=True):
    """Look the packet up in the connection tracker and go on in `table` with CT_STATE and CT_MARK set."""

    zone: Field  # low 16 bits of this register
    table: int


class Commit(_Action, frozen=True):
    """Remember the packet's connection, with this mark."""

    zone: Field
    mark: int


class ForgetTrack(_Action, frozen=True):
    """Forget what the connection tracker said of the packet: CT_STATE and CT_MARK are zero again."""


class Conjunction(_Action, frozen=True):
    """Satisfy `clause` (1-based) of the `clauses` that together set CONJ_ID to `id`."""

    id: int
    clause: int
    clauses: int


class Goto(_Action, frozen=True):
    """Go on in a later table. Always the last action."""

    table: int


Action: TypeAlias = (
    SetField
    | Move
    | DecTtl
    | PopVlan
    | PushVlan
    | Output
    | OutputInPort
    | ToAgent
    | Track
    | Commit
    | ForgetTrack
    | Conjunction
    | Goto
)


class FlowKey(NamedTuple):
    """What makes a flow the same flow: a switch holds one for each."""

    table: int
    priority: int
    match: Match


class Flow(NamedTuple):
    """One flow. No actions: drop. The origin says in words which object it comes from, for `alcor trace`."""

    key: FlowKey
    actions: tuple[Action, ...]
    origin: str = ""  # not part of the flow on a switch


class FlowChange(NamedTuple):
    """Flows to install (replacing those with the same key) and keys to remove, never both for one key."""

    install: list[Flow]
    remove: list[FlowKey]
