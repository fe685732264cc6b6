"""Subnets that serve ports of some device owners only. Pure."""

from collections.abc import Sequence

from msgspec import UnsetType

from alcor.model import errors
from alcor.model.records import Subnet

_DHCP = "network:dhcp"  # what answers DHCP on a subnet has an address there, whomever the subnet serves


def serving(subnets: Sequence[Subnet], owner: str) -> Sequence[Subnet]:
    """Give the subnets where ports of an owner get addresses, those that name it first.

    The sequence itself when no subnet names anybody: that is asked for every port of a batch.
    """
    if not any(subnet.service_types for subnet in subnets):
        return subnets
    found = [
        subnet
        for subnet in subnets
        if not subnet.service_types or owner in subnet.service_types or (owner == _DHCP and subnet.enable_dhcp)
    ]
    return sorted(found, key=lambda subnet: not subnet.service_types)


def required(subnets: Sequence[Subnet], network_id: str, owner: str | UnsetType) -> Sequence[Subnet]:
    """Give the subnets, if there are any. Raises Conflict."""
    if not subnets:
        raise errors.Conflict(
            f"No valid service subnet for the given device owner, network {network_id}, "
            f"service type {'' if isinstance(owner, UnsetType) else owner}.",
            reason="IpAddressGenerationFailureNoMatchingSubnet",
        )
    return subnets
