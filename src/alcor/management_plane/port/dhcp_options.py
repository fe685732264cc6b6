"""Extra DHCP options: names and numbers to what is on the wire. Pure.

Of DHCP as in RFC 2132 and later, of DHCPv6 as in RFC 8415 and those that it names; names are dnsmasq's.
"""

import functools
import re
import struct
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
# Of DHCPv6: identifiers, addresses and prefixes, option request, elapsed time, relay message, authentication,
# unicast, status, rapid commit, interface identifier, reconfiguration, what clients say of themselves.
_RESERVED_6 = frozenset({*range(7), *range(8, 21), 25, 26})
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2})+")


class DhcpOptionFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `extra_dhcp_opts`. `opt_value` None: the option goes."""

    opt_name: str
    opt_value: str | None = None
    ip_version: int | str | UnsetType = UNSET


def merged(held: Sequence[DhcpOption], asked: Sequence[DhcpOptionFields]) -> tuple[DhcpOption, ...]:
    """Give the options after a request: those named replace or go, others stay. Raises Invalid."""
    found = {(option.ip_version, option.name): option for option in held}
    for entry in asked:
        if entry.ip_version not in (UNSET, 4, 6, "4", "6"):
            raise _invalid(f"ip_version '{entry.ip_version}' is not in [4, 6].")
        ip_version = 4 if entry.ip_version is UNSET else int(entry.ip_version)
        if entry.opt_value is None:
            found.pop((ip_version, entry.opt_name), None)
        else:
            found[ip_version, entry.opt_name] = _option(entry.opt_name, entry.opt_value, _DHCP[ip_version])
    codes = [(option.ip_version, option.code) for option in found.values()]
    if len(set(codes)) != len(codes):
        raise _invalid("an option is given twice, under two names.")
    for dhcp in _DHCP.values():
        of_it = [option for option in found.values() if option.ip_version == dhcp.ip_version]
        if len(of_it) > OPTIONS_MAX or sum(len(it.data) + dhcp.header for it in of_it) > BYTES_MAX:
            raise _invalid(f"more than {OPTIONS_MAX} options or {BYTES_MAX} bytes.")
    return tuple(found[key] for key in sorted(found))


def _option(name: str, value: str, dhcp: "_Dhcp") -> DhcpOption:
    if not value or len(value) > TEXT_MAX or not value.isprintable():
        raise _invalid(f"the value of '{name[:64]}' must be 1 to {TEXT_MAX} printable characters.")
    if name.isascii() and name.isdigit() and len(name) <= len(str(dhcp.code_max)):
        code = int(name)
        encode = dhcp.by_code.get(code, dhcp.guessed)
    else:
        code, encode = dhcp.names.get(name.lower(), (0, dhcp.guessed))
    if code in dhcp.reserved or code > dhcp.code_max:
        raise _invalid(f"'{name[:64]}' is not an option that can be set.")
    try:
        data = encode(value)
    except (ValueError, OverflowError):
        raise _invalid(f"'{value[:64]}' is not a value of option '{name}'.") from None
    if len(data) > dhcp.data_max:
        raise _invalid(f"the value of '{name}' is too long.")
    return DhcpOption(name, value, code, data, dhcp.ip_version)


def _is_address(value: str) -> bool:
    try:
        ip_from_text(value.strip())
    except ValueError:
        return False
    return True


def _address(length: int, value: str) -> bytes:
    found = ip_from_text(value.strip())
    if len(found) != length:
        raise ValueError(value)
    return bytes(found)


def _addresses(length: int, value: str) -> bytes:
    return b"".join(_address(length, each) for each in value.split(","))


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


def _time_servers(value: str) -> bytes:
    """Write addresses and names of NTP servers (RFC 5908): sub-option, length, and what is said."""
    found = b""
    for server in value.split(","):
        kind, data = (1, _ip6(server)) if _is_address(server) else (3, _domains(server))
        found += struct.pack("!HH", kind, len(data)) + data
    return found


def _parameters(value: str) -> bytes:
    """Write parameters of a boot file, each with its length (RFC 5970, section 3.2)."""
    found = [each.strip().encode("ascii") for each in value.split(",")]
    return b"".join(struct.pack("!H", len(each)) + each for each in found)


def _guessed(read_addresses: Callable[[str], bytes], value: str) -> bytes:
    """Read the value of an option without a known type: addresses, bytes in hexadecimal, a number, or text."""
    if _HEXADECIMAL.fullmatch(value):
        return _bytes(value)
    if value.isascii() and value.isdigit():
        return int(value).to_bytes(1 if int(value) < 1 << 8 else 2 if int(value) < 1 << 16 else 4, "big")
    try:
        return read_addresses(value)
    except ValueError:
        return _text(value)


_ip, _ips = functools.partial(_address, 4), functools.partial(_addresses, 4)
_ip6, _ip6s = functools.partial(_address, 16), functools.partial(_addresses, 16)
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
NAMES_6: dict[str, tuple[int, _Encode]] = {
    "sip-server-domain": (21, _domains),
    "sip-server": (22, _ip6s),
    "dns-server": (23, _ip6s),
    "domain-search": (24, _domains),
    "nis-server": (27, _ip6s),
    "nis+-server": (28, _ip6s),
    "nis-domain": (29, _domains),
    "nis+-domain": (30, _domains),
    "sntp-server": (31, _ip6s),
    "information-refresh-time": (32, _u32),
    "ntp-server": (56, _time_servers),
    "bootfile-url": (59, _text),
    "bootfile-param": (60, _parameters),
}


class _Dhcp(msgspec.Struct, frozen=True):
    """What there is in one of the two protocols. `header`: bytes before the data of each option."""

    ip_version: int
    names: dict[str, tuple[int, _Encode]]
    by_code: dict[int, _Encode]
    guessed: _Encode
    reserved: frozenset[int]
    code_max: int
    data_max: int
    header: int


_DHCP = {
    4: _Dhcp(4, NAMES, dict(NAMES.values()), functools.partial(_guessed, _ips), _RESERVED, 255, 255, 2),
    6: _Dhcp(
        6,
        NAMES_6,
        dict(NAMES_6.values()),
        functools.partial(_guessed, _ip6s),
        _RESERVED_6,
        65_535,
        BYTES_MAX,
        4,
    ),
}


def _invalid(reason: str) -> errors.Invalid:
    return errors.Invalid(f"Invalid input for extra_dhcp_opts. Reason: {reason}", reason="HTTPBadRequest")
