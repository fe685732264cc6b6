"""What hosts were sent and have acknowledged, and the receipts made of it."""

import tracemalloc

from alcor.contracts.agent_channel import Acknowledgement, Outcome, SectionResult
from alcor.contracts.convergence import Omitted
from alcor.control_plane.delivery import path_choice
from alcor.control_plane.delivery.ledger import Ledger, Progress, Sent
from alcor.model.goal_state import network_key, router_key
from alcor.model.held_mark import HeldMark
from alcor.model.ids import HostId
from alcor.model.version import Version

A, B = HostId("a"), HostId("b")
FAST = path_choice.of_session(is_stream=True)
NET, ROUTER = network_key("n"), router_key("r")


def version(revision: int, epoch: int = 1) -> Version:
    return Version(epoch, revision)


def answered(
    ledger: Ledger,
    host: HostId,
    number: int,
    *results: tuple[str, int],
    outcome: Outcome = Outcome.IN_FORCE,
    now_us: int = 0,
    epoch: int = 1,
) -> Progress:
    made = tuple(SectionResult(key, version(revision, epoch), outcome, "why") for key, revision in results)  # type: ignore[arg-type]
    return ledger.acknowledge(host, Acknowledgement(number, made), now_us=now_us)


def delivered(
    ledger: Ledger, host: HostId, number: int, *sections: tuple[str, int], is_full: bool = False
) -> None:
    ledger.sent(host, number, [Sent(key, version(revision), is_full) for key, revision in sections])  # type: ignore[arg-type]


def opened(*hosts: HostId) -> Ledger:
    ledger = Ledger(epoch=1)
    for host in hosts:
        ledger.connected(host, FAST)
    return ledger


def states(ledger: Ledger, revision: int) -> dict[str, str]:
    receipt = ledger.receipt(revision)
    assert receipt is not None
    return {host.host: host.state for host in receipt.hosts}


def test_a_revision_is_complete_when_every_host_has_every_section() -> None:
    ledger = opened(A, B)
    ledger.concern(5, 1_000, {A: [NET, ROUTER], B: [NET]}, {})
    delivered(ledger, A, 1, (NET, 5), (ROUTER, 5))
    delivered(ledger, B, 1, (NET, 5))
    assert answered(ledger, A, 1, (NET, 5), now_us=2_000).completed == []
    assert states(ledger, 5) == {"a": "pending", "b": "pending"}
    assert answered(ledger, A, 1, (ROUTER, 5), now_us=3_500).completed == []
    assert answered(ledger, B, 1, (NET, 5), now_us=4_000).completed == [5]
    receipt = ledger.receipt(5)
    assert receipt is not None
    assert receipt.in_force
    assert [host.took_ms for host in receipt.hosts] == [2.5, 3.0]


def test_a_later_version_supersedes_the_ones_before() -> None:
    ledger = opened(A)
    ledger.concern(5, 0, {A: [NET]}, {})
    ledger.concern(6, 0, {A: [NET]}, {})
    delivered(ledger, A, 1, (NET, 6), is_full=True)
    assert answered(ledger, A, 1, (NET, 6)).completed == [5, 6]
    assert states(ledger, 5) == {"a": "superseded"}
    assert states(ledger, 6) == {"a": "in_force"}


def test_an_older_answer_does_not_complete_a_newer_revision() -> None:
    ledger = opened(A)
    ledger.concern(5, 0, {A: [NET]}, {})
    ledger.concern(6, 0, {A: [NET]}, {})
    delivered(ledger, A, 1, (NET, 5))
    delivered(ledger, A, 2, (NET, 6))
    assert answered(ledger, A, 1, (NET, 5)).completed == [5]
    assert ledger.is_complete(6) is False
    assert ledger.account(A).acknowledged[NET] == 5


def test_a_late_answer_does_not_take_back_a_newer_one() -> None:
    ledger = opened(A)
    delivered(ledger, A, 1, (NET, 5))
    delivered(ledger, A, 2, (NET, 6))
    answered(ledger, A, 2, (NET, 6))
    answered(ledger, A, 1, (NET, 5))
    assert ledger.account(A).acknowledged[NET] == 6


def test_answers_of_another_epoch_or_for_what_was_never_sent_are_not_believed() -> None:
    ledger = opened(A)
    ledger.concern(5, 0, {A: [NET]}, {})
    delivered(ledger, A, 1, (NET, 5))
    answered(ledger, A, 1, (NET, 5), epoch=2)
    answered(ledger, A, 1, (NET, 9))
    answered(ledger, A, 1, (ROUTER, 5))
    assert ledger.account(A).acknowledged == {}


def test_an_unspecified_outcome_is_no_success() -> None:
    ledger = opened(A)
    ledger.concern(5, 0, {A: [NET]}, {})
    delivered(ledger, A, 1, (NET, 5))
    assert answered(ledger, A, 1, (NET, 5), outcome=Outcome.UNSPECIFIED).completed == []
    assert states(ledger, 5) == {"a": "refused"}


def test_a_refusal_has_its_reason_until_the_section_is_in_force() -> None:
    ledger = opened(A)
    ledger.concern(5, 0, {A: [NET]}, {})
    delivered(ledger, A, 1, (NET, 5))
    answered(ledger, A, 1, (NET, 5), outcome=Outcome.REFUSED)
    receipt = ledger.receipt(5)
    assert receipt is not None
    assert (receipt.hosts[0].state, receipt.hosts[0].reason) == ("refused", "why")
    assert ledger.account(A).refused[NET] == (5, "why")
    assert answered(ledger, A, 0, (NET, 5)).completed == [5]
    assert ledger.account(A).refused == {}


def test_a_section_in_force_that_is_refused_later_is_in_force_no_longer() -> None:
    ledger = opened(A)
    delivered(ledger, A, 1, (NET, 5))
    answered(ledger, A, 1, (NET, 5))
    answered(ledger, A, 0, (NET, 5), outcome=Outcome.REFUSED)
    assert NET not in ledger.account(A).acknowledged


def test_send_all_is_obeyed_once_for_the_deltas_under_way() -> None:
    ledger = opened(A)
    delivered(ledger, A, 1, (NET, 5))
    delivered(ledger, A, 2, (NET, 6))
    assert answered(ledger, A, 1, (NET, 5), outcome=Outcome.SEND_ALL).send_all == [NET]
    delivered(ledger, A, 3, (NET, 6), is_full=True)
    assert answered(ledger, A, 2, (NET, 6), outcome=Outcome.SEND_ALL).send_all == []


def test_a_host_that_is_gone_is_unreachable_and_has_nothing_in_force() -> None:
    ledger = opened(A)
    delivered(ledger, A, 1, (NET, 4))
    answered(ledger, A, 1, (NET, 4))
    ledger.concern(5, 0, {A: [NET]}, {})
    ledger.disconnected(A)
    assert states(ledger, 5) == {"a": "unreachable"}
    assert ledger.account(A).acknowledged == {}
    ledger.connected(A, FAST)
    assert states(ledger, 5) == {"a": "pending"}


def test_a_removal_leaves_no_trace_once_it_is_acknowledged() -> None:
    ledger = opened(A)
    ledger.sent(A, 1, [Sent(NET, version(5), is_full=True, is_removal=True)])
    answered(ledger, A, 1, (NET, 5))
    account = ledger.account(A)
    assert (account.sent, account.acknowledged, account.outstanding) == ({}, {}, {})


def test_a_removal_is_known_as_one_when_a_later_answer_tells_of_it() -> None:
    ledger = opened(A)
    ledger.concern(5, 0, {A: [NET]}, {})
    ledger.sent(A, 1, [Sent(NET, version(5), is_full=True, is_removal=True)])
    answered(ledger, A, 1)
    assert not ledger.is_complete(5), "a former writer's flows may be left"
    ledger.sent(A, 2, [])
    answered(ledger, A, 2, (NET, 5))
    account = ledger.account(A)
    assert (account.sent, account.removals, account.mark.value) == ({}, {}, HeldMark().value)
    assert ledger.is_complete(5)


def test_receipts_beyond_the_bound_are_forgotten_and_nobody_waits_for_them() -> None:
    ledger = Ledger(epoch=1, receipts_max=3)
    for revision in range(1, 8):
        ledger.concern(revision, 0, {A: [NET]}, {})
    assert ledger.receipt(4) is None
    assert ledger.is_complete(4) is None
    assert list(ledger.account(A).waiting[NET]) == [5, 6, 7]


def test_a_revision_that_concerns_nobody_is_complete_at_once() -> None:
    ledger = opened(A)
    ledger.concern(5, 0, {}, {})
    assert ledger.is_complete(5) is True


def test_a_section_removed_and_sent_again_in_one_update_stays_known_as_sent() -> None:
    ledger = opened(A)
    ledger.sent(A, 1, [Sent(NET, version(5), True, is_removal=True), Sent(NET, version(6), True)])
    answered(ledger, A, 1, (NET, 5), (NET, 6))
    assert ledger.account(A).sent == {NET: version(6)}  # the base of the next delta
    assert ledger.account(A).acknowledged == {NET: 6}
    ledger.sent(A, 2, [Sent(NET, version(7), True, is_removal=True)])
    answered(ledger, A, 2, (NET, 7))
    assert ledger.account(A).sent == {}


def told(ledger: Ledger, revision: int, hosts: list[HostId], *, now_us: int = 0) -> None:
    """Concern hosts, and have all of them acknowledge."""
    ledger.concern(revision, 0, {host: [NET] for host in hosts}, {})
    for number, host in enumerate(hosts):
        delivered(ledger, host, revision, (NET, revision))
        answered(ledger, host, revision, (NET, revision), now_us=now_us + 1_000 * number)


MANY = [HostId(f"host-{number:03}") for number in range(100)]


def test_the_parts_of_all_receipts_have_a_bound() -> None:
    ledger = Ledger(epoch=1, parts_max=5_000)
    for host in MANY:
        ledger.connected(host, FAST)
    for revision in range(1, 301):
        told(ledger, revision, MANY)
        assert ledger.parts <= 5_000
    assert all(ledger.is_complete(revision) for revision in range(1, 301))


def test_a_receipt_that_was_cut_says_so_and_lists_who_took_longest() -> None:
    ledger = Ledger(epoch=1, parts_max=150)
    for host in MANY:
        ledger.connected(host, FAST)
    told(ledger, 1, MANY)
    told(ledger, 2, MANY)
    whole, cut = ledger.receipt(2), ledger.receipt(1)
    assert whole is not None
    assert cut is not None
    assert (len(whole.hosts), whole.omitted) == (100, None)
    assert [part.host for part in cut.hosts] == MANY[-10:]
    assert cut.omitted == Omitted(hosts=90, in_force=90, superseded=0, paths={"fast": 90})
    assert cut.in_force


def test_hosts_that_do_not_answer_stay_listed() -> None:
    """One dead host in a network must not make every receipt of it be forgotten."""
    ledger = Ledger(epoch=1, parts_max=1_000)
    for host in MANY:
        ledger.connected(host, FAST)
    for revision in range(1, 51):
        ledger.concern(revision, 0, {host: [NET] for host in MANY}, {})
        for host in MANY[1:]:
            delivered(ledger, host, revision, (NET, revision))
            answered(ledger, host, revision, (NET, revision))
        assert ledger.parts <= 1_000
    oldest = ledger.receipt(1)
    assert oldest is not None
    assert not oldest.in_force
    assert [part.state for part in oldest.hosts].count("pending") == 1
    assert (oldest.omitted.hosts if oldest.omitted else 0) + len(oldest.hosts) == 100
    delivered(ledger, MANY[0], 1, (NET, 50))
    assert answered(ledger, MANY[0], 1, (NET, 50)).completed == list(range(1, 51))


def test_what_somebody_waits_for_is_neither_cut_nor_forgotten() -> None:
    ledger = Ledger(epoch=1, parts_max=250)
    ledger.concern(1, 0, {host: [NET] for host in MANY}, {})
    ledger.await_completion(1, begins=True)
    for revision in range(2, 12):
        ledger.concern(revision, 0, {host: [NET] for host in MANY}, {})
        assert ledger.parts <= 250
    receipt = ledger.receipt(1)
    assert receipt is not None
    assert len(receipt.hosts) == 100
    assert ledger.account(MANY[0]).waiting[NET] == [1, 11]
    ledger.await_completion(1, begins=False)
    ledger.concern(12, 0, {host: [NET] for host in MANY}, {})
    assert ledger.is_complete(1) is None


def test_a_part_takes_a_bounded_room() -> None:
    """A million of them stay below 200 MB, whatever the number of receipts."""
    ledger = Ledger(epoch=1, parts_max=20_000)
    for host in MANY:
        ledger.connected(host, FAST)
    told(ledger, 1, MANY)
    tracemalloc.start()
    try:
        for revision in range(2, 602):
            told(ledger, revision, MANY, now_us=revision << 32)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used / ledger.parts <= 200
