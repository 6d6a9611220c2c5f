"""A backup on disk: a tar of parts with a SHA-256 for each, in the form that `sha256sum -c` reads (docs/adr/0040).

Owns the names in it, what makes it whole, and which files of a home belong to it. A part is in memory at a time, never
the file. It must not know what is in a stream.
"""

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Protocol, Self, cast

import orjson

from atoll import __version__
from atoll.federation.errors import Conflict, InvalidInput
from atoll.local.home import Home

FORMAT, VERSION = "atoll-backup", 1
HEAD, END, SUMS = "atoll-backup.json", "end.json", "SHA256SUMS"
# Of a home belongs to its hub what cannot be made again: keys, certificates, and where members dial.
_HOME_FOLDERS, _HOME_FILES = ("pki", "nats-keys", "nats-accounts"), ("ports.json",)
_HOME_NAME = re.compile(r"^home/((pki|nats-keys|nats-accounts)/[A-Za-z0-9][A-Za-z0-9._-]*|ports\.json)$")
_STREAM_NAME = re.compile(r"^streams/([A-Z0-9_-]+)/(stream\.json|\d{6,})$")
# Parts are of some 4 MiB; what claims to be larger is no backup, and is not read into memory.
_LARGEST_PART_BYTES = 64 * 1024 * 1024
_PRIVATE = 0o600


@dataclass(frozen=True)
class Head:
    """What a backup says of itself."""

    atoll: str
    created_at: datetime
    server: str

    def wire(self) -> bytes:
        """Give the file's first part."""
        about = "Holds keys and credentials: whoever reads it can be anybody in this federation."
        found = {"format": FORMAT, "version": VERSION, "atoll": self.atoll, "createdAt": self.created_at.isoformat()}
        return orjson.dumps({**found, "server": self.server, "about": about}, option=orjson.OPT_INDENT_2)

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read the first part.

        Raises:
            InvalidInput: it is none, or one of a newer form.
        """
        try:
            found: dict[str, Any] = orjson.loads(content)
            version = int(found["version"])
            if found["format"] != FORMAT:
                raise KeyError("format")
            if version > VERSION:
                newer = f"it has form {version}, and atoll {__version__} reads up to {VERSION}"
                raise InvalidInput(f"{newer}: use the atoll that made it ({found.get('atoll')}) or a newer one")
            return cls(str(found["atoll"]), datetime.fromisoformat(found["createdAt"]), str(found["server"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"its {HEAD} is none of a backup") from error


@dataclass(frozen=True)
class Contents:
    """What a whole backup holds: messages of each stream, files of the home, and its size."""

    head: Head
    messages: dict[str, int]
    home: tuple[str, ...]
    bytes: int


class Writer:
    """Writes a backup beside its place, readable by its owner alone, and puts it there when it is whole."""

    def __init__(self, path: Path, *, replace: bool) -> None:
        """Begin.

        Raises:
            Conflict: the file is there, and must not be replaced.
        """
        if path.exists() and not replace:
            raise Conflict(f"{path} is there already: choose another name, or replace it with --force")
        self._path, self._part = path, path.with_name(f".{path.name}.{os.getpid()}")
        self._part.unlink(missing_ok=True)
        self._file: IO[bytes] = os.fdopen(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "wb")
        self._tar = tarfile.open(fileobj=self._file, mode="w|", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - see finish
        self._sums: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        with suppress(OSError):  # of a disk that is full was told already
            self._tar.close()
        with suppress(OSError):
            self._file.close()
        self._part.unlink(missing_ok=True)

    def add(self, name: str, content: bytes) -> None:
        """Write one part."""
        self._sums.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
        self._append(name, content)

    def finish(self) -> int:
        """Write the checksums, make all of it durable and visible; give its size."""
        self._append(SUMS, "".join(self._sums).encode())
        self._tar.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        size = self._file.tell()
        self._part.replace(self._path)
        return size

    def _append(self, name: str, content: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(content), _PRIVATE
        self._tar.addfile(info, io.BytesIO(content))


class Source(Protocol):
    """What is read once, from its begin to its end."""

    def read(self, size: int, /) -> bytes:
        """Give so many bytes, less at the end only."""


def parts(source: Source) -> Iterator[tuple[str, bytes]]:
    """Give the parts of a tar as it is read, each with its name.

    Raises:
        InvalidInput: it is damaged, ends early, or holds what no backup does.
    """
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", source), mode="r|") as tar:
            for info in tar:
                if not info.isreg() or info.size > _LARGEST_PART_BYTES:
                    raise InvalidInput(f"it holds {info.name!r}, which no backup does")
                file = tar.extractfile(info)
                content = file.read() if file is not None else b""
                if len(content) != info.size:
                    raise InvalidInput(f"it ends in the middle of {info.name}")
                yield info.name, content
    except (tarfile.TarError, EOFError, OverflowError, ValueError) as error:
        raise InvalidInput(f"it is no tar, or a damaged one ({error})") from error


def verify(path: Path) -> Contents:
    """Read all of a backup, and check every part against its checksum.

    Raises:
        InvalidInput: it is no backup, or not whole; the message says what is wrong.
    """
    try:
        return _verified(path)
    except InvalidInput as error:
        raise InvalidInput(f"{path} cannot be restored: {error}") from error


def _verified(path: Path) -> Contents:
    found: dict[str, str] = {}
    begin, told, end = b"", b"", b""
    with path.open("rb") as file:
        for name, content in parts(file):
            if not found and name != HEAD:
                raise InvalidInput(f"it does not begin with {HEAD}")
            if name in found or told:
                raise InvalidInput(f"{name} comes twice, or behind the checksums")
            if name == SUMS:
                told = content
                continue
            _check_name(name)
            found[name] = hashlib.sha256(content).hexdigest()
            begin, end = (content if name == HEAD else begin), (content if name == END else end)
    head = Head.read(begin)
    if not told or not end:
        raise InvalidInput("it is not whole: its end is missing")
    _check_sums(found, _sums(told))
    home = tuple(name for name in found if name.startswith("home/"))
    messages = {str(name): int(count) for name, count in orjson.loads(end)["messages"].items()}
    return Contents(head, messages, home, path.stat().st_size)


def _check_sums(found: Mapping[str, str], told: Mapping[str, str]) -> None:
    wrong = sorted(name for name in {*found, *told} if found.get(name) != told.get(name))
    if wrong:
        raise InvalidInput(f"{wrong[0]} is not what was written there: the checksums differ")


def _sums(content: bytes) -> dict[str, str]:
    lines = (line.split("  ", 1) for line in content.decode(errors="replace").splitlines())
    return {name: digest for digest, name in (line for line in lines if len(line) == 2)}


def _check_name(name: str) -> None:
    if name not in (HEAD, "hub.json", END) and not _HOME_NAME.match(name) and not _STREAM_NAME.match(name):
        raise InvalidInput(f"it holds {name!r}, which no backup does")


def stream_of(name: str) -> str:
    """Name the stream that a part is of; empty if it is of none."""
    found = _STREAM_NAME.match(name)
    return found[1] if found else ""


def home_files(home: Home) -> Iterator[tuple[str, bytes]]:
    """Give the files of a home that belong to a backup, by the names that they have there."""
    folders = (home.root / folder for folder in _HOME_FOLDERS)
    files = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir()) if path.is_file()]
    for path in (*files, *(home.root / name for name in _HOME_FILES)):
        name = f"home/{path.relative_to(home.root)}"
        if path.exists() and _HOME_NAME.match(name):
            yield name, path.read_bytes()
