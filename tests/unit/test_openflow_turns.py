"""What waits for the switch is done in order, and is told when it never will be."""

import asyncio

import pytest

from alcor.data_plane.ovs.turns import WAITING_MAX, Turns
from alcor.model.errors import Broken, LimitReached, Unavailable


async def test_work_is_done_one_at_a_time_in_order() -> None:
    turns = Turns()
    worker = asyncio.create_task(turns.run())
    log: list[str] = []

    async def work(name: str) -> str:
        log.append(f"{name} starts")
        await asyncio.sleep(0)
        log.append(f"{name} ends")
        return name

    assert await asyncio.gather(*(turns.take(lambda name=name: work(name)) for name in "ab")) == ["a", "b"]
    assert log == ["a starts", "a ends", "b starts", "b ends"]
    worker.cancel()


async def test_an_error_goes_to_whoever_waits_and_the_next_is_done() -> None:
    turns = Turns()
    worker = asyncio.create_task(turns.run())

    async def fail() -> None:
        raise Broken("no")

    async def succeed() -> int:
        return 1

    with pytest.raises(Broken):
        await turns.take(fail)
    assert await turns.take(succeed) == 1
    worker.cancel()


async def test_whoever_waits_at_the_end_is_told() -> None:
    turns = Turns()
    worker = asyncio.create_task(turns.run())
    waiting = [asyncio.create_task(turns.take(asyncio.Event().wait)) for _ in range(2)]
    for _ in range(3):
        await asyncio.sleep(0)
    worker.cancel()
    for one in waiting:
        with pytest.raises(Unavailable):
            await one
    with pytest.raises(Unavailable):
        await turns.take(asyncio.Event().wait)


async def test_the_queue_is_bounded() -> None:
    turns = Turns()
    waiting = [asyncio.create_task(turns.take(asyncio.Event().wait)) for _ in range(WAITING_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(LimitReached):
        await turns.take(asyncio.Event().wait)
    for one in waiting:
        one.cancel()
