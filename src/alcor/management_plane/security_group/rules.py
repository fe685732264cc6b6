"""What rules of security groups, and the templates of rules, may say. Pure.

A rule is checked and brought into one form in the order in which Neutron does, so that of several mistakes the
same one is named.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from alcor.model import errors
from alcor.model.addressing import Cidr

TCP, UDP, SCTP, ICMP, ICMPV6 = 6, 17, 132, 1, 58
PROTOCOLS = {
    "ah": 51,
    "dccp": 33,
    "egp": 8,
    "esp": 50,
    "gre": 47,
    "hopopt": 0,
    "icmp": ICMP,
    "icmpv6": ICMPV6,
    "igmp": 2,
    "ip": 0,
    "ipip": 4,
    "ipv6-encap": 41,
    "ipv6-frag": 44,
    "ipv6-icmp": ICMPV6,
    "ipv6-nonxt": 59,
    "ipv6-opts": 60,
    "ipv6-route": 43,
    "ospf": 89,
    "pgm": 113,
    "rsvp": 46,
    "sctp": SCTP,
    "tcp": TCP,
    "udp": UDP,
    "udplite": 136,
    "vrrp": 112,
}
_ANY, _IP = "any", "ip"
_ICMP_OF_IPV6 = "ipv6-icmp"
_ICMP_NAMES = ("icmp", "icmpv6")  # which mean that of IPv6 in its rules
_IPV6_ONLY = frozenset({41, 43, 44, 58, 59, 60})
# Open vSwitch matches ports of these. Those of DCCP and UDP-Lite cannot be enforced, and are refused (law 7).
_WITH_PORTS = {"SCTP": SCTP, "TCP": TCP, "UDP": UDP}
_PORT_MIN, _PORT_MAX = 1, 65535


class Prefix(NamedTuple):
    """A remote prefix: as the client wrote it, host bits and all, and what it means."""

    text: str
    cidr: Cidr


class Said(Protocol):
    """What clients say of rules and templates alike."""

    @property
    def direction(self) -> str: ...
    @property
    def ethertype(self) -> str: ...
    @property
    def protocol(self) -> str | None: ...
    @property
    def port_min(self) -> int | None: ...
    @property
    def port_max(self) -> int | None: ...
    @property
    def remote_group_id(self) -> str | None: ...
    @property
    def remote_prefix(self) -> Prefix | None: ...
    @property
    def remote_address_group_id(self) -> str | None: ...


class Permission(Protocol):
    """What a rule or template that is kept permits."""

    @property
    def direction(self) -> str: ...
    @property
    def ethertype(self) -> str: ...
    @property
    def protocol(self) -> int | None: ...
    @property
    def port_min(self) -> int | None: ...
    @property
    def port_max(self) -> int | None: ...
    @property
    def remote_group_id(self) -> Any: ...
    @property
    def remote_prefix(self) -> tuple[bytes, int] | None: ...
    @property
    def remote_address_group_id(self) -> Any: ...


def terms(fields: Said) -> dict[str, Any]:
    """Check what a client says of a rule, and give the fields of the record by name. Raises Invalid."""
    text, number = _protocol(fields.protocol, fields.ethertype)
    low, high = fields.port_min, fields.port_max
    if (low, high) == (_PORT_MIN, _PORT_MAX):
        low = high = None
    _check_ports(low, high, text)
    _check_prefix(fields)
    if fields.ethertype == "IPv4" and text is not None and _number_of(text) in _IPV6_ONLY:
        raise _invalid(
            f"Invalid ethertype {fields.ethertype} for protocol {text}.",
            "SecurityGroupEthertypeConflictWithProtocol",
        )
    remotes = (fields.remote_prefix, fields.remote_group_id, fields.remote_address_group_id)
    if sum(remote is not None for remote in remotes) > 1:
        raise _invalid(
            "Only one of remote_ip_prefix or remote_group_id or remote_address_group_id may be provided.",
            "SecurityGroupMultipleRemoteEntites",  # spelt as Neutron does
        )
    return {
        "direction": fields.direction,
        "ethertype": fields.ethertype,
        "protocol": number,
        "protocol_text": text,
        "port_min": low,
        "port_max": high,
        "remote_group_id": fields.remote_group_id,
        "remote_prefix": None if fields.remote_prefix is None else fields.remote_prefix.cidr,
        "prefix_text": None if fields.remote_prefix is None else fields.remote_prefix.text,
        "remote_address_group_id": fields.remote_address_group_id,
    }


def permission(rule: Permission) -> tuple[object, ...]:
    """Give what a rule permits: equal for two rules of which one is enough."""
    # The whole address space as prefix permits what no prefix does.
    prefix = None if rule.remote_prefix is None or rule.remote_prefix[1] == 0 else tuple(rule.remote_prefix)
    return (
        rule.direction,
        rule.ethertype,
        rule.protocol,
        rule.port_min,
        rule.port_max,
        rule.remote_group_id,
        rule.remote_address_group_id,
        prefix,
    )


def ids_of(fields: Sequence[Said], name: str) -> list[str]:
    """Name the objects that some rules name in an attribute, sorted, each once."""
    return sorted({str(found) for each in fields if (found := getattr(each, name)) is not None})


def _protocol(said: str | None, ethertype: str) -> tuple[str | None, int | None]:
    """Give a protocol as it is shown, and its number; None for any. Raises Invalid."""
    if said is None or said.lower() == _ANY:
        return None, None
    text = said.lower()
    if text not in PROTOCOLS and not _is_number(text):
        raise _invalid(
            f"Security group rule protocol {said} not supported. Only protocol values "
            f"{[None, _ANY, *sorted(PROTOCOLS)]} and integer representations [0 to 255] are supported.",
            "SecurityGroupRuleInvalidProtocol",
        )
    if ethertype == "IPv6" and text in _ICMP_NAMES:
        text = _ICMP_OF_IPV6
    elif ethertype == "IPv6" and text == str(ICMP):
        text = str(ICMPV6)
    return text, None if text == _IP else _number_of(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255


def _number_of(text: str) -> int:
    return PROTOCOLS[text] if text in PROTOCOLS else int(text)


def _check_ports(low: int | None, high: int | None, protocol: str | None) -> None:
    if low is None and high is None:
        return
    if protocol is None:
        raise _invalid(
            "Must also specify protocol if port range is given.", "SecurityGroupProtocolRequiredWithPorts"
        )
    number = _number_of(protocol)
    if number in (ICMP, ICMPV6):
        _check_icmp(low, high)
    elif number not in _WITH_PORTS.values():
        raise _invalid(
            f"Ports cannot be specified for protocol {number}. "
            f"Ports are only supported for {', '.join(_WITH_PORTS)}.",
            "SecurityGroupInvalidProtocolForPort",
        )
    elif 0 in (low, high):
        raise _invalid("Invalid value for port 0", "SecurityGroupInvalidPortValue")
    elif low is None or high is None or low > high:
        raise _invalid(
            "For TCP/UDP protocols, port_range_min must be <= port_range_max", "SecurityGroupInvalidPortRange"
        )


def _check_icmp(icmp_type: int | None, code: int | None) -> None:
    for attribute, field, value in (("port_range_min", "type", icmp_type), ("port_range_max", "code", code)):
        if value is not None and value > 255:
            raise _invalid(
                f"Invalid value for ICMP {field} ({attribute}) {value}. It must be 0 to 255.",
                "SecurityGroupInvalidIcmpValue",
            )
    if icmp_type is None:
        raise _invalid(
            f"ICMP code (port-range-max) {code} is provided but ICMP type (port-range-min) is missing.",
            "SecurityGroupMissingIcmpType",
        )


def _check_prefix(fields: Said) -> None:
    if fields.remote_prefix is None:
        return
    is_ipv4 = len(fields.remote_prefix.cidr.network) == 4
    if is_ipv4 != (fields.ethertype == "IPv4"):
        raise _invalid(
            f"Conflicting value ethertype {fields.ethertype} for CIDR {fields.remote_prefix.text}",
            "SecurityGroupRuleParameterConflict",
        )


def _invalid(message: str, reason: str) -> errors.Invalid:
    return errors.Invalid(message, reason=reason)
