"""The sink's door to pyarrow: readings become tables, tables Parquet files, and files numbers again.

    _time, _received  when the reading was taken and when it arrived, nanoseconds UTC
    _sequence, _topic its number and where it came from
    …                 a column for each field of the payload (columns.py)
    _rest             JSON of what fits no column; null if nothing is left
    _payload          the payload as it came, where it could not be read; else null

Owns the layout of tables. No type of pyarrow leaves it but as `Table`, to be handed back.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from atoll.edge.sink.columns import ColumnKind, Columns, given, learn
from atoll.edge.sink.form import Form
from atoll.edge.sink.readings import Readings
from atoll.federation.errors import Internal, InvalidInput
from atoll.federation.payloads import MalformedPayload, decoder

# Level 3 takes twice the time of 1, and instruments' JSON became no smaller by it.
_ZSTD_LEVEL = 1
# As DuckDB and pyarrow divide work: by row groups of some hundred thousand rows.
_ROW_GROUP = 122_880
# What a sink holds back at most (shelf.py) is far fewer rows. A file says how many it has before they are read: some
# bytes may stand for any number of them.
_MOST_ROWS = 1 << 27


class Table(NamedTuple):
    """Rows in memory; `kinds` of its columns."""

    rows: Any
    kinds: dict[str, ColumnKind]
    bytes: int


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InvalidInput(
            "format parquet: pyarrow is not installed where the sink runs: pip install 'atoll[parquet]'"
        ) from error
    return pyarrow


def build(readings: Readings, form: Form, known: dict[str, ColumnKind]) -> Table:
    """Make a table of readings; what is learned of columns is added to `known`.

    Raises:
        InvalidInput: pyarrow is not installed.
    """
    arrow = _arrow()
    objects, raw = _decoded(readings.payloads, form)
    columns = given(objects, form.columns) if form.columns else learn(objects, known)
    topics = list(map(readings.topics.__getitem__, readings.topic_of.tolist()))
    instant = arrow.timestamp("ns", tz="UTC")
    own_columns = {
        "_time": arrow.array(readings.at_ns).cast(instant),
        "_received": arrow.array(readings.received_ns).cast(instant),
        "_sequence": arrow.array(readings.numbers.astype(np.uint64)),
        "_topic": arrow.array(topics, arrow.string()),
    }
    values = {name: _array(arrow, columns, name) for name in columns.values}
    last = {
        "_rest": arrow.array([_text(left, form) for left in columns.rests], arrow.string()),
        "_payload": arrow.array(raw, arrow.binary()),
    }
    rows = arrow.RecordBatch.from_pydict({**own_columns, **values, **last})
    return Table(rows, columns.kinds, rows.nbytes)


def _decoded(payloads: Sequence[bytes], form: Form) -> tuple[list[Any], list[bytes | None]]:
    """Give the values of payloads, None where there is none, and then the payload itself."""
    if form.payload == "Raw":
        return [None] * len(payloads), list(payloads)
    decode, objects, raw = decoder(form.payload), list[Any](), list[bytes | None]()
    for payload in payloads:
        try:
            value = decode(payload)
            raw.append(None if value is not None else payload)
            objects.append(value)
        except MalformedPayload:
            objects.append(None)
            raw.append(payload)
    return objects, raw


def _text(left: Any, form: Form) -> str | None:
    if left is None:
        return None
    # CBOR has integers of any length, and numbers that are none: orjson refuses the first and drops the second.
    return orjson.dumps(left).decode() if form.payload == "JSON" else json.dumps(left)


def _array(arrow: Any, columns: Columns, name: str) -> Any:
    kinds = {
        "Boolean": arrow.bool_(),
        "Integer": arrow.int64(),
        "Number": arrow.float64(),
        "String": arrow.string(),
        "Numbers": arrow.list_(arrow.float64()),
    }
    return arrow.array(columns.values[name], kinds[columns.kinds[name]])


def write(tables: Sequence[Table], facts: dict[str, str]) -> memoryview:
    """Give the bytes of a Parquet file with the rows of all tables, ordered by time.

    Args:
        tables: a column has one kind in all of them.
        facts: stand in the file's metadata.
    """
    arrow = _arrow()
    table = arrow.concat_tables([arrow.Table.from_batches([table.rows]) for table in tables], promote_options="default")
    last = ["_rest", "_payload"]
    table = table.select([name for name in table.column_names if name not in last] + last)
    times = table["_time"].to_numpy()
    if np.any(times[1:] < times[:-1]):
        table = table.sort_by([("_time", "ascending"), ("_sequence", "ascending")])
    out = arrow.BufferOutputStream()
    texts = [name for name in table.column_names if arrow.types.is_string(table.schema.field(name).type)]
    arrow.parquet.write_table(
        table.replace_schema_metadata(facts),
        out,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        row_group_size=_ROW_GROUP,
        use_dictionary=[name for name in texts if name != "_rest"],
    )
    return memoryview(out.getvalue())


def numbers_in(path: Path) -> npt.NDArray[Any]:
    """Give the numbers of the readings in a file.

    Raises:
        Internal: it is no such file. InvalidInput: pyarrow is not installed.
    """
    arrow = _arrow()
    try:
        with arrow.parquet.ParquetFile(path) as file:
            if file.metadata.num_rows > _MOST_ROWS:
                raise Internal(f"{path.name}: has {file.metadata.num_rows} readings, more than a sink holds at once")
            column = file.read(columns=["_sequence"])["_sequence"]
    except (arrow.ArrowException, KeyError, ValueError) as error:  # names that are no UTF-8 are a ValueError
        raise Internal(f"{path.name}: not a Parquet file that a sink wrote") from error
    return np.asarray(column.to_numpy(), np.uint64)
