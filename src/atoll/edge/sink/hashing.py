"""Hash files without holding one in memory, and without following a link out of the volume."""

import hashlib
import os
from pathlib import Path

_READ_BYTES = 1 << 20


def sha256_of(path: Path, *, limit: int | None = None, sync: bool = False) -> tuple[int, str]:
    """Give the number of bytes and their SHA-256.

    Args:
        path: a regular file.
        limit: read at most so many bytes; None reads all.
        sync: make the content durable too.
    """
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        while limit is None or size < limit:
            data = os.read(descriptor, _READ_BYTES if limit is None else min(_READ_BYTES, limit - size))
            if not data:
                break
            digest.update(data)
            size += len(data)
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return size, digest.hexdigest()
