"""A home that is restored: everything is made ready beside it, and takes its place at once.

Owns `<home>/restored.part` (being made) and `<home>/restored` (whole). To be renamed from the one to the other is what
makes a restore count: killed before, nothing has happened; killed behind it, the next start goes on from there.
"""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from atoll.federation.errors import Unavailable
from atoll.local.home import Home, write_atomically

# What a restore replaces. `nats` is the store, and what the hub has beside it is made again.
_REPLACED = ("pki", "nats-keys", "nats-accounts", "ports.json", "nats", "hub")


def is_empty(home: Home) -> bool:
    """Tell whether there is no hub's state in a home."""
    return not any((home.root / name).exists() for name in ("nats", "nats-keys", "pki"))


def begin(home: Home, files: Iterable[tuple[str, bytes]]) -> Path:
    """Make the folder where a restore is made ready, with the files of a home; the caller holds the home's lock.

    Raises:
        Unavailable: it cannot be written.
    """
    part = home.root / "restored.part"
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700)
        for name, content in files:
            path = part / name.removeprefix("home/")
            path.parent.mkdir(mode=0o700, exist_ok=True)
            write_atomically(path, content, mode=0o600, durable=True)
    except OSError as error:
        raise Unavailable(f"cannot write {part}: {error.strerror or error}") from error
    return part


def commit(home: Home) -> Path | None:
    """Let what was made ready count; give the folder where what it replaces was put, if there was anything."""
    (home.root / "restored.part").replace(home.root / "restored")
    return adopt(home)


def adopt(home: Home) -> Path | None:
    """Put what was restored in its place, if anything was; safe to be killed in, and to do again.

    The caller holds the home's lock, and nothing runs in the home.
    """
    source = home.root / "restored"
    if not source.is_dir():
        return None
    aside = home.root / f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    for name in _REPLACED:
        new, old = source / name, home.root / name
        is_stale = name == "hub" and old.exists()
        if (new.exists() or is_stale) and old.exists():
            aside.mkdir(mode=0o700, exist_ok=True)
            old.rename(aside / name)
        if new.exists():
            new.rename(old)
    shutil.rmtree(source)
    with suppress(OSError):
        home.state_file.unlink()
    return aside if aside.exists() else None
