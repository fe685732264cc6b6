"""MAC addresses as clients write them. Pure."""

from alcor.model import errors
from alcor.model.addressing import mac_from_text


def parsed_mac(text: str) -> int:
    """Parse the MAC address of one station. Raises Invalid."""
    try:
        mac = mac_from_text(text)
    except ValueError:
        mac = None
    if not mac or mac >> 40 & 1:
        raise errors.Invalid(
            f"Invalid input for mac_address. Reason: '{text}' is not a valid MAC address.",
            reason="HTTPBadRequest",
        )
    return mac
