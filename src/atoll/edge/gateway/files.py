"""The gateway's state folder: its lock, the outbox file and what to do with a damaged one, the last order.

Owns names and layout of the folder (`lock`, `outbox.db`, `order.json`). It must not know what the order means.
"""

import fcntl
import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from atoll.edge.gateway.outbox import Outbox, OutboxDamaged
from atoll.federation.bus.data_messages import GatewayOrder
from atoll.federation.errors import Conflict, Internal, InvalidInput

log = structlog.get_logger(__name__)

_DATABASE = "outbox.db"
# A check reads the whole file; a larger one would keep a small box from its instruments for minutes. There the CRC of
# each envelope is what finds damage, when it is forwarded.
_CHECKED_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True)
class OpenedOutbox:
    """An outbox, and what was lost if its predecessor was damaged (else empty)."""

    outbox: Outbox
    loss: str


class StateDir:
    """One gateway's folder, held under a lock until `close` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise InvalidInput(f"state folder {path} cannot be used: {error.strerror}; give another one") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise Conflict(
                f"another gateway runs on {path}: stop it, or give this one a state folder of its own"
            ) from error

    def close(self) -> None:
        """Let the next gateway have the folder."""
        os.close(self._lock)

    def open_outbox(self, gateway: str, *, damage: str = "") -> OpenedOutbox:
        """Open or make the outbox; a damaged one is set aside and a new one, with a new ident, takes its place.

        Args:
            gateway: the name that envelopes carry.
            damage: what was found wrong while the outbox was in use; empty to look for damage here.
        """
        path = self.path / _DATABASE
        try:
            if damage:
                raise OutboxDamaged(damage)
            if path.exists():
                _check(path)
            return OpenedOutbox(Outbox(path, gateway=gateway), "")
        except OutboxDamaged as found:
            loss = _set_aside(path, str(found))
            log.error("set a damaged outbox aside", loss=loss)
            return OpenedOutbox(Outbox(path, gateway=gateway), loss)

    def load_order(self) -> GatewayOrder | None:
        """Give the last order that was saved; None if there is none that can be read."""
        try:
            return GatewayOrder.decode((self.path / "order.json").read_bytes())
        except FileNotFoundError:
            return None
        except Internal as error:
            log.warning("ignored the saved order; the hub will send it again", problem=str(error))
            return None

    def save_order(self, order: GatewayOrder) -> None:
        """Keep an order, so that the gateway knows its Streams when it starts without the hub."""
        temporary = self.path / "order.json.new"
        with temporary.open("wb") as file:
            file.write(order.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path / "order.json")


def _check(path: Path) -> None:
    if path.stat().st_size > _CHECKED_BYTES:
        return
    try:
        with closing(sqlite3.connect(path)) as db:
            verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        raise OutboxDamaged(f"{path} is damaged: {error}") from error
    if verdict != "ok":
        raise OutboxDamaged(f"{path} is damaged: {verdict}")


def _set_aside(path: Path, damage: str) -> str:
    """Rename the database with its log and say what it held."""
    held = _what_it_held(path)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{path}.damaged-{stamp}{suffix}")
    return f"{damage}; it is kept as {path.name}.damaged-{stamp}. Not yet confirmed in it, so perhaps lost: {held}"


def _what_it_held(path: Path) -> str:
    try:
        with closing(sqlite3.connect(path)) as db:
            ident = db.execute("SELECT value FROM meta WHERE key = 'ident'").fetchone()[0]
            low, high, readings = db.execute("SELECT min(number), max(number), sum(readings) FROM envelopes").fetchone()
    except (sqlite3.DatabaseError, TypeError):
        return "an unknown number of readings"
    return f"{readings or 0} readings in envelopes {low} to {high} of outbox {ident}"
