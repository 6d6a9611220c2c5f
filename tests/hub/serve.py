"""A hub in a process of its own; ended by SIGTERM, and safe to kill.

`main(NATS_URL, FOLDER, PORT, MEMBER...)`: once the hub serves, FOLDER/url holds its address. MEMBER names a cluster in
memory that runs every job at once.
"""

import asyncio
import contextlib
import signal
from pathlib import Path

from atoll.federation.bus.connection import Bus
from atoll.hub.main import running
from hub.support import joined, settings


def main(url: str, folder: str, port: str, *members: str) -> None:
    """Serve until SIGTERM."""
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(serve(url, Path(folder), int(port), *members))


async def serve(url: str, folder: Path, port: int, *members: str) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    replicas = url.count(",") + 1  # several servers keep everything together
    async with contextlib.AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running(settings(url, folder, port=port, nats_replicas=replicas)))
        for member in members:
            bus = await Bus.connect(url, name=member)
            stack.push_async_callback(bus.close)
            await stack.enter_async_context(joined(bus, member))
        ready = folder / "url.part"
        ready.write_text(hub.url)
        ready.rename(folder / "url")
        await asyncio.wait(hub.tasks, return_when=asyncio.FIRST_COMPLETED)
