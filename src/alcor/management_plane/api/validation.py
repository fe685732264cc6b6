"""What values may be: functions that take what the body holds and give what services want.

Each raises ValueError with the reason, in Neutron's words where it has some.
"""

import json
import re
from collections.abc import Sequence

from alcor.management_plane.api.accepts import (
    Accepting,
    Schema,
    accepts,
    list_of,
    literal_of,
    object_of,
    or_null,
    schema_of,
)
from alcor.management_plane.api.attribute import Parse
from alcor.model.addressing import Cidr, ip_from_text, ip_to_text

UUID_PATTERN = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
NAME_LENGTH_MAX = 255
TAG_LENGTH_MAX = 255
TAGS_MAX = 50
ZONES_LENGTH_MAX = 255  # of all hints, written as JSON
NAMESERVERS_MAX = 5
HOST_ROUTES_MAX = 20
ROUTES_MAX = 1000  # in one list: what is kept has smaller limits
POOLS_MAX = 64

_UUID = re.compile(UUID_PATTERN)
_TRUE = ("true", "1", "t", "yes", "on", "y")
_FALSE = ("false", "0", "f", "no", "off", "n")

UUID: Schema = {"type": "string", "format": "uuid", "pattern": UUID_PATTERN}
BOOLEAN: Schema = {"anyOf": [{"type": "boolean"}, {"enum": [*_TRUE, *_FALSE, "True", "False", 1, 0]}]}
IP: Schema = {"type": "string", "format": "ip", "maxLength": 64}
CIDR: Schema = {"type": "string", "format": "cidr", "maxLength": 64, "examples": ["10.0.0.0/24"]}

ROUTE = object_of({"destination": CIDR, "nexthop": IP}, "destination", "nexthop")


def string(length_max: int = NAME_LENGTH_MAX, *, length_min: int = 0) -> Schema:
    """Make the schema of a string; PostgreSQL cannot store NUL."""
    least = {"minLength": length_min} if length_min else {}
    return {"type": "string", **least, "maxLength": length_max, "pattern": r"^[^\u0000]*$"}


def text(length_max: int = NAME_LENGTH_MAX) -> Parse:
    """Accept a string of limited length."""

    @accepts(string(length_max))
    def parse(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"'{value}' is not a valid string.")
        if len(value) > length_max:
            raise ValueError(f"'{value[:32]}...' exceeds maximum length of {length_max}.")
        if "\x00" in value:  # PostgreSQL cannot store it
            raise ValueError("a string must not contain a null character.")
        return value

    return parse


def text_or_none(length_max: int = NAME_LENGTH_MAX) -> Parse:
    """Accept a string of limited length; null is the empty one."""
    parse = text(length_max)
    return Accepting(lambda value: "" if value is None else parse(value), or_null(string(length_max)))


@accepts({"type": "string", "maxLength": NAME_LENGTH_MAX, "pattern": r"^[^\u0000]*[^\s\u0000][^\u0000]*$"})
def name(value: object) -> str:
    """Accept a string of limited length that is not blank."""
    found = str(text()(value))
    if not found.strip():
        raise ValueError(f"'{found}' Blank strings are not permitted.")
    return found


@accepts(BOOLEAN, "boolean")
def boolean(value: object) -> bool:
    """Accept true and false, also as text and as 1 and 0."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (str, int)):
        lowered = str(value).lower()
        if lowered in _TRUE:
            return True
        if lowered in _FALSE:
            return False
    raise ValueError(f"'{value}' cannot be converted to boolean.")


def only(expected: object, sentence: str) -> Parse:
    """Accept the one value that is true here; everything else is refused with the sentence."""

    def parse(value: object) -> object:
        found = boolean(value) if isinstance(expected, bool) else value
        if found != expected:
            raise ValueError(sentence)
        return found

    if not isinstance(expected, bool):
        return Accepting(parse, {"const": expected})
    forms = (True, *_TRUE, "True", 1) if expected else (False, *_FALSE, "False", 0)
    return Accepting(parse, {"enum": forms}, "boolean")


def integer(low: int, high: int) -> Parse:
    """Accept a whole number between two ends, inclusive; also as text."""

    @accepts(
        {
            "anyOf": [
                {"type": "integer", "minimum": low, "maximum": high},
                {"type": "string", "pattern": "^-?[0-9]{1,18}$"},
            ]
        },
        "integer",
    )
    def parse(value: object) -> int:
        number = None
        if isinstance(value, int) and not isinstance(value, bool):
            number = value
        elif isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
            number = int(value)
        if number is None:
            raise ValueError(f"'{value}' is not an integer.")
        if not low <= number <= high:
            raise ValueError(f"{number} is not in the range {low} to {high}.")
        return number

    return parse


@accepts({"enum": [4, 6, "4", "6"]}, "integer")
def ip_version(value: object) -> int:
    """Accept 4 and 6, also as text."""
    if str(value) not in ("4", "6") or isinstance(value, float):
        raise ValueError(f"'{value}' is not in [4, 6].")
    return int(str(value))


def optional(parse: Parse) -> Parse:
    """Accept null as well."""
    return Accepting(
        lambda value: None if value is None else parse(value),
        or_null(schema_of(parse) or {}),
        literal_of(parse),
    )


def choice(*accepted: str) -> Parse:
    """Accept one of some strings."""

    @accepts({"enum": list(accepted)})
    def parse(value: object) -> object:
        if value not in accepted:
            raise ValueError(f"'{value}' is not in {list(accepted)}.")
        return value

    return parse


@accepts(UUID)
def uuid_text(value: object) -> str:
    """Accept an object's id."""
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise ValueError(f"'{value}' is not a valid UUID.")
    return value


@accepts(or_null(list_of(UUID)))
def uuids(value: object) -> tuple[str, ...]:
    """Accept a list of ids; null is the empty one."""
    return tuple(uuid_text(entry) for entry in _entries([] if value is None else value))


@accepts(
    list_of(
        {"type": "string", "minLength": 1, "maxLength": TAG_LENGTH_MAX, "pattern": r"^[^,\u0000]+$"},
        most=TAGS_MAX,
    )
)
def tags(value: object) -> tuple[str, ...]:
    """Accept a list of tags; they are kept sorted, each once."""
    parse = text(TAG_LENGTH_MAX)
    found = sorted({str(parse(entry)) for entry in _entries(value)})
    if len(found) > TAGS_MAX:
        raise ValueError(f"more than {TAGS_MAX} tags.")
    for tag in found:
        if not tag or "," in tag:
            raise ValueError(f"'{tag}' is not a valid tag: it must not be empty nor contain a comma.")
    return tuple(found)


@accepts(list_of({"type": "string", "minLength": 1, "maxLength": ZONES_LENGTH_MAX}))
def zone_hints(value: object) -> tuple[str, ...]:
    """Accept names of availability zones, each once; as many as Neutron keeps."""
    parse = text(ZONES_LENGTH_MAX)
    found = tuple(str(parse(entry)) for entry in _entries(value))
    if len(set(found)) != len(found):
        raise ValueError(f"Duplicate items in the list: '{', '.join(found)}'")
    if len(json.dumps(found)) > ZONES_LENGTH_MAX:
        raise ValueError("Too many availability_zone_hints specified")
    return found


@accepts(IP)
def ip(value: object) -> bytes:
    """Accept an IP address."""
    if isinstance(value, str):
        try:
            return bytes(ip_from_text(value))
        except ValueError:
            pass
    raise ValueError(f"'{value}' is not a valid IP address.")


@accepts(CIDR)
def cidr(value: object) -> Cidr:
    """Accept a network address with its prefix length."""
    if isinstance(value, str) and "/" in value:
        try:
            return Cidr.from_text(value)
        except ValueError:
            pass
    raise ValueError(f"'{value}' is not a valid IP subnet.")


def prefixes(count_max: int) -> Accepting[tuple[Cidr, ...]]:
    """Accept a list of networks, each once."""

    @accepts(list_of(CIDR, most=count_max))
    def parse(value: object) -> tuple[Cidr, ...]:
        found = tuple(cidr(entry) for entry in _entries(value))
        if len(set(found)) != len(found):
            raise ValueError(f"Duplicate items in the list: '{', '.join(map(str, found[:32]))}'.")
        if len(found) > count_max:
            raise ValueError(f"more than {count_max} prefixes.")
        return found

    return parse


@accepts(list_of(object_of({"start": IP, "end": IP}, "start", "end"), most=POOLS_MAX))
def pools(value: object) -> tuple[tuple[bytes, bytes], ...]:
    """Accept allocation pools."""
    found = []
    for entry in _entries(value):
        members = _members(entry, "start", "end")
        found.append((ip(members["start"]), ip(members["end"])))
    if len(found) > POOLS_MAX:
        raise ValueError(f"more than {POOLS_MAX} allocation pools.")
    return tuple(found)


@accepts(or_null(list_of(IP, most=NAMESERVERS_MAX)))
def nameservers(value: object) -> tuple[str, ...]:
    """Accept addresses of name servers, in the order of preference."""
    found = tuple(ip_to_text(ip(entry)) for entry in _entries([] if value is None else value))
    if len(set(found)) != len(found):
        raise ValueError(f"Duplicate nameserver in {list(found)}.")
    if len(found) > NAMESERVERS_MAX:
        raise ValueError(f"The number of DNS nameservers exceeds the limit {NAMESERVERS_MAX}.")
    return found


@accepts(or_null(list_of(ROUTE, most=HOST_ROUTES_MAX)))
def host_routes(value: object) -> tuple[tuple[str, str], ...]:
    """Accept routes that DHCP hands out."""
    found = tuple((str(destination), ip_to_text(hop)) for destination, hop in routes(value))
    if len(found) > HOST_ROUTES_MAX:
        raise ValueError(f"The number of host routes exceeds the limit {HOST_ROUTES_MAX}.")
    return found


@accepts(or_null(list_of(ROUTE, most=ROUTES_MAX)))
def routes(value: object) -> tuple[tuple[Cidr, bytes], ...]:
    """Accept pairs of destination and next hop, both of one IP version, each once; null is the empty list."""
    found: list[tuple[Cidr, bytes]] = []
    for entry in _entries([] if value is None else value):
        members = _members(entry, "destination", "nexthop")
        destination = cidr(members["destination"])
        route = (destination, ip(members["nexthop"]))
        if len(destination.network) != len(route[1]):
            raise ValueError(f"'{destination}' and '{ip_to_text(route[1])}' are not of the same IP version.")
        if route in found:
            raise ValueError(f"Duplicate hostroute '{entry}'.")
        found.append(route)
        if len(found) > ROUTES_MAX:
            raise ValueError(f"more than {ROUTES_MAX} routes.")
    return tuple(found)


def _entries(value: object) -> Sequence[object]:
    if not isinstance(value, list):
        raise ValueError(f"'{value}' is not a list.")
    return value


def _members(value: object, *names: str) -> dict[str, object]:
    if not isinstance(value, dict) or set(value) != set(names):
        raise ValueError(f"Invalid data format: each entry must have {' and '.join(names)}, and nothing else.")
    return value
