"""The only way to the agent: through one table, where meters of the switch limit what each port causes.

    any flow --way()--> reg6: reason, own table   hand_over: by reason and port --meter--> agent
                        reg7: key of the port

Whatever waits in the switch for its agent waits in one queue, whosever it is, and what finds it full is
dropped. So nobody may fill it: a port has so many packets a second for each reason, and what is more than that
is dropped before it gets there. The agent's own limits, which count addresses and answers, come after.

There are as many meters for a reason as `PORTS`, made once when the bridge is set up: a port takes the one that
its key leads to. Keys are given from the lowest, so ports share a meter only where a host has more of them.
"""

from enum import IntEnum, unique
from functools import cache
from typing import NamedTuple

from alcor.data_plane.pipeline import tables
from alcor.data_plane.pipeline.flow import (
    Action,
    Field,
    Flow,
    FlowKey,
    Meter,
    Move,
    Resubmit,
    SetField,
    Term,
    ToAgent,
)
from alcor.data_plane.pipeline.tables import Table

PORTS = 256  # a power of two, and more than a host has as a rule
_REASON_SHIFT = 8
_TABLE_MASK = 0xFF


@unique
class Reason(IntEnum):
    """Why a packet goes to the agent. What happens for one takes nothing from another."""

    ANSWER = 1  # it is to be answered: DHCP, ICMP errors
    ANNOUNCEMENT = 2  # it may say who holds an address
    QUESTION = 3  # an address is asked for that its sender wants
    ARRIVAL = 4  # its sender's address is asked for, to the account of the port that it is for

    @property
    def words(self) -> str:
        """The name that people read."""
        return self.name.lower()


class _Limit(NamedTuple):
    rate_per_s: int
    burst: int


# Of packets for an agent that is busy Open vSwitch 3.1 keeps a hundred, and its socket 170 (DHCP) to 280 (ARP).
# Bursts are parts of that; the rates leave a tenth of a second when ten ports ask as fast as they may.
_LIMITS = {
    Reason.ANSWER: _Limit(20, 40),  # a workload that boots asks a few times
    Reason.ANNOUNCEMENT: _Limit(20, 40),  # of an address pair all ARP is one, until the agent looks closer
    Reason.QUESTION: _Limit(250, 64),  # `asking`: 200 new addresses a second, some twice, and 64 may wait
    Reason.ARRIVAL: _Limit(250, 64),
}


def way(table: Table, reason: Reason) -> tuple[Action, ...]:
    """Give the actions that hand a copy of a packet to the agent, for which it comes from `table`."""
    account = Field.REG2 if reason is Reason.ARRIVAL else Field.REG1
    return (
        SetField(Field.REG6, reason << _REASON_SHIFT | table),
        Move(account, Field.REG7),
        Resubmit(Table.HAND_OVER),
    )


def table_of(reg6: int) -> int:
    """Name the table that handed a packet over, by what the agent is told of reg6."""
    return reg6 & _TABLE_MASK


def meter_of(reason: Reason, key: int) -> int:
    """Give the id of the meter for what the port with this key causes: below 2^16."""
    return reason * PORTS | key % PORTS


METERS = {
    meter_of(reason, slot): Meter(meter_of(reason, slot), *limit)
    for reason, limit in _LIMITS.items()
    for slot in range(PORTS)
}


@cache
def hand_over_flows() -> tuple[Flow, ...]:
    """Make the flows of the table: the same on every host."""
    return tuple(
        Flow(
            FlowKey(Table.HAND_OVER, tables.NORMAL, _account(reason, slot)),
            (ToAgent(meter_of(reason, slot)),),
            f"at most {limit.rate_per_s} packets a second of one port for its agent as {reason.words}",
        )
        for reason, limit in _LIMITS.items()
        for slot in range(PORTS)
    )


def _account(reason: Reason, slot: int) -> tuple[Term, ...]:
    return (
        Term(Field.REG6, reason << _REASON_SHIFT, ~_TABLE_MASK & 0xFFFF),
        Term(Field.REG7, slot, PORTS - 1),
    )
