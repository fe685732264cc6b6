"""Which addresses a port wants, and what becomes of it. Pure.

Who says nothing gets one address of IPv4 and one of IPv6, of any subnet that serves its owner and gives any. Of
subnets whose addresses follow from MAC addresses a port has one each, whatever it says, as in Neutron: its
workload makes them when it hears the subnet's router advertisements, asked or not.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from alcor.management_plane.port import service_types
from alcor.management_plane.subnet import derived, ranges
from alcor.model import errors
from alcor.model.addressing import Cidr, ip_from_text, ip_to_text
from alcor.model.records import FixedIp, Network, Port, Subnet

FIXED_IPS_MAX = 5  # as Neutron's max_fixed_ips_per_port; those that follow from MAC addresses are not counted
Place: TypeAlias = str | tuple[str, ...]  # a network, or some of its subnets


class FixedIpFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `fixed_ips`: a subnet, an address, or both."""

    subnet_id: str | UnsetType = UNSET
    ip_address: str | UnsetType = UNSET


class WantedIp(msgspec.Struct, frozen=True):
    """An address to find: `subnet` None means any of the network's, `ip` None means any of the subnet's.

    `among`: the subnets that may give it, best first; empty: all of the network.
    """

    subnet: Subnet | None
    ip: bytes | None
    among: tuple[Subnet, ...] = ()

    def place(self, network_id: str) -> Place:
        """Name where the address may be, if it may be in several subnets."""
        return tuple(subnet.id for subnet in self.among) if self.among else network_id

    @property
    def is_drawn(self) -> bool:
        """Is it to be found among the free ones?"""
        return self.ip is None and (self.subnet is None or not self.subnet.is_derived)


ANY_IP = (WantedIp(None, None),)


class Surroundings(msgspec.Struct, frozen=True):
    """What the decisions about ports rest on, as it was read. Subnets ascend by id."""

    networks: Mapping[str, Network]
    subnets: Mapping[str, Sequence[Subnet]]  # by network


class Draws(msgspec.Struct):
    """Generated values for one attempt; consumed from the end. Owner: the service's attempt."""

    anywhere: dict[Place, list[FixedIp]]
    in_subnet: dict[str, list[FixedIp]]


def wanted_ips(
    asked: Sequence[FixedIpFields] | UnsetType,
    network_id: str,
    subnets: Sequence[Subnet],
    owner: str | UnsetType = UNSET,
    held: Sequence[FixedIp] = (),
) -> tuple[WantedIp, ...]:
    """Give the addresses that a port asks for. Raises Invalid for those that the network cannot give.

    `owner`: the port's, for subnets that serve some only. `held`: what the port has, wherever that is.
    Raises Conflict when no subnet of the network serves the owner.
    """
    serving = service_types.serving(subnets, "" if owner is UNSET else owner)
    if asked is UNSET:
        if serving is subnets and all(subnet.ip_version == 4 for subnet in subnets):
            return ANY_IP if subnets else ()
        return _usual(service_types.required(serving, network_id, owner))
    theirs = {fixed.subnet_id for fixed in held}
    if asked and serving is not subnets:
        subnets = [*serving, *(it for it in subnets if it.id in theirs and it not in serving)]
        service_types.required(subnets, network_id, owner)
    if len(asked) > FIXED_IPS_MAX + derived.SUBNETS_MAX:
        raise _too_many()
    wanted = tuple(_wanted_ip(entry, network_id, subnets) for entry in asked)
    given = [want.ip for want in wanted if want.ip is not None]
    if len(set(given)) != len(given):
        raise _invalid("Invalid input for fixed_ips. Reason: Duplicate IP address.", "HTTPBadRequest")
    by_mac = [it for it in subnets if it.is_derived and (it.id in theirs or it in serving)]
    if not by_mac:
        following: tuple[WantedIp, ...] = ()
    else:
        named = {want.subnet.id: want for want in wanted if want.subnet is not None}
        following = tuple(named.get(subnet.id, WantedIp(subnet, None)) for subnet in by_mac)
        wanted = tuple(want for want in wanted if want.subnet is None or not want.subnet.is_derived)
    if len(wanted) > FIXED_IPS_MAX:
        raise _too_many()
    return (*wanted, *following)


def as_held(port: Port, subnets: Sequence[Subnet]) -> tuple[WantedIp, ...]:
    """Give what a port wants that keeps its addresses while its MAC address changes.

    `subnets`: of its network.
    """
    by_id = {subnet.id: subnet for subnet in subnets}
    return tuple(
        WantedIp(by_id[fixed.subnet_id], None if by_id[fixed.subnet_id].is_derived else fixed.ip)
        for fixed in port.fixed_ips
        if fixed.subnet_id in by_id
    )


def found(wanted: Sequence[WantedIp], network_id: str, draws: Draws, mac: int) -> tuple[FixedIp, ...]:
    """Give the addresses of a new port. Raises Invalid. On the path of every port of a batch."""
    if wanted is ANY_IP:
        return (draws.anywhere[network_id].pop(),)
    return tuple(sorted(_found_ip(want, network_id, draws, (mac,)) for want in wanted))


def updated(port: Port, wanted: Sequence[WantedIp], draws: Draws, mac: int) -> tuple[FixedIp, ...]:
    """Give the addresses of a port that is there. `mac`: what it is to have. Raises Invalid."""
    kept = _kept_ips(port, wanted)
    return tuple(
        sorted(
            _found_ip(want, port.network_id, draws, (mac, port.mac)) if fixed is None else fixed
            for want, fixed in zip(wanted, kept, strict=True)
        )
    )


def to_draw(port: Port, wanted: Sequence[WantedIp]) -> list[WantedIp]:
    """Give the wanted addresses that the port does not hold yet and that must be drawn.

    An entry that only names a subnet is content with an address that the port has there.
    """
    kept = _kept_ips(port, wanted)
    return [want for want, fixed in zip(wanted, kept, strict=True) if fixed is None and want.is_drawn]


def _usual(serving: Sequence[Subnet]) -> tuple[WantedIp, ...]:
    """Give what a port gets that says nothing."""
    giving = [subnet for subnet in serving if not subnet.is_derived]
    some = (tuple(subnet for subnet in giving if subnet.ip_version == version) for version in (4, 6))
    return (
        *(WantedIp(None, None, among) for among in some if among),
        *(WantedIp(subnet, None) for subnet in serving if subnet.is_derived),
    )


def _wanted_ip(entry: FixedIpFields, network_id: str, subnets: Sequence[Subnet]) -> WantedIp:
    candidates = subnets
    if entry.subnet_id is not UNSET:
        candidates = [subnet for subnet in subnets if subnet.id == entry.subnet_id]
        if not candidates:
            raise _invalid(
                f"Invalid input for operation: Failed to create port on network {network_id}, "
                f"because fixed_ips included invalid subnet {entry.subnet_id}.",
                "InvalidInput",
            )
    if entry.ip_address is UNSET:
        if entry.subnet_id is UNSET:
            raise _invalid(
                "Invalid input for operation: IP allocation requires subnet_id or ip_address.", "InvalidInput"
            )
        return WantedIp(candidates[0], None)
    return _requested_ip(entry, entry.ip_address, candidates)


def _requested_ip(entry: FixedIpFields, text: str, candidates: Sequence[Subnet]) -> WantedIp:
    try:
        ip = ip_from_text(text)
    except ValueError:
        raise _invalid(
            f"Invalid input for fixed_ips. Reason: '{text}' is not a valid IP address.", "HTTPBadRequest"
        ) from None
    for subnet in candidates:
        cidr = Cidr(*subnet.cidr)
        if cidr.contains(ip):
            if not ranges.is_for_hosts(ip, cidr):
                break
            return WantedIp(subnet, bytes(ip))
    else:
        if entry.subnet_id is UNSET:
            raise _invalid(
                f"IP address {ip_to_text(ip)} is not a valid IP for any of the subnets "
                "on the specified network.",
                "InvalidIpForNetwork",
            )
    raise _invalid(
        f"IP address {ip_to_text(ip)} is not a valid IP for the specified subnet.", "InvalidIpForSubnet"
    )


def _found_ip(want: WantedIp, network_id: str, draws: Draws, macs: Sequence[int]) -> FixedIp:
    """Find an address. `macs`: of the port, and the one it had: its address may be said of either."""
    subnet = want.subnet
    if subnet is None:
        return draws.anywhere[want.place(network_id)].pop()
    if subnet.is_derived:
        if want.ip is not None and all(want.ip != derived.address(subnet, mac).ip for mac in macs):
            raise _invalid(
                f"IPv6 address {ip_to_text(want.ip)} cannot be directly assigned to a port on subnet "
                f"{subnet.id} as the subnet is configured for automatic addresses",
                "AllocationOnAutoAddressSubnet",
            )
        return derived.address(subnet, macs[0])
    if want.ip is None:
        return draws.in_subnet[subnet.id].pop()
    return FixedIp(subnet.id, want.ip)


def _kept_ips(port: Port, wanted: Sequence[WantedIp]) -> list[FixedIp | None]:
    held = list(port.fixed_ips)
    requested = {want.ip for want in wanted if want.ip is not None}
    kept: list[FixedIp | None] = []
    for want in wanted:
        match = next(
            (
                fixed
                for fixed in held
                if want.subnet is not None
                and not want.subnet.is_derived
                and fixed.subnet_id == want.subnet.id
                and (fixed.ip == want.ip if want.ip is not None else fixed.ip not in requested)
            ),
            None,
        )
        if match is not None:
            held.remove(match)
        kept.append(match)
    return kept


def _too_many() -> errors.Invalid:
    return _invalid(f"Exceeded maximum amount of fixed ips per port: {FIXED_IPS_MAX}.", "InvalidInput")


def _invalid(message: str, reason: str) -> errors.Invalid:
    return errors.Invalid(message, reason=reason)
