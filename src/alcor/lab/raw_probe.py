"""Packets of any IP protocol that ask for an answer, as bytes behind the IP header. Pure.

    source port | destination port | 8 bytes that SCTP and UDP-Lite need | mark | what it is | key

Protocols without ports carry them all the same: nobody looks at them there.
"""

import struct
from typing import NamedTuple

SOURCE_PORT = 40_000
_FORM = struct.Struct("!HH8x8sBI")
_MARK = b"alcor ip"
_QUESTION, _ANSWER = 1, 2


class RawProbe(NamedTuple):
    """A question or its answer. `key` tells questions apart."""

    source_port: int
    port: int
    is_answer: bool
    key: int

    def answer(self) -> "RawProbe":
        """Give the answer: it goes back between the same ports."""
        return RawProbe(self.port, self.source_port, True, self.key)

    def encode(self) -> bytes:
        """Give what follows the IP header."""
        kind = _ANSWER if self.is_answer else _QUESTION
        return _FORM.pack(self.source_port, self.port, _MARK, kind, self.key)


def decode(packet: bytes) -> RawProbe | None:
    """Read what follows an IP header; None when it is none of ours."""
    if len(packet) < _FORM.size:
        return None
    source_port, port, mark, kind, key = _FORM.unpack_from(packet)
    if mark != _MARK or kind not in (_QUESTION, _ANSWER):
        return None
    return RawProbe(source_port, port, kind == _ANSWER, key)
