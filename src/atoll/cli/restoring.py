"""What `restore` does: checks a backup, and makes a hub's state of it in a home or in a NATS."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import orjson

from atoll import __version__
from atoll.cli.checkup.contact import version_key
from atoll.cli.output import bytes_shown, hint, plural, say
from atoll.cli.progress import Advance, byte_bar
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.login import OPEN
from atoll.federation.bus.nats_keys import Keys
from atoll.federation.bus.snapshots import CHUNK_BYTES, StreamHead
from atoll.federation.bus.snapshots import restore as restore_stream
from atoll.federation.bus.subjects import STATE_STREAM
from atoll.federation.errors import Conflict, NotFound
from atoll.hub import backups
from atoll.hub.field.keys import FIELD, HUB, Signer
from atoll.local import nats, restored
from atoll.local.backup_file import Contents, parts, stream_of, verify
from atoll.local.home import Home, default_home
from atoll.local.ports import free_port
from atoll.local.stack import environment
from atoll.local.supervisor import ProcessSpec, Supervisor


@dataclass(frozen=True)
class IntoNats:
    """A NATS that is restored into, as a hub would be told of it."""

    url: str
    keys: Path | None = None
    ca: Path | None = None
    replicas: int = 1


@dataclass(frozen=True)
class Wanted:
    """A restore as a person asks for it."""

    home: str | None = None
    into: IntoNats | None = None
    force: bool = False
    dry_run: bool = False


def restore(path: Path, wanted: Wanted) -> None:
    """Check a backup and restore it.

    Raises:
        NotFound: no such file. InvalidInput: it is not whole. Conflict: there is a hub's state already, or a hub runs.
        Unavailable: NATS does not answer, or the home cannot be written.
    """
    if not path.is_file():
        raise NotFound(f"{path} is no file")
    contents = verify(path)
    _tell(path, contents)
    if wanted.dry_run:
        say(f"{path} is whole (dry run)")
        return
    with byte_bar("restore", contents.bytes) as advance:
        if wanted.into is not None:
            asyncio.run(_into_nats(path, wanted.into, force=wanted.force, advance=advance))
            say(f"{path} restored into {wanted.into.url}")
            hint("start the hubs now; agents and gateways come back by themselves")
            return
        home = Home.at(wanted.home) if wanted.home else Home(default_home())
        aside = _into_home(path, home, force=wanted.force, advance=advance)
    say(f"{path} restored into {home.root}")
    if aside is not None:
        hint(f"what was there before is in {aside}")
    if not contents.home:
        hint("the backup has no keys of NATS: they are made anew, and every member has to be enrolled again")
    hint(f"start it with: atoll up --hub-only --home {home.root}")


def _tell(path: Path, contents: Contents) -> None:
    head = contents.head
    hint(f"{path}: {bytes_shown(contents.bytes)}, of {head.created_at:%Y-%m-%d %H:%M:%S} UTC, atoll {head.atoll}")
    streams = ", ".join(f"{name} {count}" for name, count in contents.messages.items())
    hint(f"messages: {streams}; {plural(len(contents.home), 'file')} of a home")
    if version_key(head.atoll) > version_key(__version__):
        hint(f"it is of a newer atoll than this one ({__version__}): objects may have fields that this one drops")


def _into_home(path: Path, home: Home, *, force: bool, advance: Advance) -> Path | None:
    """Restore into a home; give where what was there has been put."""
    with home.locked():
        if not restored.is_empty(home) and not force:
            raise Conflict(f"{home.root} holds a hub already: choose another --home, or put that aside with --force")
        part = restored.begin(home, ((name, content) for name, content in _parts(path) if name.startswith("home/")))
        asyncio.run(_fill(path, part, advance))
        shutil.rmtree(part / "logs", ignore_errors=True)
        (part / "nats.conf").unlink(missing_ok=True)
        return restored.commit(home)


async def _fill(path: Path, part: Path, advance: Advance) -> None:
    """Run a NATS for as long as it takes to put the streams into its store."""
    binary = await asyncio.to_thread(nats.find_server)
    keys, store = Keys.ensure(part / "nats-keys"), part / "nats"
    store.mkdir()
    settings = nats.NatsSettings(free_port(), store, nats.Accounts(keys, part / "nats-accounts"))
    config = part / "nats.conf"
    nats.write_config(settings, config)
    (part / "logs").mkdir()
    supervisor = Supervisor(part / "logs", lambda: None)
    argv = (str(binary), "--config", str(config))
    try:
        await supervisor.start(
            ProcessSpec("nats", argv, environment(), is_ready=lambda: nats.is_serving(settings.port))
        )
        login = Signer.load(part / "nats-keys", None).login(HUB)
        bus = await Bus.connect(settings.url, name="atoll restore", login=login)
        try:
            await _put_back(path, bus, advance)
        finally:
            await bus.close()
    finally:
        await supervisor.stop()


async def _into_nats(path: Path, into: IntoNats, *, force: bool, advance: Advance) -> None:
    async with _buses(into) as (own, field):
        await backups.refuse_leader(own)
        if force:
            await backups.remove_all(own, field)
        else:
            await backups.refuse_present(own)
        await _put_back(path, own, advance)


@asynccontextmanager
async def _buses(into: IntoNats) -> AsyncIterator[tuple[Bus, Bus]]:
    """Connect as a hub does: to the account of hubs and to that of members."""
    signer = Signer.load(into.keys, into.ca) if into.keys is not None else None
    async with AsyncExitStack() as stack:
        buses = []
        for account in (HUB, FIELD):
            login = signer.login(account) if signer is not None else OPEN
            bus = await Bus.connect(into.url, name="atoll restore", login=login)
            bus.replicas = into.replicas
            stack.push_async_callback(bus.close)
            buses.append(bus)
        yield buses[0], buses[1]


async def _put_back(path: Path, bus: Bus, advance: Advance) -> None:
    """Restore every stream. The objects come last: without them a hub is empty, which is seen at once."""
    for is_last in (False, True):
        for stream, group in groupby(_parts(path), key=lambda part: stream_of(part[0])):
            if stream and (stream == STATE_STREAM) is is_last:
                contents = (content for _, content in group)
                head = orjson.loads(next(contents))
                await restore_stream(bus, StreamHead(head["config"], head["state"]), _told(contents, advance))
    await backups.settle(bus)


def _parts(path: Path) -> Iterator[tuple[str, bytes]]:
    with path.open("rb") as file:
        yield from parts(file)


async def _told(contents: Iterator[bytes], advance: Advance) -> AsyncIterator[bytes]:
    for content in contents:
        for start in range(0, len(content), CHUNK_BYTES):
            yield content[start : start + CHUNK_BYTES]
        advance(len(content))
