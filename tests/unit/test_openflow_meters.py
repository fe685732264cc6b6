"""What is done so that a switch has the meters that it must have."""

from alcor.data_plane.ovs import meters
from alcor.data_plane.ovs.messages import MeterCommand
from alcor.data_plane.pipeline.flow import Meter

WANTED = {number: Meter(number, 20, 40) for number in (1, 2, 3)}


def test_a_new_switch_gets_all_of_them() -> None:
    assert meters.missing(WANTED, {}) == [(MeterCommand.ADD, meter) for meter in WANTED.values()]


def test_only_what_differs_is_changed() -> None:
    held = {1: Meter(1, 20, 40), 2: Meter(2, 30, 40)}
    assert meters.missing(WANTED, held) == [(MeterCommand.MODIFY, WANTED[2]), (MeterCommand.ADD, WANTED[3])]
    assert not meters.missing(WANTED, dict(WANTED))


def test_what_is_no_longer_wanted_is_deleted_and_nothing_else() -> None:
    stranger = Meter(9, 5, 5)
    assert meters.strangers(WANTED, WANTED | {9: stranger}) == [(MeterCommand.DELETE, stranger)]
    assert not meters.strangers(WANTED, {})
