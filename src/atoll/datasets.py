"""Read a dataset from Python: its files and its readings, from a mounted folder or through the hub.

    from atoll.datasets import open_dataset

    data = open_dataset("/data")                        # in a job, or any folder with `.atoll/ledger.json`
    data = open_dataset("seismology/anmo.2026-11-22")   # through the hub of `atoll login`: copies it here
    for reading in data.readings():
        print(reading.sequence, reading.topic, reading.value)
    frame = pandas.concat(pandas.read_parquet(path) for path in data.paths("*.parquet"))

Owns reading by the layout that docs/datasets.md states. Changes nothing, and knows nothing of how files are written.
"""

import io
import json
import tempfile
from base64 import b64decode
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from atoll.federation.errors import InvalidInput, NotFound

_LEDGER, _INDEX = ".atoll/ledger.json", ".atoll/index.bin"
_FIELDS = ("sequence", "at_ns", "offset", "size", "file", "outbox")
_RECORD = np.dtype(list(zip(_FIELDS, ("<u8", "<i8", "<u8", "<u8", "<u4", "<u4"), strict=True)))
_NO_RECORDS = np.empty(0, _RECORD)
_RECORDS_AT_ONCE = 65_536
_NANOSECONDS = 1_000_000_000


class Reading(NamedTuple):
    """One reading. `value` is bytes of raw files; of JSON lines the payload; of Parquet the columns as a dict.

    `at_ns` is its own time, nanoseconds since 1970 UTC (of raw files: when it arrived).
    """

    at_ns: int
    sequence: int
    topic: str
    value: Any


class DatasetFiles:
    """One version of a dataset that is here. `ledger` is what `.atoll/ledger.json` says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger: dict[str, Any] = json.loads((folder / _LEDGER).read_bytes())
        self.name, self.version = str(self.ledger["dataset"]), int(self.ledger["version"])
        self.is_complete = bool(self.ledger["complete"])

    def paths(self, pattern: str = "*") -> list[Path]:
        """Give the files that are committed, by name; `pattern` as in `*.parquet`."""
        paths = (self.folder / file["path"] for file in self.ledger["files"])
        return sorted(path for path in paths if path.match(pattern))

    def readings(self) -> Iterator[Reading]:
        """Give every reading once, file by file; within a file in its order.

        Raises:
            InvalidInput: a Parquet or Zstd file needs a library that is not installed; the message names it.
        """
        sources = {source["file"]: source for source in self.ledger["ledger"]["sources"] if source["file"]}
        index = _Index(self.folder, self.ledger.get("index"))
        for file in self.ledger["files"]:
            path, size = file["path"], file["bytes"]
            if path.endswith(".parquet") and path not in sources:
                yield from _rows(self.folder / path)
            elif path.endswith((".jsonl.zst", ".jsonl")) and not sources.get(path, {}).get("isFile"):
                yield from _lines(self.folder / path, size)
            elif path in sources:
                yield from index.pieces(path, str(sources[path]["source"]))


class _Index:
    """Where each reading lies in files that have no rows of their own. It is looked through once, for runs of a file.

    What a sink wrote before there was an index has no readings here.
    """

    def __init__(self, folder: Path, stated: Mapping[str, Any] | None) -> None:
        self._folder, self._numbers = folder, {path: n for n, path in enumerate((stated or {}).get("files", ()))}
        self._count = int(stated["bytes"]) // _RECORD.itemsize if stated is not None else 0

    def pieces(self, path: str, topic: str) -> Iterator[Reading]:
        """Cut a file into its readings."""
        places = self._places.get(self._numbers.get(path, -1), ())
        with (self._folder / path).open("rb") as data:
            for start, end in places:
                for first in range(start, end, _RECORDS_AT_ONCE):
                    records = self._records[first : min(first + _RECORDS_AT_ONCE, end)]
                    for sequence, at_ns, offset, size, _, _ in records.tolist():
                        data.seek(offset)
                        yield Reading(at_ns, sequence, topic, data.read(size))

    @cached_property
    def _records(self) -> Any:
        return np.memmap(self._folder / _INDEX, _RECORD, "r", shape=(self._count,)) if self._count else _NO_RECORDS

    @cached_property
    def _places(self) -> dict[int, list[tuple[int, int]]]:
        """Give, per file, where its runs of records begin and end."""
        found: dict[int, list[tuple[int, int]]] = {}
        for first in range(0, self._count, _RECORDS_AT_ONCE):
            files = self._records["file"][first : first + _RECORDS_AT_ONCE]
            edges = [0, *(np.flatnonzero(np.diff(files)) + 1).tolist(), len(files)]
            for start, end in pairwise(edges):
                found.setdefault(int(files[start]), []).append((first + start, first + end))
        return found


def open_dataset(source: str | Path, *, version: int | None = None, folder: Path | None = None) -> DatasetFiles:
    """Open a version of a dataset.

    Args:
        source: a folder of a version or of a dataset, or `namespace/name` of one that the hub knows.
        version: which one; None means the newest.
        folder: where a copy from the hub goes; None makes a temporary one, which stays.

    Raises:
        NotFound: there is no such folder, dataset or version. InvalidInput: the source is neither folder nor name.
        Conflict, Unavailable: as `atoll dataset get`.
    """
    path = Path(source)
    if path.is_dir():
        return DatasetFiles(_version_folder(path, version))
    parts = str(source).split("/")
    if len(parts) != 2 or not all(parts):
        raise InvalidInput(f"{str(source)!r} is no folder here, and no dataset: write namespace/name")
    return DatasetFiles(_fetched(parts[0], parts[1], version, folder))


def _version_folder(path: Path, version: int | None) -> Path:
    if (path / _LEDGER).is_file():
        return path
    found = sorted(int(item.parent.parent.name[1:]) for item in path.glob(f"v[0-9]*/{_LEDGER}"))
    if not found or (version is not None and version not in found):
        wanted = f"version {version}" if version is not None else "version"
        raise NotFound(f"{path}: holds no {wanted} of a dataset: there is no {_LEDGER} below it")
    return path / f"v{version or found[-1]}"


def _fetched(namespace: str, name: str, version: int | None, folder: Path | None) -> Path:
    from atoll.cli import datasets
    from atoll.cli.choosing import HubChoice
    from atoll.cli.hub import connect

    target = folder or Path(tempfile.mkdtemp(prefix=f"{name}."))
    with connect(HubChoice()) as api:
        datasets.download(api, datasets.Wanted(namespace, name, version), target, needs_ledger=True)
    return target


def _lines(path: Path, size: int) -> Iterator[Reading]:
    for line in _texts(path, size):
        item = json.loads(line)
        value = b64decode(item["base64"]) if "base64" in item else item.get("payload", item.get("text"))
        yield Reading(_nanoseconds(item["at"]), item["sequence"], item["topic"], value)


def _texts(path: Path, size: int) -> Iterator[bytes]:
    """Give the lines of the committed part."""
    with path.open("rb") as file:
        if path.name.endswith(".zst"):
            try:
                import zstandard
            except ImportError as error:
                raise InvalidInput(f"{path.name} is compressed: pip install zstandard") from error
            yield from io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file))
            return
        while size > 0 and (line := file.readline()):
            size -= len(line)
            yield line


def _rows(path: Path) -> Iterator[Reading]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise InvalidInput(f"{path.name} is Parquet: pip install 'atoll[parquet]'") from error
    for batch in parquet.ParquetFile(path).iter_batches():
        times = batch.column("_time").cast("int64").to_pylist()
        for at_ns, row in zip(times, batch.drop_columns(["_time", "_received"]).to_pylist(), strict=True):
            yield Reading(
                at_ns, row.pop("_sequence"), row.pop("_topic"), {k: v for k, v in row.items() if v is not None}
            )


def _nanoseconds(text: str) -> int:
    seconds, _, rest = text.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{seconds}+00:00").timestamp()) * _NANOSECONDS + int(rest.ljust(9, "0"))
