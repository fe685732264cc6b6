"""How emulated hosts are divided among processes."""

from hypothesis import given
from hypothesis import strategies as st

from alcor.lab.fleet_processes import shares


@given(hosts=st.integers(1, 20_000), first=st.integers(0, 1_000), processes=st.integers(1, 64))
def test_every_host_is_in_one_share_and_shares_are_even(hosts: int, first: int, processes: int) -> None:
    found = shares(hosts, first=first, processes=processes)
    assert [number for share in found for number in share] == list(range(first, first + hosts))
    assert len(found) == min(hosts, processes)
    assert max(map(len, found)) - min(map(len, found)) <= 1
