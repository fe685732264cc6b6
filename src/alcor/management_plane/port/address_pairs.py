"""What a port may send from and receive for beside its own addresses. Pure."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from alcor.management_plane.port.macs import parsed_mac
from alcor.model import errors
from alcor.model.addressing import Cidr, ip_from_text
from alcor.model.records import AddressPair, FixedIp

PAIRS_MAX = 10  # as Neutron's max_allowed_address_pair


class AddressPairFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `allowed_address_pairs`: an address or CIDR, and the MAC address if not the port's."""

    ip_address: str
    mac_address: str | UnsetType = UNSET


def parsed(asked: Sequence[AddressPairFields], mac: int) -> tuple[AddressPair, ...]:
    """Read pairs; `mac` is meant where none is named. Raises Invalid; Conflict for too many."""
    if len(asked) > PAIRS_MAX:
        raise errors.Conflict(
            f"The number of allowed address pair exceeds the maximum {PAIRS_MAX}.",
            reason="AllowedAddressPairExhausted",
        )
    found = sorted(_pair(entry, mac) for entry in asked)
    if len(set(found)) != len(found):
        raise errors.Invalid("Request contains duplicate address pair.", reason="DuplicateAddressPairInRequest")
    return tuple(found)


def moved(pairs: Sequence[AddressPair], before: int, after: int) -> tuple[AddressPair, ...]:
    """Let pairs of the port's own MAC address follow it."""
    return tuple(
        sorted(msgspec.structs.replace(pair, mac=after) if pair.mac == before else pair for pair in pairs)
    )


def check(pairs: Sequence[AddressPair], mac: int, fixed_ips: Sequence[FixedIp], *, secured: bool) -> None:
    """Raise Conflict for pairs of a port that may send anything, Invalid for what it has already."""
    if pairs and not secured:
        raise errors.Conflict(
            "Port Security must be enabled in order to have allowed address pairs on a port.",
            reason="AddressPairAndPortSecurityRequired",
        )
    own = {AddressPair(mac, fixed.ip, 8 * len(fixed.ip)) for fixed in fixed_ips}
    if not own.isdisjoint(pairs):
        raise errors.Invalid(
            "Port's Fixed IP and Mac Address match an address pair entry.",
            reason="AddressPairMatchesPortFixedIPAndMac",
        )


def _pair(entry: AddressPairFields, mac: int) -> AddressPair:
    text = entry.ip_address
    try:
        cidr = Cidr.from_text(text) if "/" in text else _one(ip_from_text(text))
    except ValueError:
        raise _invalid(f"'{text[:64]}' is not a valid IP address or subnet.") from None
    if entry.mac_address is not UNSET:
        mac = parsed_mac(entry.mac_address)
    return AddressPair(mac, bytes(cidr.network), cidr.prefix_len)


def _one(ip: bytes) -> Cidr:
    return Cidr(ip, 8 * len(ip))


def _invalid(reason: str) -> errors.Invalid:
    return errors.Invalid(f"Invalid input for allowed_address_pairs. Reason: {reason}", reason="HTTPBadRequest")
