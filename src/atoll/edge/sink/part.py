"""One file that is growing on the volume out of chunks, each checked as it comes. Blocks on the disk.

Beside it lies a mark of what of it is durable and proven, so that a sink that was killed goes on from there: the
content is hashed again, and counts only if it is what the mark says.
"""

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from atoll.edge.sink.volume import write_at
from atoll.federation.bus.chunks import Chunk
from atoll.federation.bus.file_messages import FileManifest
from atoll.federation.errors import Internal
from atoll.federation.resources.base import Model, NonNegative

_MODE = 0o644
MARK_SUFFIX = ".mark"
_READ_BYTES = 1 << 20
# What is brought again at most after a kill.
_MARK_BYTES = 64 * 1024 * 1024


class _Mark(Model):
    """So many chunks of an attempt are durable, with this hash over them; the newest of them lies at `sequence`."""

    attempt: NonNegative
    chunks: NonNegative
    step: NonNegative
    sha256: str
    sequence: NonNegative


class Part:
    """A file under way. `sequence` is how far its chunks were read; `attempt` the newest that was seen.

    It may begin before anybody knows what the file is: then it takes chunks in their order only, and nothing of it
    counts until `expect` was told. Its calls wait for each other, so a thread that was left behind does no harm.
    """

    def __init__(self, place: Path, descriptor: int) -> None:
        self._place, self._descriptor = place, descriptor
        self._lock = threading.Lock()
        self._manifest: FileManifest | None = None
        self._step = 0  # not known yet
        self._unmarked_bytes = 0
        self.sequence = 0
        self._begin(0)

    @classmethod
    def open(cls, place: Path) -> Self:
        """Open the part of a file, or begin it; its owner closes it."""
        part = cls(place, os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE))
        try:
            part._resume()
        except BaseException:
            part.close()
            raise
        return part

    def _begin(self, attempt: int) -> None:
        self.attempt, self._next, self._is_bad = attempt, 0, False
        self._proven_bytes = 0
        self._digest = hashlib.sha256()
        self._early: dict[int, bytes] = {}

    @property
    def is_open(self) -> bool:
        """Whether it can take chunks."""
        return self._descriptor >= 0

    @property
    def is_whole(self) -> bool:
        """Whether all chunks are there and are what they should be."""
        wanted = self._manifest
        is_complete = wanted is not None and self._next == self._count and not self._is_bad
        return is_complete and wanted is not None and self._digest.copy().hexdigest() == wanted.sha256

    @property
    def _count(self) -> int:
        size = 0 if self._manifest is None else self._manifest.size
        return -(-size // (self._step or 1))

    def expect(self, manifest: FileManifest) -> bool:
        """Say what the file is to be; give whether what was taken so far may be a part of that. If not, it is dropped.

        What was taken ahead and is not right proves nothing against the chunks: they are to be read again.
        """
        with self._lock:
            self._manifest = manifest
            step, begun = manifest.chunk_bytes or 1, self._next or self._is_bad
            fits = self._step == step and self._proven_bytes == min(self._next * step, manifest.size)
            self._step = step
            if begun and (self._is_bad or not fits):
                self._begin(0)
                self.sequence = 0
                return False
            return True

    def take(self, chunk: Chunk) -> None:
        """Write a chunk. One that is not what it should be makes its attempt worthless.

        Raises:
            OSError: the volume does not take it.
        """
        with self._lock:
            if chunk.attempt > self.attempt:
                self._begin(chunk.attempt)
            if chunk.attempt == self.attempt and chunk.index >= self._next and not self._is_bad:
                self._write(chunk)
            self.sequence = chunk.sequence
            if self._unmarked_bytes >= _MARK_BYTES and not (self._early or self._is_bad):
                self._mark()

    def _write(self, chunk: Chunk) -> None:
        if self._manifest is None and not chunk.index:
            self._step = len(chunk.content)
        if not self._fits(chunk):
            self._is_bad = True
            return
        write_at(self._descriptor, chunk.content, chunk.index * self._step)
        self._unmarked_bytes += len(chunk.content)
        self._early[chunk.index] = chunk.digest
        self._advance(chunk)

    def _fits(self, chunk: Chunk) -> bool:
        if self._manifest is None:
            is_next = chunk.index == self._next and self._proven_bytes == self._next * self._step
            return is_next and 0 < len(chunk.content) <= self._step
        left = self._manifest.size - chunk.index * self._step
        return chunk.index < self._count and len(chunk.content) == min(left, self._step)

    def _advance(self, chunk: Chunk) -> None:
        """Prove what is there without a gap. Chunks come in order but for what was sent a second time."""
        while self._next in self._early:
            if self._next == chunk.index:
                self._digest.update(chunk.content)
                self._proven_bytes += len(chunk.content)
            else:
                self._hash_through(self._next + 1)
            expected = self._early.pop(self._next)
            self._next += 1
            if self._digest.copy().digest() != expected:
                self._is_bad = True
                return

    def _hash_through(self, chunks: int) -> None:
        end = chunks * self._step if self._manifest is None else min(chunks * self._step, self._manifest.size)
        while self._proven_bytes < end:
            data = os.pread(self._descriptor, min(_READ_BYTES, end - self._proven_bytes), self._proven_bytes)
            if not data:
                return
            self._digest.update(data)
            self._proven_bytes += len(data)

    def finish(self, place: Path) -> None:
        """Make the whole file durable, with the time of change that it had, and put it in its place.

        Raises:
            OSError: the volume refuses.
        """
        with self._lock:
            assert self._manifest is not None, "a part is finished by who knows what it is"
            os.ftruncate(self._descriptor, self._manifest.size)
            _date(self._descriptor, self._manifest)
            os.fsync(self._descriptor)
            self._mark_place.unlink(missing_ok=True)
            self._place.rename(place)

    def close(self) -> None:
        """Leave it as it is; what it is given later it refuses."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
            if descriptor >= 0:
                os.close(descriptor)

    def discard(self) -> None:
        """Close it and give its room on the volume back."""
        self.close()
        for path in (self._mark_place, self._place):
            path.unlink(missing_ok=True)

    @property
    def _mark_place(self) -> Path:
        return mark_of(self._place)

    def _mark(self) -> None:
        os.fdatasync(self._descriptor)
        mark = _Mark(
            attempt=self.attempt,
            chunks=self._next,
            step=self._step,
            sha256=self._digest.copy().hexdigest(),
            sequence=self.sequence,
        )
        self._mark_place.write_text(mark.model_dump_json())
        self._unmarked_bytes = 0

    def _resume(self) -> None:
        """Go on from the mark if the content is what it says; else from the start."""
        with suppress(FileNotFoundError, ValidationError):
            mark = _Mark.model_validate_json(self._mark_place.read_bytes())
            self._begin(mark.attempt)
            self._step = mark.step
            self._hash_through(mark.chunks)
            if self._digest.copy().hexdigest() == mark.sha256:
                self._next, self.sequence = mark.chunks, mark.sequence
            else:
                self._begin(0)


def mark_of(place: Path) -> Path:
    """Give where the mark of a part lies."""
    return place.with_name(f"{place.name}{MARK_SUFFIX}")


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
