"""How addresses come about in IPv6 subnets, as far as clients say it: Neutron's rules. Pure."""

from alcor.model import errors
from alcor.model.addressing import Cidr
from alcor.model.records import Subnet

_DERIVED_PREFIX_LEN = 64  # and as many bits of the interface make an address (RFC 4862, section 5.5.3)


def check(subnet: Subnet) -> None:
    """Raise Invalid for modes of a new subnet that do not go together, or not with the rest of it."""
    if subnet.ip_version == 4:
        for name, mode in (("ipv6_ra_mode", subnet.ra_mode), ("ipv6_address_mode", subnet.address_mode)):
            if mode:
                raise _invalid(f"{name} is not valid when ip_version is 4.")
    if not _has_modes(subnet):
        return
    if not subnet.enable_dhcp:
        raise _invalid("ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False.")
    if subnet.ra_mode and subnet.address_mode and subnet.ra_mode != subnet.address_mode:
        raise _invalid(
            f"ipv6_ra_mode set to '{subnet.ra_mode}' with ipv6_address_mode set to '{subnet.address_mode}' is "
            "not valid. If both attributes are set, they must be the same value."
        )
    if subnet.is_derived and subnet.cidr[1] != _DERIVED_PREFIX_LEN:
        raise _invalid(
            f"Invalid CIDR {Cidr(*subnet.cidr)} for IPv6 address mode. OpenStack uses the EUI-64 address "
            "format, which requires the prefix to be /64."
        )


def check_update(subnet: Subnet) -> None:
    """Raise Invalid for a subnet with modes that is not to have DHCP any longer."""
    if _has_modes(subnet) and not subnet.enable_dhcp:
        raise _invalid("Cannot disable enable_dhcp with ipv6 attributes set.")


def _has_modes(subnet: Subnet) -> bool:
    return bool(subnet.ra_mode or subnet.address_mode)


def _invalid(sentence: str) -> errors.Invalid:
    return errors.Invalid(f"Invalid input for operation: {sentence}", reason="InvalidInput")
