"""Forgets the keys of requests whose time is over, a slice at a time, so that it is in nobody's way."""

import asyncio

from alcor.contracts.store import Store
from alcor.model import errors
from alcor.runtime.event_log import EventLog

SLICE = 1000  # keys in one statement
PAUSE_S = 0.05  # between slices: 20,000 keys a second, more than are ever made
ROUND_S = 60.0


async def sweep_for_ever(store: Store, log: EventLog) -> None:
    """Sweep every minute until cancelled. A store that is away is swept in the next round."""
    while True:
        try:
            forgotten = await sweep(store)
        except errors.Unavailable as error:
            log.debug("request_keys_not_swept", reason=error.message)
        else:
            if forgotten:
                log.debug("request_keys_forgotten", keys=forgotten)
        await asyncio.sleep(ROUND_S)


async def sweep(store: Store, *, slice_size: int = SLICE) -> int:
    """Forget all keys whose time is over; give how many. Raises Unavailable."""
    forgotten = 0
    while (count := await store.forget_done(limit=slice_size)) == slice_size:
        forgotten += count
        await asyncio.sleep(PAUSE_S)
    return forgotten + count
