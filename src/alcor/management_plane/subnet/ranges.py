"""Which addresses a subnet has, and which of them are its gateway and in its pools. Pure.

Of IPv4 the first and the last address are nobody's: the network's and the broadcast address. IPv6 has no
broadcast: its last address may be a port's, its first is any router's (RFC 4291, section 2.6.1).
"""

import itertools
from collections.abc import Sequence

from alcor.model import errors
from alcor.model.addressing import Cidr, ip_from_int, ip_to_int, ip_to_text

Pool = tuple[bytes, bytes]

# Nobody can have an address here. By bytes of an address.
NO_HOSTS = {
    4: tuple(map(Cidr.from_text, ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"))),
    # Unspecified and loopback, IPv4-mapped, link-local, multicast (RFC 4291).
    16: tuple(map(Cidr.from_text, ("::/127", "::ffff:0:0/96", "fe80::/10", "ff00::/8"))),
}
_LONGEST = {4: 30, 16: 126}  # beyond, no room is left beside the gateway; as Neutron's, where DHCP is on
_LINK_LOCAL = Cidr.from_text("fe80::/10")


def check_version(name: str, text: str, ip: bytes, ip_version: int) -> None:
    """Raise Invalid for an address of another IP version than is said."""
    if len(ip) != (4 if ip_version == 4 else 16):
        raise _invalid(
            f"Invalid input for operation: {name} '{text}' does not match the ip_version '{ip_version}'.",
            "InvalidInput",
        )


def check_cidr(cidr: Cidr) -> None:
    """Raise Invalid for a range that hosts can have no addresses in."""
    longest = _LONGEST[len(cidr.network)]
    if not 1 <= cidr.prefix_len <= longest:
        raise _invalid(
            f"Invalid input for operation: the prefix length of {cidr} must be between 1 and {longest}.",
            "InvalidInput",
        )
    if any(cidr.overlaps(nobody) for nobody in NO_HOSTS[len(cidr.network)]):
        raise _invalid(f"Invalid input for operation: {cidr} holds no addresses for hosts.", "InvalidInput")


def first_address(cidr: Cidr) -> bytes:
    """Give the address that is the gateway's when nobody says another."""
    return ip_from_int(ip_to_int(cidr.network) + 1, length=len(cidr.network))


def default_pools(cidr: Cidr, gateway: bytes | None) -> tuple[Pool, ...]:
    """Give all host addresses but the gateway's, as inclusive ranges."""
    first, last = _host_range(cidr)
    inside = gateway is not None and first <= ip_to_int(gateway) <= last
    cut = ip_to_int(gateway) if gateway is not None and inside else None
    spans = [(first, last)] if cut is None else [(first, cut - 1), (cut + 1, last)]
    return tuple(_packed(start, end, cidr) for start, end in spans if start <= end)


def checked_pools(pools: Sequence[Pool], cidr: Cidr) -> tuple[Pool, ...]:
    """Give the pools ascending. Raises Invalid when one is outside, upside down or overlaps another."""
    first, last = _host_range(cidr)
    if any(len(ip) != len(cidr.network) for pool in pools for ip in pool):
        wrong = next(pool for pool in pools if any(len(ip) != len(cidr.network) for ip in pool))
        raise _invalid(f"The allocation pool {_text(wrong)} is not valid.", "InvalidAllocationPool")
    ordered = sorted((ip_to_int(start), ip_to_int(end)) for start, end in pools)
    packed = [_packed(start, end, cidr) for start, end in ordered]
    for (start, end), pool in zip(ordered, packed, strict=True):
        if start > end:
            raise _invalid(f"The allocation pool {_text(pool)} is not valid.", "InvalidAllocationPool")
        if not (first <= start and end <= last):
            raise _invalid(
                f"The allocation pool {_text(pool)} spans beyond the subnet cidr {cidr}.",
                "OutOfBoundsAllocationPool",
            )
    for before, after in itertools.pairwise(packed):
        if after[0] <= before[1]:
            raise errors.Conflict(
                f"Found overlapping allocation pools: {_text(before)} {_text(after)} for subnet {cidr}.",
                reason="OverlappingAllocationPools",
            )
    return tuple(packed)


def check_gateway(gateway: bytes | None, cidr: Cidr) -> None:
    """Raise Invalid for a gateway that is not on the subnet."""
    if gateway is None:
        return
    text = ip_to_text(gateway)
    check_version("gateway_ip", text, gateway, 4 if len(cidr.network) == 4 else 6)
    if _LINK_LOCAL.contains(gateway):
        raise _invalid(
            f"Invalid input for operation: gateway_ip '{text}' is a link-local address, which is not "
            f"supported: it must be in {cidr}.",
            "InvalidInput",
        )
    first, last = _host_range(cidr)
    if not first <= ip_to_int(gateway) <= last:
        raise _invalid("Gateway is not valid on subnet", "InvalidInput")


def check_gateway_outside(gateway: bytes | None, pools: Sequence[Pool]) -> None:
    """Raise Conflict for a gateway that a pool gives to ports."""
    for pool in pools:
        if gateway is not None and pool[0] <= gateway <= pool[1]:
            raise errors.Conflict(
                f"Gateway ip {ip_to_text(gateway)} conflicts with allocation pool {_text(pool)}.",
                reason="GatewayConflictWithAllocationPools",
            )


def is_for_hosts(ip: bytes, cidr: Cidr) -> bool:
    """May a port have the address, of those in the range?"""
    first, last = _host_range(cidr)
    return first <= ip_to_int(ip) <= last


def _host_range(cidr: Cidr) -> tuple[int, int]:
    base = ip_to_int(cidr.network)
    return base + 1, base + cidr.size - (2 if len(cidr.network) == 4 else 1)


def _packed(start: int, end: int, cidr: Cidr) -> Pool:
    length = len(cidr.network)
    return ip_from_int(start, length=length), ip_from_int(end, length=length)


def _text(pool: Pool) -> str:
    return f"{ip_to_text(pool[0])}-{ip_to_text(pool[1])}"


def _invalid(message: str, reason: str) -> errors.Invalid:
    return errors.Invalid(message, reason=reason)
