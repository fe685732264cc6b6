"""A frame that a workload made up, and that we have a mistake for, costs that frame and nothing else."""

import io
from typing import Any, cast

import pytest

from alcor.contracts.data_plane import facts_of
from alcor.data_plane.ovs.hand_over import HandedOver
from alcor.data_plane.ovs.messages import PacketIn
from alcor.data_plane.pipeline.flow import Field
from alcor.data_plane.pipeline.tables import Table
from alcor.runtime.clock import SystemClock
from alcor.runtime.event_log import EventLog

NO_PROGRAM = cast(Any, "what no answer can be found in")
DHCP = b"\xff" * 6 + b"\2\0\0\0\0\1" + b"\x08\0" + b"\x45" + bytes(300)
ARP = (
    b"\xff" * 6
    + b"\2\0\0\0\0\1"
    + b"\x08\x06"
    + b"\0\1\x08\0\6\4\0\1"
    + b"\2\0\0\0\0\1"
    + b"\x0a\0\0\7"
    + bytes(10)
)


def handed_over(log: io.StringIO) -> HandedOver:
    handed = HandedOver(facts_of("compute-1", b"\x0a\0\0\1"), SystemClock(), EventLog(stream=log))
    handed.take(NO_PROGRAM, cast(Any, None))
    return handed


def test_a_mistake_in_answering_a_workload_is_logged_and_ends_nothing() -> None:
    log = io.StringIO()
    assert handed_over(log)._answer(7, 1, DHCP) == ()
    assert '"task":"ovs answers"' in log.getvalue()


@pytest.mark.parametrize("table", [Table.ARP, Table.NEIGHBOUR, Table.SPOOF])
def test_a_mistake_in_taking_a_packet_does_not_reach_the_connection_to_the_switch(table: Table) -> None:
    log = io.StringIO()
    fields = {Field.REG0: 7, Field.REG1: 1, Field.REG5: 0x0A000009}
    handed_over(log).put(PacketIn(0, table, 1, fields, ARP))
    assert '"task":"ovs packets"' in log.getvalue()
