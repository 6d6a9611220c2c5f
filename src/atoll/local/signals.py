"""How every long-lived process of Atoll ends: SIGTERM or SIGINT cancels its main task, which cleans up and returns."""

import asyncio
import signal
from collections.abc import Coroutine


def run_until_signalled(main: Coroutine[None, None, None]) -> None:
    """Run a coroutine until it returns or the process is told to end; errors other than that are raised."""
    asyncio.run(_cancel_on_signals(main))


async def _cancel_on_signals(main: Coroutine[None, None, None]) -> None:
    task = asyncio.ensure_future(main)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
