"""Sets of prefixes are what sets of addresses are, in the fewest prefixes there can be."""

from hypothesis import given
from hypothesis import strategies as st

from alcor.model import prefixes
from alcor.model.addressing import Cidr, ip_from_int
from alcor.model.prefixes import Prefix

BASE = 0x0A000000
BITS = 6  # of the small world in which addresses can be listed


def prefix(start: int, bits: int) -> Prefix:
    aligned = start >> bits << bits
    return Cidr(bytes(ip_from_int(BASE + aligned)), 32 - bits)


def addresses(found: tuple[Prefix, ...] | list[Prefix]) -> list[int]:
    return [
        int.from_bytes(network, "big") - BASE + offset
        for network, length in found
        for offset in range(1 << (32 - length))
    ]


worlds = st.lists(st.builds(prefix, st.integers(0, (1 << BITS) - 1), st.integers(0, BITS)), max_size=8)


@given(worlds, worlds)
def test_sets_of_prefixes_are_sets_of_addresses(some: list[Prefix], others: list[Prefix]) -> None:
    a, b = set(addresses(some)), set(addresses(others))
    compacted = prefixes.compact(some)
    for found, expected in (
        (compacted, a),
        (prefixes.compact([*some, *others]), a | b),
        (prefixes.without(some, others), a - b),
        (prefixes.common(compacted, prefixes.compact(others)), a & b),
    ):
        assert addresses(found) == sorted(expected)  # ascending, each once
        assert prefixes.compact(found) == found  # no two of them are one


@given(worlds, st.builds(prefix, st.integers(0, (1 << BITS) - 1), st.integers(0, BITS)))
def test_one_prefix_is_taken_and_put_back_as_in_the_set(some: list[Prefix], one: Prefix) -> None:
    held = prefixes.compact(some)
    left = prefixes.taken(held, one)
    if prefixes.without((one,), held):
        assert left is None, "not all of it is there"
        return
    assert left == prefixes.without(held, (one,))
    assert prefixes.joined(left, one) == held


def test_the_ends_of_the_address_space_are_addresses_like_others() -> None:
    everything = (bytes(4), 0)
    assert prefixes.compact([everything, (b"\xff\xff\xff\xff", 32)]) == (everything,)
    assert prefixes.without([everything], [(b"\x80\x00\x00\x00", 1)]) == ((bytes(4), 1),)
    assert prefixes.without([(bytes(16), 0)], [(b"\x80" + bytes(15), 1)]) == ((bytes(16), 1),)
    assert prefixes.without([], [everything]) == ()
