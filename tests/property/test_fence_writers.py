"""Never two writers on one host: the fence's decisions against a model of a switch, in any order of steps.

The model keeps what a switch keeps: the record in its database (kept over restarts, changed only by a
transaction whose `wait` holds), the newest generation (forgotten at a restart) and one master. A writer takes
the steps of `ovs.session`: read, record, become master, write. Between any two of them anything may happen.
"""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alcor.data_plane.ovs import fence
from alcor.data_plane.ovs.fence import Bid, Fenced, Recorded


class Switch:
    def __init__(self) -> None:
        self.record = Recorded(0, "")
        self.generation: int | None = None
        self.master: Writer | None = None
        self.writes: list[tuple[str, int]] = []

    def restart(self) -> None:
        self.generation = None
        self.master = None


class Writer:
    """One session after another; `bid` grows when the controller grants a token."""

    def __init__(self, switch: Switch, name: str) -> None:
        self.switch = switch
        self.bid = Bid(0, name)
        self.step: Callable[[], None] = self.read
        self.read_record = Recorded(0, "")
        self.token = 0
        self.fenced_by: Recorded | None = None
        self.lapsed: Recorded | None = None  # it waited for longer than the lease, whatever its clock says
        self.is_fenced = False

    def read(self) -> None:
        """Read the database and judge: the first step of a session."""
        self.read_record = self.switch.record
        try:
            self.token = fence.judge(self.read_record, self.bid, lapsed=self.lapsed)
        except Fenced as error:
            self.is_fenced = True
            self.fenced_by = error.recorded
            return
        self.is_fenced = False
        self.step = self.claim

    def claim(self) -> None:
        """Record the claim, if nobody did meanwhile."""
        if self.switch.record != self.read_record:
            self.step = self.read
            return
        lease_ms = 0 if self.bid.writer == "own" else 1000
        self.switch.record = Recorded(self.token, self.bid.writer, lease_ms)
        self.step = self.become_master

    def become_master(self) -> None:
        newest = self.switch.generation
        if newest is not None and self.token < newest:
            self.step = self.read
            return
        self.switch.generation = self.token
        self.switch.master = self
        self.step = self.write

    def write(self) -> None:
        """Write flows: the switch takes them from its master only."""
        if self.switch.master is not self:
            self.step = self.read
            return
        self.switch.writes.append((self.bid.writer, self.token))

    def lose(self) -> None:
        """The connection ends, as all do when the switch restarts."""
        if self.switch.master is self:
            self.switch.master = None
        self.step = self.read


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("step"), st.integers(0, 2)),
        st.tuples(st.just("grant"), st.integers(0, 2)),
        st.tuples(st.just("lose"), st.integers(0, 2)),
        st.tuples(st.just("wait"), st.integers(0, 2)),
        st.tuples(st.just("renew"), st.integers(0, 2)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=120,
)


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_whoever_writes_is_the_master_and_the_newest_claim_wins_in_the_end(
    steps: list[tuple[str, int]],
) -> None:
    switch = Switch()
    writers = [Writer(switch, "own"), Writer(switch, "one"), Writer(switch, "two")]
    counter = 0
    writers[0].read()
    for what, number in steps:
        writer = writers[number]
        match what:
            case "step" if number == 0 or writer.bid.token:  # neighbours come with an order's token
                writer.step()
            case "grant":
                counter += 1
                writer.bid = Bid(counter, writer.bid.writer)
                if writer.step == writer.write:
                    writer.step = writer.read  # it claims anew, in the session it has
            case "wait":
                writer.lapsed = writer.fenced_by
            case "renew" if switch.record[:2] == (writer.token, writer.bid.writer):
                switch.record = switch.record._replace(renewal=switch.record.renewal + 1)
            case "lose":
                writer.lose()
            case "restart":
                switch.restart()
                for each in writers:
                    each.lose()
    # Under one token only one ever wrote, and once a newer one had written no older one did without a restart
    # of its own claim: tokens in the order of writing never go back but by a record of the same token.
    by_token: dict[int, set[str]] = {}
    for name, token in switch.writes:
        by_token.setdefault(token, set()).add(name)
    assert all(len(names) == 1 for names in by_token.values())
    written = [token for _, token in switch.writes]
    assert written == sorted(written)
    if counter:  # once the faults stop, the last one who was granted a token writes, and nobody else can
        newest = max(writers, key=lambda each: each.bid.token)
        newest.bid = Bid(max(counter, switch.record.token) + 1, newest.bid.writer)
        newest.step = newest.read
        for each in writers:
            each.lapsed = None
        for _ in range(30):
            for each in writers:
                if each.bid.token or each.bid.writer == "own":
                    each.step()
        switch.writes.clear()
        for each in writers:
            if each.bid.token or each.bid.writer == "own":
                each.step()
        assert {name for name, _ in switch.writes} == {newest.bid.writer}


def test_only_a_record_with_a_lease_lapses_and_only_while_nobody_renews_it() -> None:
    own, mine = Recorded(7, "own"), Bid(3, "me")
    lent = Recorded(7, "other", 5000, renewal=4)
    assert fence.judge(lent, mine, lapsed=lent) == 8
    for recorded, lapsed in (
        (own, own),
        (lent._replace(renewal=5), lent),
        (lent._replace(token=8), lent),
        (lent, None),
    ):
        with pytest.raises(Fenced):
            fence.judge(recorded, mine, lapsed=lapsed)
    assert fence.lapses_after_s(own) is None
    assert fence.lapses_after_s(lent) == 7.5


@given(st.integers(0, 2**63), st.integers(0, 2**63))
def test_a_record_of_another_needs_a_newer_token(recorded: int, bid: int) -> None:
    if bid > recorded:
        assert fence.judge(Recorded(recorded, "other"), Bid(bid, "me")) == bid
    else:
        with pytest.raises(Fenced):
            fence.judge(Recorded(recorded, "other"), Bid(bid, "me"))
    assert fence.judge(Recorded(recorded, "me"), Bid(bid, "me")) == max(recorded, bid)
    assert fence.judge(fence.read({}), Bid(bid, "me")) == bid
