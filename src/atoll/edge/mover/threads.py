"""Blocking work that must not be left behind. Owns nothing."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Run in a thread, and wait for its end also when cancelled.

    A thread cannot be stopped: whoever comes next would meet it at work in the same folder, or on a descriptor that
    is closed by then and stands for another file.
    """
    task = asyncio.create_task(asyncio.to_thread(work, *arguments, **options))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise
