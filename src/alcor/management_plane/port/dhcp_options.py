"""Extra DHCP options: names and numbers (RFC 2132 and later) to what is on the wire. Pure."""

import functools
import re
from collections.abc import Callable, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from alcor.model import errors
from alcor.model.addressing import Cidr, ip_from_text
from alcor.model.records import DhcpOption

OPTIONS_MAX = 32  # of one port
BYTES_MAX = 768  # on the wire together: an answer must fit a frame
TEXT_MAX = 255

# What makes the exchange work is not for clients: padding, requested address, overload, message type, server
# identifier, parameter list, message, sizes, client identifiers, relay information, end.
_RESERVED = frozenset({0, 50, 52, 53, 54, 55, 56, 57, 60, 61, 82, 255})
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2})+")


class DhcpOptionFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `extra_dhcp_opts`. `opt_value` None: the option goes."""

    opt_name: str
    opt_value: str | None = None
    ip_version: int | str | UnsetType = UNSET


def merged(held: Sequence[DhcpOption], asked: Sequence[DhcpOptionFields]) -> tuple[DhcpOption, ...]:
    """Give the options after a request: those named replace or go, others stay. Raises Invalid."""
    found = {option.name: option for option in held}
    for entry in asked:
        if entry.ip_version not in (UNSET, 4, "4"):
            raise _invalid(f"ip_version {entry.ip_version} is not supported, 4 is.")
        if entry.opt_value is None:
            found.pop(entry.opt_name, None)
        else:
            found[entry.opt_name] = _option(entry.opt_name, entry.opt_value)
    codes = [option.code for option in found.values()]
    if len(set(codes)) != len(codes):
        raise _invalid("an option is given twice, under two names.")
    if len(codes) > OPTIONS_MAX or sum(len(option.data) + 2 for option in found.values()) > BYTES_MAX:
        raise _invalid(f"more than {OPTIONS_MAX} options or {BYTES_MAX} bytes.")
    return tuple(found[name] for name in sorted(found))


def _option(name: str, value: str) -> DhcpOption:
    if not value or len(value) > TEXT_MAX or not value.isprintable():
        raise _invalid(f"the value of '{name[:64]}' must be 1 to {TEXT_MAX} printable characters.")
    if name.isascii() and name.isdigit() and len(name) <= 3:
        code = int(name)
        encode = _BY_CODE.get(code, _guessed)
    else:
        code, encode = NAMES.get(name.lower(), (0, _guessed))
    if code in _RESERVED or code > 255:
        raise _invalid(f"'{name[:64]}' is not an option that can be set.")
    try:
        data = encode(value)
    except (ValueError, OverflowError):
        raise _invalid(f"'{value[:64]}' is not a value of option '{name}'.") from None
    if len(data) > 255:
        raise _invalid(f"the value of '{name}' is too long.")
    return DhcpOption(name, value, code, data)


def _ip(value: str) -> bytes:
    found = ip_from_text(value.strip())
    if len(found) != 4:
        raise ValueError(value)
    return bytes(found)


def _ips(value: str) -> bytes:
    return b"".join(map(_ip, value.split(",")))


def _text(value: str) -> bytes:
    return value.encode("ascii")


def _number(size: int, value: str) -> bytes:
    return int(value).to_bytes(size, "big")


def _signed(value: str) -> bytes:
    return int(value).to_bytes(4, "big", signed=True)


def _boolean(value: str) -> bytes:
    return bytes([("0", "1").index(value)])


def _bytes(value: str) -> bytes:
    return bytes.fromhex(value.replace(":", ""))


def _routes(value: str) -> bytes:
    """Write `destination,hop,destination,hop` (RFC 3442)."""
    parts = value.split(",")
    if len(parts) % 2:
        raise ValueError(value)
    found = b""
    for destination, hop in zip(parts[::2], parts[1::2], strict=True):
        cidr = Cidr.from_text(destination.strip())
        if len(cidr.network) != 4:
            raise ValueError(value)
        found += bytes([cidr.prefix_len]) + cidr.network[: (cidr.prefix_len + 7) // 8] + _ip(hop)
    return found


def _domains(value: str) -> bytes:
    """Write names as labels (RFC 3397), without compression."""
    found = b""
    for name in value.split(","):
        labels = [label.encode("ascii") for label in name.strip().rstrip(".").split(".")]
        if not all(0 < len(label) < 64 for label in labels):
            raise ValueError(value)
        found += b"".join(bytes([len(label)]) + label for label in labels) + b"\x00"
    return found


def _guessed(value: str) -> bytes:
    """Read the value of an option without a known type: addresses, bytes in hexadecimal, a number, or text."""
    if _HEXADECIMAL.fullmatch(value):
        return _bytes(value)
    if value.isascii() and value.isdigit():
        return int(value).to_bytes(1 if int(value) < 1 << 8 else 2 if int(value) < 1 << 16 else 4, "big")
    try:
        return _ips(value)
    except ValueError:
        return _text(value)


_u8, _u16, _u32 = (functools.partial(_number, size) for size in (1, 2, 4))
_Encode = Callable[[str], bytes]
NAMES: dict[str, tuple[int, _Encode]] = {
    "netmask": (1, _ip),
    "time-offset": (2, _signed),
    "router": (3, _ips),
    "dns-server": (6, _ips),
    "log-server": (7, _ips),
    "lpr-server": (9, _ips),
    "hostname": (12, _text),
    "boot-file-size": (13, _u16),
    "domain-name": (15, _text),
    "swap-server": (16, _ip),
    "root-path": (17, _text),
    "extension-path": (18, _text),
    "ip-forward-enable": (19, _boolean),
    "default-ttl": (23, _u8),
    "mtu": (26, _u16),
    "broadcast": (28, _ip),
    "router-discovery": (31, _boolean),
    "router-solicitation": (32, _ip),
    "static-route": (33, _ips),
    "arp-timeout": (35, _u32),
    "tcp-ttl": (37, _u8),
    "tcp-keepalive": (38, _u32),
    "nis-domain": (40, _text),
    "nis-server": (41, _ips),
    "ntp-server": (42, _ips),
    "vendor-encap": (43, _bytes),
    "netbios-ns": (44, _ips),
    "netbios-dd": (45, _ips),
    "netbios-nodetype": (46, _u8),
    "netbios-scope": (47, _text),
    "x-windows-fs": (48, _ips),
    "x-windows-dm": (49, _ips),
    "lease-time": (51, _u32),
    "t1": (58, _u32),
    "t2": (59, _u32),
    "nis+-domain": (64, _text),
    "nis+-server": (65, _ips),
    "tftp-server": (66, _text),
    "tftp-server-name": (66, _text),
    "bootfile-name": (67, _text),
    "mobile-ip-home": (68, _ips),
    "smtp-server": (69, _ips),
    "pop3-server": (70, _ips),
    "nntp-server": (71, _ips),
    "domain-search": (119, _domains),
    "classless-static-route": (121, _routes),
    "tftp-server-address": (150, _ips),
}
_BY_CODE = dict(NAMES.values())


def _invalid(reason: str) -> errors.Invalid:
    return errors.Invalid(f"Invalid input for extra_dhcp_opts. Reason: {reason}", reason="HTTPBadRequest")
