"""Waiting for an event, or for a time to pass."""

import asyncio
from contextlib import suppress

# Shorter, and a loop whose next time is now would not let others work.
_SHORTEST_SECONDS = 0.05


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Return when an event is set, or after `seconds`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(max(_SHORTEST_SECONDS, seconds)):
            await event.wait()
