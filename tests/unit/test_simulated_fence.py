"""The simulated switch refuses whoever is not its master, and says when two wrote."""

import pytest

from alcor.data_plane.ovs import fence
from alcor.data_plane.ovs.fence import Bid
from alcor.data_plane.ovs.openflow import Stale
from alcor.data_plane.ovs.ovsdb import WaitFailed
from alcor.simulation.fenced_switch import BRIDGE, FencedSwitch


class Writer:
    def __init__(self) -> None:
        self.told = ""

    def ended(self, reason: str) -> None:
        self.told = reason


def made() -> tuple[FencedSwitch, list[str], Writer, Writer]:
    found: list[str] = []
    switch = FencedSwitch("switch", found.append, lambda: 0.0)
    one, two = Writer(), Writer()
    switch.connect(one)
    switch.connect(two)
    return switch, found, one, two


def test_a_demoted_master_is_told_and_its_writes_are_refused_and_counted() -> None:
    switch, found, one, two = made()
    switch.become_master(one, 1)
    assert switch.write(one, Bid(1, "one"))
    switch.become_master(two, 2)
    assert one.told
    assert not switch.write(one, Bid(1, "one"))
    assert switch.write(two, Bid(2, "two"))
    assert (switch.written, switch.refused, found) == (2, 1, [])


def test_an_older_generation_becomes_master_only_after_a_restart_and_its_write_is_noticed() -> None:
    switch, found, one, two = made()
    switch.become_master(two, 2)
    switch.write(two, Bid(2, "two"))
    with pytest.raises(Stale):
        switch.become_master(one, 1)
    switch.restart()
    switch.become_master(one, 1)
    switch.write(one, Bid(1, "one"))
    assert "wrote after" in found[0]


def test_the_record_changes_only_for_who_read_it_and_outlives_a_restart() -> None:
    switch, _, _, _ = made()
    before = switch.external_ids()
    switch.transact(fence.claim(BRIDGE, before, Bid(5, "one")))
    with pytest.raises(WaitFailed):
        switch.transact(fence.claim(BRIDGE, before, Bid(6, "two")))
    switch.transact([fence.guard(BRIDGE, 5, "one")])
    switch.restart()
    assert switch.recorded[:2] == (5, "one")
    switch.transact(fence.claim(BRIDGE, switch.external_ids(), Bid(6, "two")))
    with pytest.raises(WaitFailed):
        switch.transact([fence.guard(BRIDGE, 5, "one")])
