"""Orders to rescue hosts: who gets them, under which tokens, and when they end. Time is given."""

from collections import Counter
from typing import Any

import msgspec
import pytest

from alcor.contracts.agent_channel import Rescue, RescueEnd, RescueOutcome
from alcor.control_plane.health import rescue_choice
from alcor.control_plane.health.helpers import Helpers
from alcor.control_plane.health.losses import Losses
from alcor.control_plane.health.rescue import LOOKS_MAX, ORDERS_MAX, RENEW_S
from alcor.control_plane.health.rescue_trail import REST_S
from alcor.control_plane.nodes import HostNode
from alcor.model import errors
from alcor.model.ids import HostId
from doubles.rescued_cloud import Cloud


def test_a_host_without_its_agent_gets_a_neighbour_after_the_grace_and_not_before() -> None:
    cloud = Cloud(3)
    cloud.leave("h0")
    cloud.pass_s(0.3)
    assert cloud.orders == 0
    cloud.pass_s(0.2)
    neighbour, order = cloud.order()
    assert neighbour in ("h1", "h2")
    assert (order.target, order.vtep, order.data_plane) == ("h0", bytes([10, 0, 0, 0]), "ovs")
    cloud.pass_s(0.5)
    assert cloud.orders == 1


def test_an_agent_that_is_back_within_the_grace_disturbs_nobody() -> None:
    cloud = Cloud(3)
    cloud.leave("h0")
    cloud.pass_s(0.2)
    cloud.come("h0")
    cloud.pass_s(5.0)
    assert cloud.sent == []


def test_tokens_grow_with_every_change_of_writer_and_over_controllers() -> None:
    cloud = Cloud(3)
    tokens = [cloud.come("h0"), cloud.come("h1")]
    cloud.leave("h0")
    cloud.pass_s(1.0)
    neighbour, order = cloud.order()
    tokens.append(order.token)
    tokens.append(cloud.come("h0"))
    assert tokens == sorted(set(tokens))
    assert Cloud(1, epoch=2).come("h0") > max(tokens)
    assert neighbour


def test_only_the_neighbour_that_was_ordered_may_speak_for_the_host_and_under_that_token_only() -> None:
    cloud = Cloud(3)
    with pytest.raises(errors.Conflict):
        cloud.come("h0", rescuer="h1", token=7)
    cloud.leave("h0")
    cloud.pass_s(1.0)
    neighbour, order = cloud.order()
    other = "h1" if neighbour == "h2" else "h2"
    for rescuer, token in ((other, order.token), (neighbour, order.token - 1), (neighbour, order.token + 1)):
        with pytest.raises(errors.Conflict):
            cloud.come("h0", rescuer=rescuer, token=token)
    assert cloud.come("h0", rescuer=neighbour, token=order.token) == order.token
    status = cloud.described("h0").rescue
    assert status is not None
    assert status.by == neighbour
    assert "closed by the peer" in status.why


def test_the_own_agent_s_return_ends_the_rescue() -> None:
    cloud = Cloud(3)
    cloud.leave("h0")
    cloud.pass_s(1.0)
    neighbour, order = cloud.order()
    cloud.come("h0", rescuer=neighbour, token=order.token)
    assert cloud.come("h0") > order.token
    assert cloud.sent[-1] == (neighbour, RescueEnd(HostId("h0"), order.token, "its own agent is back"))
    assert cloud.described("h0").rescue is None
    with pytest.raises(errors.Conflict):  # and it stays ended
        cloud.come("h0", rescuer=neighbour, token=order.token)


def test_each_step_of_a_rescue_is_in_the_audit_trail_once() -> None:
    cloud = Cloud(3)
    cloud.leave("h0")
    cloud.pass_s(1.0)
    neighbour, order = cloud.order()
    cloud.come("h0", rescuer=neighbour, token=order.token)
    cloud.come("h0")
    steps = ("judge_host", "order_rescue", "take_rescue", "end_rescue", "return_agent")
    assert [(entry.operation, entry.targets, entry.status) for entry in cloud.kept] == [
        (operation, ("h0",), 0) for operation in steps
    ]
    assert len({entry.id for entry in cloud.kept}) == len(steps)
    assert "its agent is dead: closed by the peer" in cloud.kept[0].reason
    assert all(f"'{neighbour}'" in entry.reason for entry in cloud.kept[1:4])


def test_an_agent_that_is_back_within_the_grace_is_not_in_the_audit_trail() -> None:
    cloud = Cloud(3)
    cloud.leave("h0")
    cloud.pass_s(0.2)
    cloud.come("h0")
    cloud.pass_s(1.0)
    assert cloud.kept == []


def test_of_a_lost_region_the_audit_trail_names_some_hosts_and_counts_the_rest() -> None:
    cloud = Cloud(3_000, helps=False)
    for number in range(3_000):
        cloud.leave(f"h{number}")
    for _ in range(20):
        cloud.pass_s(0.5)
    judged = [entry for entry in cloud.kept if entry.operation == "judge_host"]
    assert len(judged) < 500
    cloud.pass_s(REST_S)
    assert len(cloud.kept) <= len(judged) + LOOKS_MAX
    rest = [entry for entry in cloud.kept if not entry.targets]
    assert [entry.operation for entry in rest] == ["judge_host"]
    assert "more" in rest[0].reason
    logged = sum('"host_judged"' in line for line in cloud.events.getvalue().splitlines())
    named = sum(bool(entry.targets) for entry in cloud.kept)
    cloud.clock.now_s += 0.1
    cloud.rescues.end_trail()
    assert named + sum(entry.count for entry in cloud.kept if not entry.targets) == logged
    assert len({entry.id for entry in cloud.kept}) == len(cloud.kept)


def test_an_order_certifies_the_neighbour_s_key_to_that_host_and_is_renewed_while_the_rescue_lasts() -> None:
    cloud = Cloud(3)
    cloud.leave("h0")
    cloud.pass_s(1.0)
    neighbour, order = cloud.order()
    assert order.certificate == f"h0 {neighbour} key of {neighbour}".encode()
    cloud.come("h0", rescuer=neighbour, token=order.token)
    cloud.pass_s(RENEW_S - 1)
    assert cloud.renewals() == []
    for _ in range(2):
        cloud.pass_s(1.5)
    cloud.pass_s(RENEW_S + 1)
    assert len(cloud.renewals()) == 2
    for to, renewal in cloud.renewals():
        assert (to, renewal.target, renewal.token) == (neighbour, "h0", order.token)
        assert renewal.certificate == order.certificate
    cloud.come("h0")
    cloud.pass_s(RENEW_S + 1)
    assert len(cloud.renewals()) == 2


def test_a_rescuer_that_dies_is_followed_by_another_with_a_newer_token() -> None:
    cloud = Cloud(3)
    cloud.leave("h0")
    cloud.pass_s(1.0)
    first, order = cloud.order()
    cloud.come("h0", rescuer=first, token=order.token)
    cloud.leave("h0")
    cloud.pass_s(0.1)
    cloud.leave(first)
    cloud.pass_s(0.35)
    second, newer = cloud.order()
    assert second not in ("h0", first)
    assert newer.target == "h0"
    assert newer.token > order.token


def test_a_rescuer_whose_stream_ended_may_come_back_within_the_grace() -> None:
    cloud = Cloud(3)
    cloud.leave("h0")
    cloud.pass_s(1.0)
    neighbour, order = cloud.order()
    for _ in range(2):
        cloud.come("h0", rescuer=neighbour, token=order.token)
        cloud.leave("h0")
        assert cloud.described("h0").rescue is None  # nobody speaks for it
        cloud.pass_s(0.3)
    assert cloud.come("h0", rescuer=neighbour, token=order.token) == order.token
    assert cloud.described("h0").rescue is not None
    cloud.pass_s(1.0)
    assert [message for _, message in cloud.sent] == [order]
    cloud.leave("h0", is_silent=True)  # judged dead: there is nothing to wait for
    cloud.pass_s(0.1)
    assert cloud.order()[0] != neighbour
    assert (neighbour, RescueEnd(HostId("h0"), order.token, "closed by the peer")) in cloud.sent


def test_an_order_to_a_neighbour_that_dies_before_it_takes_it_goes_to_another_at_once() -> None:
    cloud = Cloud(4)
    cloud.leave("h0")
    cloud.pass_s(1.0)
    first, order = cloud.order()
    cloud.leave(first)
    cloud.pass_s(0.05)
    second, newer = cloud.order()
    assert (cloud.orders, newer.target) == (2, "h0")
    assert second != first
    assert newer.token > order.token
    with pytest.raises(errors.Conflict):
        cloud.come("h0", rescuer=first, token=order.token)


def test_a_rescue_that_was_taken_goes_on_while_the_neighbour_s_own_stream_is_away() -> None:
    cloud = Cloud(4)
    cloud.leave("h0")
    cloud.pass_s(1.0)
    first, order = cloud.order()
    cloud.come("h0", rescuer=first, token=order.token)
    cloud.leave(first)
    cloud.pass_s(0.3)
    cloud.come(first)
    cloud.pass_s(10.0)
    assert cloud.orders == 1


def test_a_data_plane_that_does_not_answer_is_no_rescue_and_is_asked_again_ever_later() -> None:
    cloud = Cloud(4)
    cloud.leave("h0")
    asked = []
    for _ in range(3):
        while cloud.orders == len(asked):
            cloud.pass_s(0.1)
        asked.append(cloud.clock.now_s)
        cloud.report(RescueOutcome.NO_ANSWER)
    cloud.pass_s(0.0)
    assert "so is its data plane: because" in cloud.described("h0").reason
    assert cloud.described("h0").rescue is None
    assert len({host for host, _ in cloud.sent}) == 3  # each neighbour in its turn
    assert asked[2] - asked[1] > asked[1] - asked[0] > 0.9


def test_an_order_that_nobody_carries_out_goes_to_another() -> None:
    cloud = Cloud(3)
    cloud.leave("h0")
    cloud.pass_s(1.0)
    first, _ = cloud.order()
    cloud.pass_s(7.0)
    second, _ = cloud.order()
    assert {first, second} == {"h1", "h2"}


def test_hosts_that_cannot_help_are_not_ordered() -> None:
    cloud = Cloud(3, helps=False)
    cloud.leave("h0")
    cloud.pass_s(5.0)
    assert cloud.sent == []
    assert "its agent is dead" in cloud.described("h0").reason


def test_a_zone_lost_at_once_is_waited_for_before_neighbours_are_asked() -> None:
    cloud = Cloud(12)
    for number in range(8):
        cloud.leave(f"h{number}")
    cloud.pass_s(5.0)
    assert cloud.sent == []
    assert "cut off" in cloud.described("h0").reason
    cloud.pass_s(6.0)
    assert cloud.orders > 0


def test_every_step_is_in_the_event_log() -> None:
    cloud = Cloud(3)
    cloud.leave("h0")
    cloud.pass_s(1.0)
    neighbour, order = cloud.order()
    cloud.come("h0", rescuer=neighbour, token=order.token)
    cloud.come("h0")
    lines = [msgspec.json.decode(line) for line in cloud.events.getvalue().splitlines()]
    named = [line["event"] for line in lines]
    assert named == ["host_judged", "rescue_ordered", "rescue_taken", "rescue_ended", "agent_returned"]
    assert all(line["host_id"] == "h0" for line in lines)


class CountedNodes(dict[HostId, HostNode]):
    """Hosts of a region that counts how often one of them is looked up."""

    looked_up = 0

    def get(self, key: HostId, default: Any = None) -> Any:
        self.looked_up += 1
        return super().get(key, default)

    def __getitem__(self, key: HostId) -> HostNode:
        self.looked_up += 1
        return super().__getitem__(key)


@pytest.mark.parametrize("helps", [True, False])
def test_the_work_of_one_look_does_not_grow_with_the_hosts_that_were_lost(helps: bool) -> None:
    work = {}
    for hosts in (2_000, 8_000):
        cloud = Cloud(hosts, helps=helps)
        for number in range(3 * hosts // 8):  # not so many that the controller takes itself for cut off
            cloud.leave(f"h{number}")
        cloud.pass_s(1.0)
        counted = CountedNodes(cloud.region.hosts)
        cloud.region.hosts = counted
        cloud.rescues.look(cloud.clock.now_s)
        work[hosts] = counted.looked_up
    assert work[2_000] == work[8_000]


def test_every_host_that_was_lost_has_its_turn() -> None:
    cloud = Cloud(4_000)
    for number in range(1_500):
        cloud.leave(f"h{number}")
    cloud.pass_s(1.0)
    for _ in range(1_500 // ORDERS_MAX + 1):
        cloud.pass_s(0.02)
    assert len({message.target for _, message in cloud.sent if isinstance(message, Rescue)}) == 1_500
    of_each = Counter(host for host, message in cloud.sent if isinstance(message, Rescue))
    assert max(of_each.values()) <= rescue_choice.RESCUES_MAX


def test_a_neighbour_of_another_zone_has_its_turn_when_those_of_the_zone_have_failed() -> None:
    helpers = Helpers()
    for number in range(200):
        helpers.came(HostId(f"near{number}"), data_plane="ovs", zone="a")
    helpers.came(HostId("far"), data_plane="ovs", zone="b")
    helpers.came(HostId("other"), data_plane="simulated", zone="a")
    near = helpers.near(data_plane="ovs", zone="a")
    assert HostId("far") in near
    assert HostId("other") not in near
    assert set(near) | set(helpers.near(data_plane="ovs", zone="a")) > set(near)
    helpers.ordered(HostId("far"))
    helpers.ordered(HostId("far"))
    assert HostId("far") not in helpers.near(data_plane="ovs", zone="a")
    helpers.over(HostId("far"))
    assert HostId("far") in helpers.near(data_plane="ovs", zone="a")
    helpers.left(HostId("far"))
    assert HostId("far") not in helpers.near(data_plane="ovs", zone="a")


def test_losses_are_counted_by_zone_while_they_are_recent() -> None:
    losses = Losses(10.0)
    for number in range(5):
        losses.lost(HostId(f"h{number}"), "a", at_s=float(number), now_s=float(number))
    losses.lost(HostId("long ago"), "a", at_s=0.0, now_s=10.0)
    losses.found(HostId("h3"))
    assert losses.lately("a", 9.0) == 4
    assert losses.lately("b", 9.0) == 0
    losses.lost(HostId("h0"), "a", at_s=9.5, now_s=9.5)  # lost again
    assert losses.lately("a", 10.5) == 4
    assert losses.lately("a", 20.0) == 0
