"""Frames that wait on a channel: all that arrived are read, none after the end, and never more than fit."""

import asyncio

import pytest

from alcor.contracts.frame_buffer import FrameBuffer


async def test_what_arrived_before_the_end_is_read_and_then_nothing() -> None:
    buffer = FrameBuffer(8)
    assert buffer.put(b"1")
    assert buffer.put(b"2")
    assert buffer.end("enough")
    assert not buffer.put(b"3")
    assert [await buffer.get() for _ in range(4)] == [b"1", b"2", None, None]


async def test_the_first_reason_stays() -> None:
    buffer = FrameBuffer(8)
    assert buffer.end("first")
    assert not buffer.end("second")
    assert buffer.end_reason == "first"


async def test_no_more_are_kept_than_there_is_room_for() -> None:
    buffer = FrameBuffer(2)
    assert [buffer.put(bytes([number])) for number in range(3)] == [True, True, False]
    assert await buffer.get() == b"\0"
    assert buffer.put(b"there is room again")


async def test_a_reader_that_waits_is_woken_by_a_frame_and_by_the_end() -> None:
    buffer = FrameBuffer(8)
    for act, wanted in ((lambda: buffer.put(b"x"), b"x"), (lambda: buffer.end("over"), None)):
        reading = asyncio.create_task(buffer.get())
        await asyncio.sleep(0)
        assert not reading.done()
        act()
        assert await reading == wanted


async def test_who_gave_up_waiting_loses_no_frame_to_the_next_reader() -> None:
    buffer = FrameBuffer(8)
    for late in (False, True):
        reading = asyncio.create_task(buffer.get())
        await asyncio.sleep(0)
        if late:  # cancelled when it is woken already
            buffer.put(b"x")
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()
        if not late:
            buffer.put(b"x")
        assert await buffer.get() == b"x"


async def test_one_reads_at_a_time() -> None:
    buffer = FrameBuffer(8)
    reading = asyncio.create_task(buffer.get())
    await asyncio.sleep(0)
    with pytest.raises(AssertionError, match="one reads at a time"):
        await buffer.get()
    buffer.put(b"x")
    assert await reading == b"x"
