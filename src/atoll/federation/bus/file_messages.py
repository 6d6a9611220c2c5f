"""What is said of files on their way: a file's manifest, what a gateway still needs of its chunks. No I/O.

A manifest is the payload of a reading: its JSON in one line, and after it the content of a file that is small enough to
travel in it. A larger file's content lies in chunks; the manifest follows when the last of them is stored.
"""

from datetime import datetime
from typing import Annotated, NamedTuple

from pydantic import Field

from atoll.federation.bus.messages import Message, Positive
from atoll.federation.errors import Internal
from atoll.federation.resources.base import NonNegative

# A file of this size and less needs no chunks of its own: eight of the largest still share an envelope. Higher, and the
# outbox becomes a second copy of what lies on the disk already.
INLINE_BYTES = 64 * 1024

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
UploadName = Annotated[str, Field(pattern=r"^[0-9a-f]{1,32}-[0-9]{1,18}$")]


class FileManifest(Message):
    """One file as it was when it was read. `path` is safe to make (file_names); `original` what it was called if not.

    `number` is the file's in its gateway's catalogue. Without `upload` the content follows the manifest.
    """

    number: NonNegative
    path: str
    size: NonNegative
    sha256: Sha256
    modified_at: datetime
    upload: UploadName | None = None
    chunk_bytes: Positive | None = None
    original: str | None = None

    def pack(self, content: bytes = b"") -> bytes:
        """Give the payload of the reading that stands for the file."""
        return self.encode() + b"\n" + content


class PackedFile(NamedTuple):
    """A manifest with the content that came with it."""

    manifest: FileManifest
    content: bytes


def unpack(payload: bytes) -> PackedFile:
    """Read the payload of a reading that stands for a file.

    Raises:
        Internal: it is none, or does not fit itself.
    """
    head, _, content = payload.partition(b"\n")
    manifest = FileManifest.decode(head)
    is_whole = len(content) == manifest.size if manifest.upload is None else manifest.chunk_bytes is not None
    if not is_whole:
        raise Internal(f"malformed FileManifest: {manifest.path!r} has neither its content nor chunks")
    return PackedFile(manifest, content)


class FilesReport(Message):
    """observed (of a gateway): files. Which uploads it still needs; those numbered below `following` it does not.

    `catalogue` names the numbering. Of another catalogue's uploads this says nothing.
    """

    catalogue: str
    following: NonNegative
    kept: tuple[int, ...] = ()
    at: datetime


class WantedUpload(Message):
    """A sink lacks chunks of this upload, or one of them is not what it was: all of them are to be sent once more."""

    stream: str
    upload: UploadName
    attempt: NonNegative
