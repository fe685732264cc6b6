"""Small updates carry ids as 16 bytes instead of 36 letters; whoever reads takes both forms.

    text     ["update", number, [["network:0192f0c1-...", base, version, ["network", ...]]], ...]
    packed   ["packed", number, [[ext 2 (16 bytes),       base, version, ["network", ...]]], ...]

Any string that is the canonical text of a UUID may be packed, and so may a section's key; all others stay as
they are, so that both forms mean the same. In memory, in digests and for clients ids are text. Packing takes
Python some microseconds for each entry, which pays where one small change is told to thousands of hosts. All
else stays text, which the library reads and writes many times as fast. Agents of the release before read text
only: an agent says in its Hello what it reads.
"""

import re
from functools import lru_cache

import msgspec

from alcor.contracts.agent_channel import FromController, Update
from alcor.model import goal_state
from alcor.model.goal_state import SectionKey

KEYS_KEPT_MAX = 16_384  # a key is packed for each host that holds the section

# A message's tag is its first field, and an array of fewer than 16 fields has one byte before it.
TAG = "packed"
_HEAD = b"\xa6packed"
_ID_BYTES = 16
# Codes of msgpack's extension types: what comes before the id's text.
_PREFIXES = {
    1: "",
    2: goal_state.network_key(""),
    3: goal_state.router_key(""),
    4: goal_state.group_key(""),
    5: goal_state.addresses_key(""),
}
_CODES = {prefix: code for code, prefix in _PREFIXES.items()}
_is_id = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch


def pack(encoded: bytes) -> bytes:
    """Give an encoded value with its ids packed. O(entries), in Python."""
    return _encoder.encode(_packed(_untyped.decode(encoded)))


@lru_cache(KEYS_KEPT_MAX)
def pack_key(key: SectionKey) -> msgspec.Raw:
    """Give a section's key, packed if its id is a UUID."""
    kind, colon, id_ = key.partition(":")
    code = _CODES.get(kind + colon)
    return msgspec.Raw(_encoder.encode(_ext(code, id_) if code is not None and _is_id(id_) else key))


def read(frame: bytes) -> FromController:
    """Read what a controller says, in either form. Raises msgspec.DecodeError."""
    return _unpacked(frame) if _is_packed(frame) else _messages.decode(frame)


def read_update(frame: bytes) -> Update:
    """Read an update in either form. Raises msgspec.DecodeError, for other messages too."""
    return _unpacked(frame) if _is_packed(frame) else _updates.decode(frame)


def _is_packed(frame: bytes) -> bool:
    return frame[1 : 1 + len(_HEAD)] == _HEAD


def _unpacked(frame: bytes) -> Update:
    _, *fields = _unpacking.decode(frame)
    return msgspec.convert(["update", *fields], Update)


def _packed(value: object) -> object:
    match value:
        case list():
            return [_packed(each) for each in value]
        case str() if len(value) == 36 and _is_id(value):
            return _ext(_CODES[""], value)
        case _:
            return value


def _ext(code: int, id_: str) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(code, bytes.fromhex(id_.replace("-", "")))


def _text(code: int, data: memoryview) -> str:
    prefix = _PREFIXES.get(code)
    if prefix is None or len(data) != _ID_BYTES:
        raise msgspec.DecodeError(f"neither an id nor a section's key: type {code}, {len(data)} bytes")
    digits = data.hex()
    return f"{prefix}{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


_encoder = msgspec.msgpack.Encoder()
_untyped = msgspec.msgpack.Decoder()
_unpacking: msgspec.msgpack.Decoder[list[object]] = msgspec.msgpack.Decoder(list, ext_hook=_text)
_messages: msgspec.msgpack.Decoder[FromController] = msgspec.msgpack.Decoder(FromController)
_updates = msgspec.msgpack.Decoder(Update)
