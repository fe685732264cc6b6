"""How many addresses networks have, and how many ports hold: counted when asked, kept nowhere."""

from collections.abc import Mapping, Sequence

import msgspec

from alcor.contracts.store import Query, Store
from alcor.model.addressing import Cidr, ip_to_int
from alcor.model.records import Network, Subnet


class SubnetUse(msgspec.Struct, frozen=True):
    """A subnet's addresses. Ports may hold some outside of its pools, so `used` may exceed `total`."""

    subnet: Subnet
    total: int
    used: int


def total(subnet: Subnet) -> int:
    """Count the addresses in the pools; without pools all that the subnet spans, as Neutron does."""
    if not subnet.pools:
        return Cidr(*subnet.cidr).size
    return sum(ip_to_int(last) - ip_to_int(first) + 1 for first, last in subnet.pools)


async def by_network(store: Store, networks: Sequence[Network]) -> Mapping[str, list[SubnetUse]]:
    """Give the use of each network's subnets. O(addresses held in them), read from one index."""
    uses: dict[str, list[SubnetUse]] = {network.id: [] for network in networks}
    if not uses:
        return uses
    subnets = await store.select(Subnet, Query(where={"network_id": tuple(uses)}))
    used = await store.held_addresses([subnet.id for subnet in subnets])
    for subnet in subnets:
        uses[subnet.network_id].append(SubnetUse(subnet, total(subnet), used[subnet.id]))
    return uses
