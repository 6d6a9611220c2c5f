"""The gateway's state folder: its lock, the outbox file and what to do with a damaged one, the last order.

Owns names and layout of the folder (`lock`, `outbox.db`, `outbox.mark`, `order.json`). It must not know what the order
means.
"""

import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from atoll.edge.gateway.database import OutboxDamaged, check_file
from atoll.edge.gateway.losses import Loss
from atoll.edge.gateway.mark import MarkFile
from atoll.edge.gateway.outbox import Outbox
from atoll.edge.gateway.salvage import rescue
from atoll.federation.bus.data_messages import GatewayOrder
from atoll.federation.durable import make_folder, sync_folder
from atoll.federation.errors import Conflict, Internal, InvalidInput

log = structlog.get_logger(__name__)

_DATABASE = "outbox.db"
# A whole outbox that has not taken the place of the damaged one yet.
_RESCUED = "outbox.rescued"
_SUFFIXES = ("", "-wal", "-shm")
# Losses that are named in one message; the ledgers of the datasets have all.
_TOLD_LOSSES = 20


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
            make_folder(path)
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
        """Open or make the outbox; a damaged one is set aside, and a new one of what is readable takes its place.

        Args:
            gateway: the name that envelopes carry.
            damage: what was found wrong while the outbox was in use; empty to look for damage here.
        """
        path = self.path / _DATABASE
        if path.with_name(_RESCUED).exists():
            _put_in_place(path)
        try:
            if damage:
                raise OutboxDamaged(damage)
            check_file(path)
            return OpenedOutbox(Outbox(path, gateway=gateway), "")
        except OutboxDamaged as found:
            loss = _replace(path, str(found), gateway=gateway)
            log.error("replaced a damaged outbox by what could be read of it", loss=loss)
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
        sync_folder(self.path)


def _replace(path: Path, damage: str, *, gateway: str) -> str:
    """Put what can be read of a damaged outbox in its place, keep the damaged one, and say what is lost."""
    new = path.with_name("outbox.new")
    for suffix in _SUFFIXES:  # of an earlier try that was cut off
        Path(f"{new}{suffix}").unlink(missing_ok=True)
    losses = rescue(path, MarkFile(path.with_name("outbox.mark")).read(), new, gateway=gateway)
    new.rename(path.with_name(_RESCUED))
    kept = _put_in_place(path)
    return f"{damage}; it is kept as {kept}. {_words(losses)}"


def _put_in_place(path: Path) -> str:
    """Move the damaged files aside and the rescued one to where they were; done again if it was cut off."""
    sync_folder(path.parent)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    for suffix in reversed(_SUFFIXES):
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{path}.damaged-{stamp}{suffix}")
    path.with_name(_RESCUED).rename(path)
    sync_folder(path.parent)
    return f"{path.name}.damaged-{stamp}"


def _words(losses: Sequence[Loss] | None) -> str:
    if losses is None:
        return "Not yet confirmed in it, so perhaps lost: an unknown number of readings"
    if not losses:
        return "All readings that were not yet confirmed could be read"
    told = "; ".join(str(loss) for loss in losses[:_TOLD_LOSSES])
    more = f"; and {len(losses) - _TOLD_LOSSES} more" if len(losses) > _TOLD_LOSSES else ""
    return f"Not yet confirmed in it, so perhaps lost: {told}{more}"
