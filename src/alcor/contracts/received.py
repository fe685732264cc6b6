"""What comes over a channel: the first frame in time, and frames that mean something."""

import asyncio
from typing import TypeVar

import msgspec

from alcor.contracts.agent_channel import Channel
from alcor.model import errors

FIRST_TIMEOUT_S = 10.0  # a peer that connects and says nothing

T = TypeVar("T")


async def first(channel: Channel) -> bytes:
    """Wait for a peer's Hello. Raises Invalid when nothing comes."""
    try:
        async with asyncio.timeout(FIRST_TIMEOUT_S):
            frame = await channel.receive()
    except TimeoutError:
        raise errors.Invalid("no Hello came in time") from None
    if frame is None:
        raise errors.Invalid("the stream ended before Hello")
    return frame


def message(decoder: msgspec.msgpack.Decoder[T], frame: bytes) -> T:
    """Read a frame. Raises Invalid for what is no message."""
    try:
        return decoder.decode(frame)
    except msgspec.DecodeError as error:
        raise errors.Invalid(f"a message could not be read: {error}") from error
