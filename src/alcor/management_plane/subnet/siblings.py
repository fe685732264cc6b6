"""The subnets of one network, to see whether another one fits in beside them. Pure."""

from bisect import bisect_right, insort
from collections.abc import Iterable, Set

from alcor.model.addressing import Cidr, ip_to_int
from alcor.model.records import Subnet


class Siblings:
    """Owner of what is there: thousands may be made in one call, each beside those before it."""

    def __init__(self, subnets: Iterable[Subnet] = ()) -> None:
        self._ranges: list[tuple[int, int, int]] = []  # length, first and last address; disjoint, ascending
        self._pool_ids: dict[int, set[str | None]] = {4: set(), 6: set()}  # by IP version
        self.derived = 0  # subnets of which every port has an address
        for subnet in subnets:
            self.add(subnet)

    def add(self, subnet: Subnet) -> None:
        """Take in one more. Its range must be free."""
        insort(self._ranges, _range(Cidr(*subnet.cidr)))
        self._pool_ids[subnet.ip_version].add(subnet.subnetpool_id)
        self.derived += subnet.is_derived

    def overlap(self, cidr: Cidr) -> bool:
        """Has one of them an address of the range? O(log subnets)."""
        wanted = length, first, last = _range(cidr)
        at = bisect_right(self._ranges, wanted)
        before = self._ranges[at - 1] if at else None
        after = self._ranges[at] if at < len(self._ranges) else None
        return (before is not None and before[0] == length and before[2] >= first) or (
            after is not None and after[0] == length and after[1] <= last
        )

    def pool_ids(self, ip_version: int) -> Set[str | None]:
        """Name the pools that those of an IP version are from; None when one is from no pool."""
        return self._pool_ids[ip_version]


def _range(cidr: Cidr) -> tuple[int, int, int]:
    first = ip_to_int(cidr.network)
    return len(cidr.network), first, first + cidr.size - 1
