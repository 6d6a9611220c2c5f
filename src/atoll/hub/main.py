"""The hub's process: connects, builds, serves and leads until it is cancelled. Safe to kill at any moment."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from atoll.federation.bus.link import Refused
from atoll.federation.errors import InvalidInput, Unavailable
from atoll.hub.app import Clock, Hub, build, utc_now
from atoll.hub.field.wires import connected, own_bus
from atoll.hub.http.server import listen, serving, url_of
from atoll.hub.http.tls import Tls
from atoll.hub.lease_thread import lease_beside
from atoll.hub.settings import HubSettings
from atoll.kubeapi.http.local_only import LocalOnly

log = structlog.get_logger(__name__)

# An attempt ends by itself after ten seconds of no answer; this is for those that are refused at once.
_AGAIN_SECONDS = 1.0


@dataclass(frozen=True)
class Running:
    """A hub that serves: its parts, its URL, and the tasks of which each runs as long as the hub does."""

    hub: Hub
    url: str
    tasks: tuple["asyncio.Task[None]", ...]


@contextlib.asynccontextmanager
async def running(settings: HubSettings, *, clock: Clock = utc_now) -> AsyncIterator[Running]:
    """Run a hub during the context.

    Raises:
        Conflict: the port is in use.
        InvalidInput: a setting, a file that it names, the state folder or the address cannot be used.
        Unavailable: NATS does not answer within `settings.nats_wait_seconds`, or does not let us in.
    """
    settings.check()
    tls = Tls(settings.tls) if settings.tls is not None else None
    _make_folder(settings.state_dir)
    async with contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(listen(settings.host, settings.port))
        hub = await _built(settings, stack, clock=clock)
        stack.push_async_callback(hub.access.close)
        app = LocalOnly(hub.app, names=None if tls is not None else ()) if settings.no_auth else hub.app
        server = await stack.enter_async_context(serving(app, listener, tls=tls))
        stack.push_async_callback(hub.store.close)  # before the server ends: watches end with the store
        work = asyncio.create_task(hub.run(), name="hub")
        stack.push_async_callback(_end, work)
        url = url_of(listener, scheme="http" if tls is None else "https")
        log.info("the hub serves", url=url, authenticates=not settings.no_auth)
        yield Running(hub, url, (work, server))


async def _built(settings: HubSettings, stack: contextlib.AsyncExitStack, *, clock: Clock) -> Hub:
    """Build a hub on connections that end with the stack; again, while NATS has no leader yet for what a hub stores."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    to_nats = partial(own_bus, settings, name="hub lease")
    while True:
        async with contextlib.AsyncExitStack() as attempt:
            try:
                wires = await attempt.enter_async_context(connected(settings))
                lease = await attempt.enter_async_context(lease_beside(to_nats, seconds=settings.lease_seconds))
                hub = await build(settings, wires, lease, clock=clock)
            except Refused:
                raise
            except Unavailable as error:
                waited = loop.time() - began_at
                if waited >= settings.nats_wait_seconds:
                    raise Unavailable(
                        f"NATS at {settings.nats_url} is not there after {waited:.0f} s: {error}"
                    ) from error
                log.warning("waits for NATS", waited_seconds=round(waited), reason=str(error))
            else:
                stack.push_async_exit(attempt.pop_all())
                return hub
        await asyncio.sleep(_AGAIN_SECONDS)


async def run(settings: HubSettings) -> None:
    """Run a hub until cancelled; see `running` for what it raises."""
    async with running(settings) as hub:
        _collect_rarely()
        done, _ = await asyncio.wait(hub.tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


def _collect_rarely() -> None:
    """Keep the garbage collector from looking again and again at objects that stay.

    A full collection walks over all of them and stops everything meanwhile. What was loaded is left out of it for ever,
    and of what comes later more must gather first: a leader that began with 10,000 Jobs spent half its time on it.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"cannot use the state folder {folder}: {error.strerror}; choose another") from error
