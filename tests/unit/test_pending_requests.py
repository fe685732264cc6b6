"""What becomes of a request: it is answered, refused, given up, or its connection ends."""

import asyncio

import pytest

from alcor.runtime.pending_requests import PendingRequests

pytestmark = pytest.mark.virtual_time


async def _ask(requests: PendingRequests[str], number: int, *, within_s: float = 60.0) -> str:
    with requests.expect(number) as answer:
        async with asyncio.timeout(within_s):
            return await answer


async def test_each_answer_goes_to_who_asked_in_whatever_order_they_come() -> None:
    requests = PendingRequests[str]()
    first, second = (asyncio.create_task(_ask(requests, number)) for number in (1, 2))
    await asyncio.sleep(0)
    requests.answer(2, "two")
    requests.answer(1, "one")
    assert [await first, await second] == ["one", "two"]
    assert not len(requests)


async def test_a_refusal_is_raised_where_the_answer_is_waited_for() -> None:
    requests = PendingRequests[str]()
    asked = asyncio.create_task(_ask(requests, 1))
    await asyncio.sleep(0)
    requests.refuse(1, LookupError("no such port"))
    with pytest.raises(LookupError, match="no such port"):
        await asked


async def test_of_several_answers_to_a_request_the_first_counts() -> None:
    requests = PendingRequests[str]()
    asked = asyncio.create_task(_ask(requests, 1))
    await asyncio.sleep(0)
    requests.answer(1, "one")
    requests.answer(1, "another")
    requests.refuse(1, LookupError())
    requests.end(ConnectionError)
    assert await asked == "one"


async def test_an_answer_may_come_before_it_is_waited_for() -> None:
    requests = PendingRequests[str]()
    with requests.expect(1) as answer:
        requests.answer(1, "one")
        assert await answer == "one"
        assert not answer.cancelled()


async def test_an_answer_that_comes_late_is_dropped() -> None:
    requests = PendingRequests[str]()
    with pytest.raises(TimeoutError):
        await _ask(requests, 1, within_s=5.0)
    requests.answer(1, "one")
    requests.refuse(1, LookupError())
    assert not len(requests)


async def test_an_answer_that_comes_in_the_turn_in_which_its_waiter_gives_up_is_dropped() -> None:
    requests = PendingRequests[str]()
    asked = asyncio.create_task(_ask(requests, 1))
    await asyncio.sleep(0)
    asked.cancel()
    requests.answer(1, "one")
    with pytest.raises(asyncio.CancelledError):
        await asked


async def test_who_gives_up_can_tell_the_other_end() -> None:
    requests = PendingRequests[str]()
    given_up = list[bool]()

    async def ask(number: int) -> str:
        with requests.expect(number) as answer:
            try:
                return await answer
            finally:
                given_up.append(answer.cancelled())

    cancelled, ended = (asyncio.create_task(ask(number)) for number in (1, 2))
    await asyncio.sleep(0)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    requests.end(ConnectionError)
    await asyncio.wait([ended])
    assert given_up == [True, False]


async def test_the_end_of_the_connection_is_told_each_who_waits_and_others_may_ask_over_the_next() -> None:
    requests = PendingRequests[str]()
    asked = [asyncio.create_task(_ask(requests, number)) for number in (1, 2)]
    await asyncio.sleep(0)
    requests.end(lambda: ConnectionError("closed"))
    one, other = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(one, ConnectionError)
    assert isinstance(other, ConnectionError)
    assert one is not other
    again = asyncio.create_task(_ask(requests, 3))
    await asyncio.sleep(0)
    requests.answer(3, "three")
    assert await again == "three"
