"""How a subnet's pools are cut into blocks."""

from alcor.contracts.store import BlockState
from alcor.management_plane.addressing import decisions
from alcor.model.addressing import Cidr, ip_from_text
from alcor.model.ids import NetworkId, ProjectId, SubnetId
from alcor.model.records import Subnet


def subnet(cidr: str, *pools: tuple[str, str], gateway: str | None = None) -> Subnet:
    return Subnet(
        id=SubnetId("s"),
        project_id=ProjectId("p"),
        network_id=NetworkId("n"),
        cidr=Cidr.from_text(cidr),
        gateway_ip=ip_from_text(gateway) if gateway else None,
        pools=tuple((ip_from_text(first), ip_from_text(last)) for first, last in pools),
    )


def test_a_large_subnet_has_blocks_of_256_and_a_small_one_smaller() -> None:
    assert decisions.plan(subnet("10.0.0.0/16", ("10.0.0.2", "10.0.255.254"))).size == 256
    assert decisions.plan(subnet("10.0.0.0/24", ("10.0.0.2", "10.0.0.254"))).size == 16
    assert decisions.plan(subnet("10.0.0.0/30", ("10.0.0.2", "10.0.0.2"))).size == 4


def test_the_seats_of_a_block_leave_out_the_gateway_and_what_is_in_no_pool() -> None:
    plan = decisions.plan(
        subnet("10.0.0.0/24", ("10.0.0.3", "10.0.0.5"), ("10.0.0.9", "10.0.0.40"), gateway="10.0.0.10")
    )
    assert [ip[-1] for ip in plan.seats(ip_from_text("10.0.0.0"))] == [3, 4, 5, 9, 11, 12, 13, 14, 15]
    assert not plan.is_seat(ip_from_text("10.0.0.10"))
    assert not plan.is_seat(ip_from_text("10.0.0.6"))
    assert plan.is_seat(ip_from_text("10.0.0.40"))


def test_pools_that_share_a_block_make_one_span() -> None:
    plan = decisions.plan(subnet("10.0.0.0/24", ("10.0.0.3", "10.0.0.5"), ("10.0.0.9", "10.0.0.40")))
    assert plan.packed_spans() == [(ip_from_text("10.0.0.0"), ip_from_text("10.0.0.32"))]


def test_the_next_new_block_is_the_lowest_above_those_leased() -> None:
    plan = decisions.plan(subnet("10.0.0.0/24", ("10.0.0.2", "10.0.0.50"), ("10.0.0.100", "10.0.0.140")))
    blocks = decisions.next_new(plan, [ip_from_text("10.0.0.32"), None], 3)
    assert [ip[-1] for ip in blocks] == [48, 96, 112]


def test_gaps_are_blocks_that_were_never_leased() -> None:
    plan = decisions.plan(subnet("10.0.0.0/24", ("10.0.0.2", "10.0.0.50")))
    known = [BlockState(ip_from_text(f"10.0.0.{last}"), "h", 0, exhausted=True) for last in (16, 48)]
    assert [ip[-1] for ip in decisions.never_leased(plan, known, 9)] == [0, 32]
