"""A sealed segment that no sink wrote, as from another cluster: it is refused, and fills no memory."""

from pathlib import Path

import pytest
import zstandard

from atoll.edge.sink import parquet, segments
from atoll.edge.sink.form import Form
from atoll.edge.sink.readings import Readings
from atoll.edge.sink.segments import numbers_in
from atoll.federation.bus.envelope import Envelope, Reading
from atoll.federation.errors import Internal


def lines(folder: Path, content: bytes) -> Path:
    path = folder / "s.000001.jsonl.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(content))
    return path


def test_lines_that_unpack_to_more_than_a_sink_holds_are_not_counted_to_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lines(tmp_path, b'{"sequence":1,\n' * 1_000_000)
    assert path.stat().st_size < 20_000
    assert numbers_in(path).size == 1_000_000
    monkeypatch.setattr(segments, "_LONGEST_UNPACKED", 1 << 20)
    with pytest.raises(Internal, match="not compressed JSON lines that a sink wrote"):
        numbers_in(path)


def test_a_table_of_more_rows_than_a_sink_holds_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tuple(Reading(0, "t", b"{}") for _ in range(3))
    readings = Readings.of(Envelope("0" * 32, "lab", "ns", "s", "d", 1, 1, rows))
    path = tmp_path / "s.000001.parquet"
    path.write_bytes(parquet.write([parquet.build(readings, Form(format="parquet"), {})], {}))
    assert numbers_in(path).tolist() == [1, 2, 3]
    monkeypatch.setattr(parquet, "_MOST_ROWS", 2)
    with pytest.raises(Internal, match="has 3 readings, more than a sink holds at once"):
        numbers_in(path)


@pytest.mark.parametrize("number", [b"-1", b"18446744073709551616", b"1e3", b"", b"\xc2\xb2"])
def test_a_number_that_no_reading_has_is_refused(tmp_path: Path, number: bytes) -> None:
    with pytest.raises(Internal, match="not compressed JSON lines that a sink wrote"):
        numbers_in(lines(tmp_path, b'{"sequence":' + number + b',"x":1}\n'))
