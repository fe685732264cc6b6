"""A frame that a workload made up, and that we have a mistake for, costs that frame and nothing else."""

import io
from pathlib import Path
from typing import Any, cast

from alcor.contracts.data_plane import facts_of
from alcor.data_plane.ovs.driver import OvsDataPlane
from alcor.runtime.event_log import EventLog
from alcor.runtime.supervision import Failure


async def test_a_mistake_in_answering_a_workload_is_logged_and_ends_nothing() -> None:
    log, failure = io.StringIO(), Failure()
    plane = OvsDataPlane(
        facts_of("compute-1", b"\x0a\0\0\1"), Path("/nowhere"), EventLog(stream=log), failure=failure
    )
    plane._program = cast(Any, "what no answer can be found in")
    dhcp = b"\xff" * 6 + b"\2\0\0\0\0\1" + b"\x08\0" + b"\x45" + bytes(300)
    assert plane._answer(7, 1, dhcp) == ()
    assert '"task":"ovs answers"' in log.getvalue()
    assert not failure.is_set()
