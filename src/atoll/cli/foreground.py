"""Runs a stack in the foreground: tells its steps, then stays until Ctrl-C or SIGTERM."""

import asyncio

from atoll.cli.hub import export_line
from atoll.cli.logs import configure_logging
from atoll.cli.output import hint, tell_interrupted
from atoll.local.signals import run_until_signalled
from atoll.local.stack import Compose, Stack

_POLL_SECONDS = 0.1


def run(stack: Stack, compose: Compose) -> None:
    """Run until told to end.

    Raises:
        Conflict: the home or a port is in use.
        Unavailable: something did not start.
    """
    configure_logging("warning")
    run_until_signalled(_run(stack, compose), tell=tell_interrupted)
    hint("stopped")


async def _run(stack: Stack, compose: Compose) -> None:
    teller = asyncio.create_task(_tell(stack))
    try:
        await stack.run(compose)
    finally:
        teller.cancel()


async def _tell(stack: Stack) -> None:
    told = 0
    while stack.state.phase == "Starting":
        told = _tell_steps(stack, told)
        await asyncio.sleep(_POLL_SECONDS)
    _tell_steps(stack, told)
    if stack.state.phase == "Ready":
        hint(f"ready: the hub is at {stack.state.hub_url}; Ctrl-C stops it")
        if export := export_line(stack.home):
            hint(f"so that commands in other terminals find it: {export}")


def _tell_steps(stack: Stack, told: int) -> int:
    for step in stack.state.steps[told:]:
        hint(step)
    return len(stack.state.steps)
