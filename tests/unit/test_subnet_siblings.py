"""Subnets beside each other: which ranges are free."""

from hypothesis import given
from hypothesis import strategies as st

from alcor.management_plane.subnet.siblings import Siblings
from alcor.model.addressing import Cidr
from alcor.model.ids import NetworkId, ProjectId, SubnetId
from alcor.model.records import Subnet


def cidr(start: int, bits: int) -> Cidr:
    return Cidr((0x0A000000 + (start >> bits << bits)).to_bytes(4, "big"), 32 - bits)


@given(st.lists(st.builds(cidr, st.integers(0, 255), st.integers(0, 6)), max_size=20))
def test_a_range_is_free_when_it_overlaps_with_none_of_those_before(asked: list[Cidr]) -> None:
    siblings, held = Siblings(), list[Cidr]()
    for wanted in asked:
        is_taken = any(wanted.overlaps(other) for other in held)
        assert siblings.overlap(wanted) == is_taken
        if not is_taken:
            held.append(wanted)
            siblings.add(
                Subnet(id=SubnetId("s"), project_id=ProjectId("p"), network_id=NetworkId("n"), cidr=wanted)
            )
    assert not siblings.overlap(Cidr.from_text("fd00::/64"))
