"""What `dataset head` does: the first readings of a version, read through the hub no further than is needed."""

import io
import json
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import zstandard

from atoll.cli.api import Api
from atoll.cli.datasets import Wanted, manifest_of
from atoll.cli.output import hint, say
from atoll.federation.errors import InvalidInput, NotFound

# What of a raw file is shown: it has no lines of its own.
_RAW_BYTES = 1024
_NO_TEXT = "is not text: `atoll dataset get` copies it"


def print_head(api: Api, wanted: Wanted, count: int) -> None:
    """Print the first readings of the first file.

    Raises:
        NotFound: the version has no file. InvalidInput: the file is not text, or pyarrow is not installed.
    """
    manifest = manifest_of(api, wanted)
    if not manifest.files:
        raise NotFound(f"version {manifest.version} of dataset {wanted.name} has no file yet")
    path = manifest.files[0].path
    chunks = api.chunks(f"{wanted.path}/files/{quote(path)}", {**wanted.query, "version": str(manifest.version)})
    for line in _lines(path, chunks, count):
        say(line)
    hint(f"{path}, version {manifest.version}")


def _lines(path: str, chunks: Iterable[bytes], count: int) -> Iterable[str]:
    if path.endswith(".parquet"):
        return _rows(chunks, count)
    stream: Any = io.BufferedReader(_Chunks(chunks))
    if path.endswith(".zst"):
        stream = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(stream))
    if path.endswith((".jsonl", ".jsonl.zst")):
        return (line.decode().rstrip("\n") for line in islice(stream, count))
    text = str(stream.read(_RAW_BYTES), errors="replace")
    if "\ufffd" in text[:-1] or "\0" in text:
        raise InvalidInput(f"{path} {_NO_TEXT}")
    return text.splitlines()[:count]


def _rows(chunks: Iterable[bytes], count: int) -> Iterator[str]:
    """Read rows of Parquet, whose beginning cannot be read without its end."""
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise InvalidInput("the dataset is Parquet: pip install 'atoll[parquet]'") from error
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "head.parquet"
        with place.open("wb") as file:
            file.writelines(chunks)
        for batch in parquet.ParquetFile(place).iter_batches(batch_size=count):
            columns = [name for name in batch.schema.names if name not in ("_time", "_received")]
            times = batch.column("_time").cast("int64").to_pylist() if "_time" in batch.schema.names else []
            for number, row in enumerate(batch.select(columns).to_pylist()):
                shown = {"_time": times[number]} if times else {}
                yield json.dumps(shown | {k: v for k, v in row.items() if v is not None}, default=str)
            return


class _Chunks(io.RawIOBase):
    """An answer that comes in chunks, as a file to read from."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks, self._rest = iter(chunks), memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size
