"""Files that grow: their committed length, and the running hash over it.

Owns the write behind the committed length and the look at a file when a sink begins. A write is not committed before
the ledger says so; what lies behind the committed length is written over, or cut when a sink begins.
"""

import hashlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from atoll.edge.sink.volume import write_at
from atoll.federation.durable import make_folder
from atoll.federation.errors import Internal

_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class GrowingFile:
    """One file: its committed part. `first_ns`: when its first reading arrived; None where nobody noted it."""

    path: str
    received: int = 0
    bytes: int = 0
    first_ns: int | None = None
    digest: Any = field(default_factory=hashlib.sha256)

    @property
    def sha256(self) -> str:
        """Hash of the committed part."""
        return str(self.digest.hexdigest())


def append(folder: Path, file: GrowingFile, data: bytes, *, received: int) -> GrowingFile:
    """Write behind the committed length and sync; give what the file is once this is committed.

    Raises:
        OSError: the volume took not all of it.
    """
    path = folder / file.path
    make_folder(path.parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        write_at(descriptor, data, file.bytes)
        os.ftruncate(descriptor, file.bytes + len(data))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    digest = file.digest.copy()
    digest.update(data)
    return replace(file, received=file.received + received, bytes=file.bytes + len(data), digest=digest)


def reopen(folder: Path, file: GrowingFile, sha256: str) -> GrowingFile:
    """Read the committed part of a file again and drop what lies behind it.

    Raises:
        Internal: it is not what the ledger says: it is left as it is.
    """
    path = folder / file.path
    digest, left = hashlib.sha256(), file.bytes
    try:
        with path.open("r+b") as opened:
            while left and (data := opened.read(min(left, _READ_BYTES))):
                digest.update(data)
                left -= len(data)
            if not left and digest.hexdigest() == sha256:
                opened.truncate(file.bytes)
    except FileNotFoundError as error:
        raise Internal(f"{path} is gone; its ledger says {file.bytes} bytes") from error
    if left or digest.hexdigest() != sha256:
        raise Internal(f"{path} is not what its ledger says: {file.bytes} bytes with SHA-256 {sha256}")
    return replace(file, digest=digest)
