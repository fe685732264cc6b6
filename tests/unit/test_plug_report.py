"""What an agent says was plugged anew: since its controller was heard, or shortly before."""

from alcor.contracts.agent_channel import UNANSWERED_S
from alcor.host_agent.reporter import PASSED_ON_S, PlugReport
from alcor.model.ids import PortId

A, B = PortId("a"), PortId("b")


def note(
    report: PlugReport, port_id: PortId, at_s: float, *, heard_at_s: float, is_plugged: bool = True
) -> None:
    report.note(port_id, is_plugged=is_plugged, now_s=at_s, heard_at_s=heard_at_s)


def test_what_was_told_long_before_the_controller_went_is_not_anew() -> None:
    report = PlugReport()
    note(report, A, 100.0, heard_at_s=100.0)
    note(report, B, 200.0, heard_at_s=200.0)
    report.take()
    assert report.anew(200.0 + PASSED_ON_S / 2) == (B,)
    assert report.anew(200.0 + 2 * PASSED_ON_S) == ()


def test_what_was_told_a_stream_that_passes_nothing_is_anew_though_datagrams_were_answered_meanwhile() -> None:
    report = PlugReport()
    note(report, A, 100.0, heard_at_s=100.0)
    report.take()
    assert report.anew(100.0 + UNANSWERED_S) == (A,)


def test_what_is_plugged_while_nobody_is_heard_stays_anew_until_it_is_unplugged() -> None:
    report = PlugReport()
    note(report, A, 500.0, heard_at_s=10.0)
    note(report, B, 5000.0, heard_at_s=10.0)
    assert report.anew(10.0) == (A, B)
    note(report, A, 6000.0, heard_at_s=10.0, is_plugged=False)
    assert report.anew(10.0) == (B,)


def test_a_new_agent_names_all_it_finds() -> None:
    report = PlugReport()
    note(report, A, 3.0, heard_at_s=0.0)
    assert report.anew(0.0) == (A,)
