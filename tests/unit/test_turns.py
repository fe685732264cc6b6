"""Turns at a record: one after the other, but nobody waits for long."""

import asyncio

from alcor.management_plane.turns import Turns


async def test_requests_for_the_same_key_go_one_after_the_other_in_order() -> None:
    turns, order, inside = Turns(), list[int](), 0

    async def request(number: int) -> None:
        nonlocal inside
        async with turns.of(["pool", "other"]):
            inside += 1
            assert inside == 1
            await asyncio.sleep(0)
            order.append(number)
            inside -= 1

    await asyncio.gather(*(request(number) for number in range(8)))
    assert order == list(range(8))


async def test_requests_for_other_keys_or_none_do_not_wait() -> None:
    turns = Turns(patience_s=60.0)
    async with asyncio.timeout(30), turns.of(["a"]), turns.of(["b"]), turns.of([]):
        pass


async def test_whose_turn_does_not_come_goes_ahead_and_a_failure_ends_a_turn() -> None:
    turns = Turns(patience_s=0.01)
    async with turns.of(["a"]), turns.of(["a"]):
        pass  # both at once
    patient = Turns(patience_s=60.0)
    try:
        async with patient.of(["a"]):
            raise RuntimeError
    except RuntimeError:
        pass
    async with asyncio.timeout(30), patient.of(["a"]):
        pass
