"""Read a dataset from Python: its files and its readings, from a mounted folder or through the hub.

    from atoll.datasets import open_dataset

    data = open_dataset("/data")                        # in a job, or any folder with `.atoll/ledger.json`
    data = open_dataset("seismology/anmo.2026-11-22")   # through the hub of `atoll login`: copies it here
    for reading in data.readings():
        print(reading.sequence, reading.topic, reading.value)
    frame = pandas.read_parquet([str(path) for path in data.paths("*.parquet")])

Owns reading by the layout that docs/datasets.md states. Changes nothing, and knows nothing of how files are written.
"""

import io
import json
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from struct import iter_unpack
from typing import Any, NamedTuple

from atoll.federation.errors import InvalidInput, NotFound

_LEDGER, _INDEX, _RECORD_BYTES = ".atoll/ledger.json", ".atoll/index.bin", 40
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
        for file in self.ledger["files"]:
            path, size = file["path"], file["bytes"]
            if path.endswith(".parquet") and path not in sources:
                yield from _rows(self.folder / path)
            elif path.endswith((".jsonl.zst", ".jsonl")) and not sources.get(path, {}).get("isFile"):
                yield from _lines(self.folder / path, size)
            elif path in sources:
                yield from self._pieces(path, str(sources[path]["source"]))

    def _pieces(self, path: str, topic: str) -> Iterator[Reading]:
        """Cut a file into its readings by the index. What a sink wrote before there was one is left out."""
        names = (self.ledger.get("index") or {}).get("files", [])
        if path not in names:
            return
        number, left = names.index(path), self.ledger["index"]["bytes"] // _RECORD_BYTES
        with (self.folder / _INDEX).open("rb") as index, (self.folder / path).open("rb") as data:
            while left:
                count = min(left, _RECORDS_AT_ONCE)
                left -= count
                for sequence, at_ns, offset, size, file, _ in _records(index.read(count * _RECORD_BYTES)):
                    if file == number:
                        data.seek(offset)
                        yield Reading(at_ns, sequence, topic, data.read(size))


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


def _records(data: bytes) -> Iterator[tuple[int, int, int, int, int, int]]:
    return iter_unpack("<QqQQII", data)


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
