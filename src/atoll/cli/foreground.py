"""Runs a stack in the foreground: tells its steps, then stays until Ctrl-C or SIGTERM."""

import asyncio

from atoll.cli.joining import introduce
from atoll.cli.logs import configure_logging
from atoll.cli.output import hint, tell_interrupted
from atoll.local.signals import run_until_signalled
from atoll.local.stack import Compose, Stack

_POLL_SECONDS = 0.1


def run(stack: Stack, compose: Compose, *, with_context: bool) -> None:
    """Run until told to end; `with_context` puts the hub's context into the user's kubeconfig once it is ready.

    Raises:
        Conflict: the home or a port is in use.
        Unavailable: something did not start.
    """
    configure_logging("warning")
    run_until_signalled(_run(stack, compose, with_context=with_context), tell=tell_interrupted)
    hint("stopped")


async def _run(stack: Stack, compose: Compose, *, with_context: bool) -> None:
    teller = asyncio.create_task(_tell(stack, with_context=with_context))
    try:
        await stack.run(compose)
    finally:
        teller.cancel()


async def _tell(stack: Stack, *, with_context: bool) -> None:
    told = 0
    while stack.state.phase == "Starting":
        told = _tell_steps(stack, told)
        await asyncio.sleep(_POLL_SECONDS)
    _tell_steps(stack, told)
    if stack.state.phase == "Ready":
        hint(f"ready: the hub is at {stack.state.hub_url}; Ctrl-C stops it")
        await asyncio.to_thread(introduce, stack.home, with_context=with_context)


def _tell_steps(stack: Stack, told: int) -> int:
    for step in stack.state.steps[told:]:
        hint(step)
    return len(stack.state.steps)
