"""Flows as data: what `simulated` interprets and `ovs` encodes.

Semantics are those of OpenFlow 1.5 with the Nicira extensions `ct`, `conjunction` and `move`
(OpenFlow Switch Specification 1.5.1; ovs-actions(7), ovs-fields(7)).
"""

from collections.abc import Callable
from dataclasses import dataclass
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
    IP_PROTO = 5  # of both versions, as IP_TTL
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
    IPV6_SRC = 35
    IPV6_DST = 36
    ICMPV6_TYPE = 37
    ICMPV6_CODE = 38
    ND_TARGET = 39  # of neighbour discovery (RFC 4861, section 4): the address in question
    ND_RESERVED = 40  # the 32 bits before the target: flags of an advertisement
    ND_OPTIONS_TYPE = 41  # of the first option
    ND_SLL = 42  # source link-layer address, of a solicitation
    ND_TLL = 43  # target link-layer address, of an advertisement
    XXREG2 = 44  # reg8 to reg11 as one register of 128 bits
    REG6 = 50
    REG7 = 51


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
    """Hand a copy of the packet to the agent, if a meter lets it, with its registers. Only `hand_over` does."""

    meter: int


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


class Resubmit(_Action, frozen=True):
    """Do at once what a later table says, and go on here."""

    table: int


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
    | Resubmit
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

    @property
    def table(self) -> int:
        return self.key.table

    @property
    def identity(self) -> int:
        """Give a number that flows with the same key share, and hardly any others."""
        return hash(self.key)


@dataclass(frozen=True, eq=False)
class Pattern:
    """What flows have in common that differ in numbers only. A key is of one pattern, or of none.

    They match on the `constants` and on one number for each of the `slots`; `actions` makes the actions of
    further numbers, each of which is written somewhere as it is.
    """

    table: int
    priority: int
    constants: Match
    slots: tuple[Field, ...]  # ascending, all after the constants
    actions: Callable[..., tuple[Action, ...]]

    def identity(self, *where: int) -> int:
        """Give the identity of the flow that matches on these numbers."""
        return hash((self, where))


class PatternFlow(msgspec.Struct, frozen=True, gc=False):
    """A flow as its numbers: the small form of those that a host has thousands of, whole when it is asked."""

    pattern: Pattern
    where: tuple[int, ...]  # one for each slot
    what: tuple[int, ...]  # that the actions are made of
    kind: str  # of object that it comes from
    name: str  # of that object

    @property
    def table(self) -> int:
        return self.pattern.table

    @property
    def key(self) -> FlowKey:
        pattern = self.pattern
        terms = map(Term, pattern.slots, self.where)
        return FlowKey(pattern.table, pattern.priority, (*pattern.constants, *terms))

    @property
    def actions(self) -> tuple[Action, ...]:
        return self.pattern.actions(*self.what)

    @property
    def origin(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def identity(self) -> int:
        return hash((self.pattern, self.where))


AnyFlow: TypeAlias = Flow | PatternFlow


class Meter(NamedTuple):
    """A token bucket of packets in the switch. Flows name it by its id; what finds no token is dropped."""

    id: int
    rate_per_s: int
    burst: int


class FlowChange(NamedTuple):
    """Flows to install and to remove, never both for one key. `replaced`: what gives way to installed ones."""

    install: list[AnyFlow]
    remove: list[AnyFlow]
    replaced: list[AnyFlow]

    def follow(self, held: AnyFlow | None, wanted: AnyFlow | None) -> None:
        """Add what makes a switch hold the one flow instead of the other, which has the same key."""
        if wanted is None:
            if held is not None:
                self.remove.append(held)
        elif held is None:
            self.install.append(wanted)
        elif held != wanted and held.actions != wanted.actions:
            self.install.append(wanted)
            self.replaced.append(held)
