"""Beats as datagrams: what ten thousand agents say several times a second costs no record of a stream.

    agent                                   controller
      <-- Welcome(beat_key), on the stream
      session, number, held, seal ------->  the session's seal, a greater number: the agent is alive
      <----------- session, number, seal    about one a second: so is the controller, and datagrams arrive

They go to the address and the port number of the stream. A seal is 16 bytes of keyed BLAKE2b (RFC 7693) under
the session's key, and each end has a seal of its own: nothing can be made up, or sent back to who said it.
Numbers only grow, so what is repeated counts for nothing (as in RFC 5880, 6.7.3). Nothing in them is secret.
"""

import hmac
import struct
from hashlib import blake2b

import msgspec

KEY_BYTES = 32
SEAL_BYTES = 16
HEAD = struct.Struct(">QQ")  # session, number
HELD_MAX = 16
DATAGRAM_MAX = HEAD.size + HELD_MAX + SEAL_BYTES
AGENT, CONTROLLER = b"alcor-agent", b"alcor-controller"


class BeatKey(msgspec.Struct, frozen=True, array_like=True):
    """What an agent seals a session's beats with. It is told on the stream, and as secret as that."""

    session: int
    key: bytes


def sealed(key: BeatKey, number: int, held: bytes = b"", *, by: bytes) -> bytes:
    """Make a datagram. `number`: from 1, of an answer the one answered. `held`: as in `Beat`."""
    said = HEAD.pack(key.session, number) + held
    return said + blake2b(said, digest_size=SEAL_BYTES, key=key.key, person=by).digest()


def is_sealed(datagram: bytes, key: bytes | bytearray, *, by: bytes) -> bool:
    """Was it sealed with this key, by that end?"""
    said, seal = datagram[:-SEAL_BYTES], datagram[-SEAL_BYTES:]
    return hmac.compare_digest(blake2b(said, digest_size=SEAL_BYTES, key=key, person=by).digest(), seal)
