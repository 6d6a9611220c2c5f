"""How fast the sink's own work is: envelopes of the log become committed files, by format, beside the plain write.

    python benchmarks/ingest/sink.py [--readings 400000] [--topics 20] [--repeat 3] [--folder FOLDER] [-o json]

Measures CPU seconds of this process (user and system, all threads), from the bytes of an envelope to the ledger. What
NATS and the network cost is not in it. "write + fsync" writes the same payload bytes in the same batches; "pyarrow" is
its own writer on columns that are there already. The run fails unless the files verify.
"""

import argparse
import contextlib
import gc
import json
import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pyarrow
import pyarrow.parquet

from atoll.edge.sink.arrival import Arrival
from atoll.edge.sink.contiguity import Progress
from atoll.edge.sink.form import SEALED_BYTES, Form
from atoll.edge.sink.shelf import Shelf
from atoll.edge.sink.verify import verify
from atoll.edge.sink.volume import Volume
from atoll.federation.bus.envelope import MAX_READINGS, Envelope, Reading, decode, encode

_SIZE = 200
# What is in a batch of the log when the sink is busy: a pull's worth of envelopes.
_ENVELOPES_AT_ONCE = 128
_START_NS = 1_795_348_800_000_000_000
_OUTBOX = "ab" * 16
_SEALED = {"roll_bytes": SEALED_BYTES, "roll_seconds": 3600.0}
_FORMS = {
    "raw": Form(),
    "jsonl": Form("jsonl"),
    "jsonl.zst": Form("jsonl", is_compressed=True, **_SEALED),  # type: ignore[arg-type]
    "parquet": Form("parquet", payload="JSON", **_SEALED),  # type: ignore[arg-type]
}


def payload(random: Random, number: int) -> bytes:
    """Give a reading of 200 bytes as instruments send them: six fields and a list."""
    fields = {
        "celsius": random.random() * 40,
        "humidity": random.randrange(100),
        "pascal": random.random() * 1000 + 100_000,
        "station": f"roof-{random.randrange(9)}",
        "count": number,
        "samples": [random.randrange(4096) for _ in range(4)],
    }
    text = orjson.dumps(fields)
    return text[:-1] + b',"note":"' + b"x" * (_SIZE - len(text) - 10) + b'"}'


def envelopes(count: int, topics: int) -> list[bytes]:
    """Give readings of some topics in turn, packed as a gateway does."""
    random, packed = Random(1), []
    for number, first in enumerate(range(1, count + 1, MAX_READINGS), 1):
        readings = tuple(
            Reading(_START_NS + n * 20_000, f"lab/station{n % topics}/readings", payload(random, n))
            for n in range(first, min(first + MAX_READINGS, count + 1))
        )
        packed.append(encode(Envelope(_OUTBOX, "lab", "ns", "s", "run", number, first, readings)))
    return packed


def cpu_seconds() -> float:
    """CPU time of this process, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def timed(work: Callable[[Path], Any], folder: Path, repeat: int) -> tuple[float, Path]:
    """Give the least CPU seconds of some work over several runs, each in a folder of its own, and the last folder."""
    found = []
    for number in range(repeat):
        here = folder / str(number)
        here.mkdir(parents=True)
        before = cpu_seconds()
        work(here)
        found.append(cpu_seconds() - before)
    return min(found), here


def take_in(root: Path, form: Form, packed: Sequence[bytes]) -> None:
    """Do what a sink does with the batches of a log, up to the end of the run."""
    shelf, progress = Shelf(Volume(root)), Progress("lab", "s")
    for start in range(0, len(packed), _ENVELOPES_AT_ONCE):
        batch = [decode(data) for data in packed[start : start + _ENVELOPES_AT_ONCE]]
        for envelope in batch:
            progress = progress.after(envelope)
        shelf.append([Arrival(envelope, form) for envelope in batch], progress.at(start, "log"))
    shelf.roll("lab", "s", at_once=True)


def plain_write(packed: Sequence[bytes]) -> Callable[[Path], None]:
    """Write the same payloads in the same batches to one file, with an fsync each."""
    joined = []
    for start in range(0, len(packed), _ENVELOPES_AT_ONCE):
        readings = [r for data in packed[start : start + _ENVELOPES_AT_ONCE] for r in decode(data).readings]
        joined.append(b"".join(reading.payload for reading in readings))

    def write(root: Path) -> None:
        with (root / "plain").open("wb", buffering=0) as file:
            for data in joined:
                file.write(data)
                os.fsync(file.fileno())

    return write


def own_writer(packed: Sequence[bytes]) -> Callable[[Path], None]:
    """Let pyarrow write ready columns of the same readings."""
    rows = [orjson.loads(reading.payload) for data in packed for reading in decode(data).readings]
    table = pyarrow.Table.from_pylist(rows)
    return lambda root: pyarrow.parquet.write_table(table, root / "own", compression="zstd", compression_level=1)


def measure(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Run all formats and what stands beside them."""
    count = options.readings
    packed = envelopes(count, options.topics)
    works: dict[str, Callable[[Path], None]] = {
        "write + fsync": plain_write(packed),
        "pyarrow, ready columns": own_writer(packed),
    }
    works |= {name: lambda root, form=form: take_in(root, form, packed) for name, form in _FORMS.items()}  # type: ignore[misc]
    rows: list[dict[str, Any]] = []
    for name, work in works.items():
        seconds, here = timed(work, folder / name, options.repeat)
        rows.append({"what": name, "us_per_reading": seconds / count * 1e6, "readings_per_second": count / seconds})
        if name in _FORMS:
            report = verify(here, "run", 1)
            assert (report.problems, report.readings) == ((), count), report
            rows[-1]["bytes"] = report.bytes
    return [row | {"of_plain_write": rows[0]["us_per_reading"] / row["us_per_reading"]} for row in rows]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=400_000)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each; the best counts")
    parser.add_argument("--topics", type=int, default=20, help="raw and jsonl have a file for each")
    parser.add_argument("--folder", type=Path, default=None, help="where to write; a temporary one if unset")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    gc.set_threshold(200_000)  # as the sink's process does
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(dir=options.folder))
        stack.callback(shutil.rmtree, folder)
        rows = measure(options, folder)
    if options.output == "json":
        print(json.dumps(rows, indent=2))
        return
    print(f"{'what':24} {'µs CPU/reading':>15} {'readings/s/core':>16} {'of plain write':>15} {'bytes':>12}")
    for row in rows:
        print(
            f"{row['what']:24} {row['us_per_reading']:15.2f} {row['readings_per_second']:16,.0f} "
            f"{row['of_plain_write']:15.2f} {row.get('bytes', 0):12,}"
        )


if __name__ == "__main__":
    main()
