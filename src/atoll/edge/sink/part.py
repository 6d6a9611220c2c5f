"""One file that is growing on the volume out of chunks, each checked as it comes. Blocks on the disk.

Beside it lies a mark of what of it is durable and proven, so that a sink that was killed goes on from there: the
content is hashed again, and counts only if it is what the mark says.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from atoll.edge.sink.volume import write_at
from atoll.federation.bus.chunks import Chunk
from atoll.federation.bus.file_messages import FileManifest
from atoll.federation.errors import Internal
from atoll.federation.resources.base import Model, NonNegative

_MODE = 0o644
_READ_BYTES = 1 << 20
# What is brought again at most after a kill.
_MARK_BYTES = 64 * 1024 * 1024


class _Mark(Model):
    """So many chunks of an attempt are durable, with this hash over them; the newest of them lies at `sequence`."""

    attempt: NonNegative
    chunks: NonNegative
    sha256: str
    sequence: NonNegative


class Part:
    """A file under way. `sequence` is how far its chunks were read; `attempt` the newest that was seen."""

    def __init__(self, place: Path, manifest: FileManifest, descriptor: int) -> None:
        self._place, self._manifest, self._descriptor = place, manifest, descriptor
        self._step = manifest.chunk_bytes or 1
        self._count = -(-manifest.size // self._step)
        self._unmarked_bytes = 0
        self.sequence = 0
        self._begin(0)

    @classmethod
    @contextmanager
    def opened(cls, place: Path, manifest: FileManifest) -> Iterator[Self]:
        """Open the part of a file, or begin it."""
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
        try:
            part = cls(place, manifest, descriptor)
            part._resume()
            yield part
        finally:
            os.close(descriptor)

    def _begin(self, attempt: int) -> None:
        self.attempt, self._next, self._is_bad = attempt, 0, False
        self._digest = hashlib.sha256()
        self._early: dict[int, bytes] = {}

    @property
    def is_whole(self) -> bool:
        """Whether all chunks are there and are what they should be."""
        return self._next == self._count and not self._is_bad

    def take(self, chunk: Chunk) -> None:
        """Write a chunk. One that is not what it should be makes its attempt worthless.

        Raises:
            OSError: the volume does not take it.
        """
        if chunk.attempt > self.attempt:
            self._begin(chunk.attempt)
        if chunk.attempt == self.attempt and chunk.index >= self._next and not self._is_bad:
            self._write(chunk)
        self.sequence = chunk.sequence
        if self._unmarked_bytes >= _MARK_BYTES and not self._early:
            self._mark()

    def _write(self, chunk: Chunk) -> None:
        if not self._fits(chunk):
            self._is_bad = True
            return
        write_at(self._descriptor, chunk.content, chunk.index * self._step)
        self._unmarked_bytes += len(chunk.content)
        self._early[chunk.index] = chunk.digest
        self._advance(chunk)

    def _fits(self, chunk: Chunk) -> bool:
        left = self._manifest.size - chunk.index * self._step
        return chunk.index < self._count and len(chunk.content) == min(left, self._step)

    def _advance(self, chunk: Chunk) -> None:
        """Prove what is there without a gap. Chunks come in order but for what was sent a second time."""
        while self._next in self._early:
            if self._next == chunk.index:
                self._digest.update(chunk.content)
            else:
                self._hash_through(self._next + 1)
            expected = self._early.pop(self._next)
            self._next += 1
            is_last = self._next == self._count
            found = self._digest.copy().digest()
            if found != expected or (is_last and found.hex() != self._manifest.sha256):
                self._is_bad = True
                return

    def _hash_through(self, chunks: int) -> None:
        at, end = self._next * self._step, min(chunks * self._step, self._manifest.size)
        while at < end and (data := os.pread(self._descriptor, min(_READ_BYTES, end - at), at)):
            self._digest.update(data)
            at += len(data)

    def finish(self) -> None:
        """Make the whole file durable, with the time of change that it had."""
        os.ftruncate(self._descriptor, self._manifest.size)
        _date(self._descriptor, self._manifest)
        os.fsync(self._descriptor)
        self._mark_place.unlink(missing_ok=True)

    @property
    def _mark_place(self) -> Path:
        return self._place.with_name(f"{self._place.name}.mark")

    def _mark(self) -> None:
        os.fdatasync(self._descriptor)
        mark = _Mark(
            attempt=self.attempt, chunks=self._next, sha256=self._digest.copy().hexdigest(), sequence=self.sequence
        )
        self._mark_place.write_text(mark.model_dump_json())
        self._unmarked_bytes = 0

    def _resume(self) -> None:
        """Go on from the mark if the content is what it says; else from the start."""
        with suppress(FileNotFoundError, ValidationError):
            mark = _Mark.model_validate_json(self._mark_place.read_bytes())
            self._begin(mark.attempt)
            self._hash_through(mark.chunks)
            if mark.chunks <= self._count and self._digest.copy().hexdigest() == mark.sha256:
                self._next, self.sequence = mark.chunks, mark.sequence
            else:
                self._begin(0)


def write_whole(place: Path, manifest: FileManifest, content: bytes) -> None:
    """Write a small file at once, durably.

    Raises:
        Internal: the content is not what the manifest says. OSError: the volume does not take it.
    """
    if hashlib.sha256(content).hexdigest() != manifest.sha256:
        raise Internal(f"{manifest.path}: its content is not what its manifest says")
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
    try:
        write_at(descriptor, content, 0)
        _date(descriptor, manifest)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _date(descriptor: int, manifest: FileManifest) -> None:
    at = manifest.modified_at.timestamp()
    os.utime(descriptor, (at, at))
