"""How Atoll's processes end when they are told to: a signal becomes a cancellation or an exception that cleans up."""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def ending_signals() -> list[signal.Signals]:
    """Give the signals that end a command, without those that it was started to ignore (nohup)."""
    return [number for number in _ENDING if signal.getsignal(number) is not signal.SIG_IGN]


@contextmanager
def signals_raise(tell: Callable[[], None]) -> Iterator[None]:
    """While the context is open, a signal that ends us says so at once and is raised, so that every `finally` runs.

    SIGINT raises KeyboardInterrupt, the others SystemExit with the code that a shell gives them.
    """

    def handle(number: int, _frame: FrameType | None) -> None:
        tell()
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    before = {number: signal.signal(number, handle) for number in ending_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_until_signalled(main: Coroutine[None, None, None], *, tell: Callable[[], None] | None = None) -> None:
    """Run a coroutine until it returns or the process is told to end; errors other than that are raised.

    Args:
        main: what to run; it is cancelled by SIGTERM or SIGINT.
        tell: called at once when such a signal comes, before `main` has cleaned up.
    """
    asyncio.run(_cancel_on_signals(main, tell))


async def _cancel_on_signals(main: Coroutine[None, None, None], tell: Callable[[], None] | None) -> None:
    task = asyncio.ensure_future(main)
    loop = asyncio.get_running_loop()

    def end() -> None:
        if tell is not None:
            tell()
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    try:
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
