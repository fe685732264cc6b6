"""Waiting for what another part does, and does not tell."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
WAIT_S = 20.0  # longer than anything takes on a busy machine: only what never happens costs so much


async def eventually(question: Callable[[], T | Awaitable[T | None] | None], timeout_s: float = WAIT_S) -> T:
    """Wait until the answer is truthy, and give it."""
    async with asyncio.timeout(timeout_s):
        while True:
            answer = question()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return answer
            await asyncio.sleep(0.002)
