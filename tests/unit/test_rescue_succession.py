"""Rescues that outlast their controller: which orders of a former one count, and how long. Time is given."""

import pytest

from alcor.contracts.agent_channel import Rescue, RescueOutcome, RescueReport
from alcor.control_plane.health.rescue import RENEW_S
from alcor.control_plane.health.warrants import CLOCKS_S
from alcor.model import errors
from alcor.model.ids import HostId
from doubles.rescued_cloud import Cloud


def test_who_rescues_by_order_of_a_former_controller_is_certified_as_soon_as_its_own_agent_is_there() -> None:
    cloud, neighbour, order = restarted()
    cloud.come("h0", rescuer=neighbour, token=order.token, warrant=order.warrant)
    cloud.pass_s(0.1)
    assert cloud.sent == []
    cloud.come(neighbour)
    cloud.pass_s(0.1)
    ((to, renewal),) = cloud.renewals()
    assert (to, renewal.target, renewal.token) == (neighbour, "h0", order.token)
    assert renewal.certificate == order.certificate


def test_a_former_controller_s_order_counts_for_minutes_unless_it_was_renewed() -> None:
    cloud, neighbour, order = restarted()
    cloud.clock.now_s = order_made_s(order) + RENEW_S + CLOCKS_S + 1
    with pytest.raises(errors.Conflict):
        cloud.come("h0", rescuer=neighbour, token=order.token, warrant=order.warrant)
    earlier = Cloud(3, epoch=2, come=False)
    earlier.clock.now_s = order_made_s(order) - CLOCKS_S  # its clock is behind
    assert earlier.come("h0", rescuer=neighbour, token=order.token, warrant=order.warrant)
    much_earlier = Cloud(3, epoch=2, come=False)
    much_earlier.clock.now_s = order_made_s(order) - CLOCKS_S - 1
    with pytest.raises(errors.Conflict):  # else a clock that was ahead by a year made it count for a year
        much_earlier.come("h0", rescuer=neighbour, token=order.token, warrant=order.warrant)


def order_made_s(order: Rescue) -> int:
    return int.from_bytes(order.warrant[:8], "big")


def test_a_rescue_that_lasts_goes_on_under_the_next_controller_and_the_one_after_it() -> None:
    cloud = Cloud(3)
    cloud.leave("h0")
    cloud.pass_s(1.0)
    neighbour, order = cloud.order()
    cloud.come("h0", rescuer=neighbour, token=order.token)
    warrant = order.warrant
    for epoch in (2, 3):
        for _ in range(4):
            cloud.pass_s(RENEW_S + 1)
        assert cloud.renewals()[-1][1].warrant != warrant
        warrant = cloud.renewals()[-1][1].warrant
        now_s = cloud.clock.now_s
        cloud = Cloud(3, epoch=epoch, come=False)
        cloud.clock.now_s = now_s
        assert cloud.come("h0", rescuer=neighbour, token=order.token, warrant=warrant) > order.token
        cloud.come(neighbour)


def test_a_former_order_counts_no_longer_once_the_host_spoke_for_itself_or_the_rescue_ended_here() -> None:
    cloud, neighbour, order = restarted()
    cloud.come(neighbour)
    cloud.come("h0")
    cloud.leave("h0")  # for a moment, as when it connects anew
    with pytest.raises(errors.Conflict):
        cloud.come("h0", rescuer=neighbour, token=order.token, warrant=order.warrant)
    cloud, neighbour, order = restarted()
    cloud.come("h0", rescuer=neighbour, token=order.token, warrant=order.warrant)
    report = RescueReport(HostId("h0"), order.token, RescueOutcome.ENDED, "the lease was not renewed")
    cloud.leave("h0")
    cloud.rescues.reported(HostId(neighbour), report)
    with pytest.raises(errors.Conflict):
        cloud.come("h0", rescuer=neighbour, token=order.token, warrant=order.warrant)


def restarted(*, hosts: int = 3) -> tuple[Cloud, str, Rescue]:
    """Give a second controller to which nobody has come, and the order that the first one gave for `h0`."""
    before = Cloud(hosts)
    before.leave("h0")
    before.pass_s(1.0)
    neighbour, order = before.order()
    before.come("h0", rescuer=neighbour, token=order.token)
    return Cloud(hosts, epoch=2, come=False), neighbour, order


def test_a_rescue_goes_on_under_the_next_controller_by_the_order_of_the_former() -> None:
    cloud, neighbour, order = restarted()
    granted = cloud.come("h0", rescuer=neighbour, token=order.token, warrant=order.warrant)
    assert granted > order.token  # the former controller may yet be alive, and order another
    assert cloud.come("h0", rescuer=neighbour, token=order.token, warrant=order.warrant) == granted
    status = cloud.described("h0").rescue
    assert status is not None
    assert status.by == neighbour
    cloud.pass_s(20.0)
    assert cloud.sent == []
    assert cloud.come("h0") > order.token  # until its own agent is back
    with pytest.raises(errors.Conflict):
        cloud.come("h0", rescuer=neighbour, token=order.token, warrant=order.warrant)


def test_nobody_is_believed_to_rescue_by_an_order_that_was_not_given() -> None:
    cloud, neighbour, order = restarted()
    stranger = next(host for host in ("h1", "h2") if host != neighbour)
    for host, rescuer, token, warrant in (
        ("h0", neighbour, order.token, b""),
        ("h0", stranger, order.token, order.warrant),
        (stranger, neighbour, order.token, order.warrant),
        ("h0", neighbour, order.token + 1, order.warrant),
    ):
        with pytest.raises(errors.Conflict):
            cloud.come(host, rescuer=rescuer, token=token, warrant=warrant)
    elsewhere = Cloud(3, epoch=2, come=False, key=b"another region")
    with pytest.raises(errors.Conflict):
        elsewhere.come("h0", rescuer=neighbour, token=order.token, warrant=order.warrant)


def test_an_inherited_rescue_that_ends_is_followed_by_an_order_of_the_new_controller() -> None:
    cloud, neighbour, order = restarted()
    for host in ("h1", "h2"):
        cloud.come(host)
    cloud.come("h0", rescuer=neighbour, token=order.token, warrant=order.warrant)
    cloud.leave("h0")
    cloud.pass_s(0.5)
    second, newer = cloud.order()
    assert second != neighbour
    assert newer.token > order.token


def test_an_order_of_a_former_controller_counts_no_longer_where_somebody_speaks_for_the_host() -> None:
    cloud, neighbour, order = restarted()
    cloud.come("h0")
    with pytest.raises(errors.Conflict):
        cloud.come("h0", rescuer=neighbour, token=order.token, warrant=order.warrant)
    cloud.leave("h0")
    cloud.come("h1")
    cloud.pass_s(1.0)
    assert cloud.orders == 1  # given anew: the former one is void
    with pytest.raises(errors.Conflict):
        cloud.come("h0", rescuer="h2", token=order.token)


def test_a_host_that_was_helped_until_no_controller_was_there_waits_a_second_not_ten() -> None:
    cloud, neighbour, _ = restarted()
    cloud.come(neighbour, helped=("h0", "nobody"))
    cloud.pass_s(0.5)
    assert cloud.orders == 0
    cloud.pass_s(0.7)
    assert cloud.order()[1].target == "h0"


def test_a_lease_that_ends_after_the_neighbour_s_own_agent_is_back_is_taken_up_as_soon() -> None:
    cloud, neighbour, order = restarted()
    cloud.come(neighbour)
    report = RescueReport(HostId("h0"), order.token, RescueOutcome.ENDED, "the lease was not renewed")
    cloud.rescues.reported(HostId(neighbour), report)
    cloud.pass_s(0.5)
    assert cloud.orders == 0
    cloud.pass_s(0.7)
    assert cloud.order()[1].target == "h0"


def test_a_helped_host_whose_agent_is_back_is_left_alone() -> None:
    cloud, neighbour, _ = restarted()
    cloud.come(neighbour, helped=("h0",))
    cloud.come("h0")
    cloud.pass_s(5.0)
    assert cloud.sent == []
