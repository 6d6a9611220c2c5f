"""Tables as files: CSV, and Parquet where its library is installed. The only door to pyarrow."""

import csv
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from atoll.cli.output import hint
from atoll.federation.errors import InvalidInput

# Rows of one row group: some 10 MB in memory.
_ROWS_AT_ONCE = 50_000
# A spreadsheet takes a cell that begins so for a formula (OWASP, "CSV Injection"): names of users come from outside.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class Table:
    """Rows, and which columns of what type they have. A value that is missing is left empty."""

    columns: Mapping[str, type]
    rows: Iterator[Mapping[str, Any]]


def write_csv(table: Table, file: Path | None) -> None:
    """Write CSV (RFC 4180) with a header, to a file or to stdout.

    Raises:
        InvalidInput: the file cannot be written.
    """
    with _opened(file) as out:
        text = _Encoded(out)
        writer = csv.writer(text)
        writer.writerow(table.columns)
        count = 0
        for row in table.rows:
            writer.writerow([_cell(row.get(name)) for name in table.columns])
            count += 1
    _tell(file, count)


def write_parquet(table: Table, file: Path | None) -> None:
    """Write Parquet, to a file or to a pipe.

    Raises:
        InvalidInput: pyarrow is not installed, stdout is a terminal, or the file cannot be written.
    """
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        message = "Parquet needs pyarrow, which is not installed: pip install 'atoll[parquet]', or choose -o csv"
        raise InvalidInput(message) from error
    if file is None and sys.stdout.isatty():
        raise InvalidInput("Parquet is no text: name a file with --file, or pipe it somewhere")
    types = {str: arrow.string(), int: arrow.int64(), float: arrow.float64(), bool: arrow.bool_()}
    schema = arrow.schema([(name, types[kind]) for name, kind in table.columns.items()])
    count = 0
    with _opened(file) as out, parquet.ParquetWriter(out, schema) as writer:
        while rows := list(islice(table.rows, _ROWS_AT_ONCE)):
            columns = {name: [row.get(name) for row in rows] for name in table.columns}
            writer.write_table(arrow.table(columns, schema=schema))
            count += len(rows)
    _tell(file, count)


class _Encoded:
    """What csv writes to: text that goes out as UTF-8."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out

    def write(self, text: str) -> None:
        """Write a line."""
        self._out.write(text.encode())


@contextmanager
def _opened(file: Path | None) -> Iterator[IO[bytes]]:
    if file is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        with file.open("wb") as out:
            yield out
    except OSError as error:
        raise InvalidInput(f"cannot write {file}: {error.strerror}: choose another --file") from error


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value


def _tell(file: Path | None, count: int) -> None:
    if file is not None:
        hint(f"{count} row{'' if count == 1 else 's'} written to {file}")
