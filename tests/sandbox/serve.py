"""A sandbox in a process of its own: `python serve.py SETTINGS_FILE`, ended by SIGTERM."""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from atoll.sandbox.main import run
from atoll.sandbox.settings import SandboxSettings


async def main() -> None:
    settings = SandboxSettings.from_json(Path(sys.argv[1]).read_bytes())
    task = asyncio.create_task(run(settings))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    asyncio.run(main())
