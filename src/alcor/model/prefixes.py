"""Sets of addresses as prefixes: ascending, disjoint, and the fewest there can be. Pure.

All prefixes of a set are of one IP version. A function costs as much as sorting what it is given, or says so.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from alcor.model.addressing import Cidr, ip_from_int, ip_to_int

Prefix: TypeAlias = tuple[bytes, int]  # packed network address, prefix length; as a Cidr
_Range: TypeAlias = tuple[int, int]  # first and last address
_LONGEST = 128  # bits of any address


def compact(prefixes: Iterable[Prefix]) -> tuple[Prefix, ...]:
    """Give the set of all addresses in some prefixes, which may overlap."""
    given = list(prefixes)
    return _prefixes(_ranges(given), _length(given))


def without(prefixes: Sequence[Prefix], taken: Sequence[Prefix]) -> tuple[Prefix, ...]:
    """Give the set of the addresses in some prefixes that are not in others."""
    left: list[_Range] = []
    cuts = _ranges(taken)
    at = 0
    for first, last in _ranges(prefixes):
        while at < len(cuts) and cuts[at][1] < first:
            at += 1
        cut = at
        while cut < len(cuts) and cuts[cut][0] <= last:
            if first < cuts[cut][0]:
                left.append((first, cuts[cut][0] - 1))
            first = cuts[cut][1] + 1
            cut += 1
        if first <= last:
            left.append((first, last))
    return _prefixes(left, _length(prefixes))


def common(prefixes: Sequence[Prefix], others: Sequence[Prefix]) -> tuple[Prefix, ...]:
    """Give the set of the addresses that are in both."""
    return without(prefixes, without(prefixes, others))


def taken(prefixes: Sequence[Prefix], wanted: Prefix) -> tuple[Prefix, ...] | None:
    """Give the set without a prefix that is wholly in it, else None. O(log set), but for the copy."""
    at = bisect_right(prefixes, (wanted[0], _LONGEST)) - 1
    if at < 0:
        return None
    network, length = prefixes[at]
    if length > wanted[1] or not Cidr(network, length).contains(wanted[0]):
        return None
    left = []
    while length < wanted[1]:
        length += 1
        low, high = _halves(network, length)
        is_low = not Cidr(*high).contains(wanted[0])
        left.append(high if is_low else low)
        network = (low if is_low else high)[0]
    return (*prefixes[:at], *sorted(left), *prefixes[at + 1 :])


def joined(prefixes: Sequence[Prefix], more: Prefix) -> tuple[Prefix, ...]:
    """Give the set with a prefix that has no address in it. O(log set), but for the copy."""
    held = list(prefixes)
    network, length = more
    while length > 0:
        low, high = _halves(network, length)
        other = high if low[0] == network else low
        at = bisect_left(held, other)
        if at == len(held) or held[at] != other:
            break
        del held[at]
        network, length = low[0], length - 1
    insort(held, (network, length))
    return tuple(held)


def _halves(network: bytes, length: int) -> tuple[Prefix, Prefix]:
    """Give the two prefixes of a length that are one when it is shorter by a bit, from either's address."""
    bit = 1 << (8 * len(network) - length)
    low = ip_to_int(network) & ~bit
    size = len(network)
    return (bytes(ip_from_int(low, length=size)), length), (bytes(ip_from_int(low | bit, length=size)), length)


def _ranges(prefixes: Iterable[Prefix]) -> list[_Range]:
    """Give ascending ranges that neither overlap nor touch."""
    found: list[_Range] = []
    for first, last in sorted(map(_range, prefixes)):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


def _range(prefix: Prefix) -> _Range:
    network, prefix_len = prefix
    first = ip_to_int(network)
    return first, first + (1 << (8 * len(network) - prefix_len)) - 1


def _prefixes(ranges: Iterable[_Range], length: int) -> tuple[Prefix, ...]:
    """Cut ranges into the largest aligned blocks. `length`: bytes of an address."""
    found = []
    for first, last in ranges:
        while first <= last:
            aligned = (first & -first).bit_length() - 1 if first else 8 * length
            bits = min(aligned, (last - first + 1).bit_length() - 1)
            found.append((bytes(ip_from_int(first, length=length)), 8 * length - bits))
            first += 1 << bits
    return tuple(found)


def _length(prefixes: Sequence[Prefix]) -> int:
    return len(prefixes[0][0]) if prefixes else 4
