"""Files that arrive in ranges are whole whatever order they come in, and whatever a crash left; rates are kept."""

import random
import zlib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.edge.mover.copying import Copy
from atoll.edge.mover.pace import Pace
from atoll.edge.mover.parts import RANGE_BYTES, Part
from atoll.edge.sink.volume import Volume
from atoll.federation.bus.data_messages import TransferOrder

DATA = random.Random(7).randbytes(2 * RANGE_BYTES + 12_345)


def put(part: Part, span: tuple[int, int], *, noted: bool = True) -> None:
    piece = DATA[span[0] : span[0] + span[1]]
    part.write(span[0], piece)
    if noted:
        part.note(*span, zlib.crc32(piece))


def test_ranges_in_any_order_make_the_file(tmp_path: Path) -> None:
    with Part(tmp_path / "part", len(DATA)) as part:
        for span in reversed(part.missing()):
            put(part, span)
        assert part.missing() == []
        part.finish(tmp_path / "deep" / "file")
    assert (tmp_path / "deep" / "file").read_bytes() == DATA
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["file"]


def test_an_empty_file_lacks_nothing(tmp_path: Path) -> None:
    with Part(tmp_path / "part", 0) as part:
        assert part.missing() == []


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_only_ranges_whose_bytes_are_there_count_after_a_crash(data: st.DataObject) -> None:
    """A power loss may take bytes that the note tells of, and tear the note's last line."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "part"
        with Part(path, len(DATA)) as part:
            spans = part.missing()
            for span in spans:
                put(part, span)
        lost = data.draw(st.sets(st.sampled_from(range(len(spans)))))
        with path.open("r+b") as file:
            for number in lost:
                file.seek(spans[number][0])
                file.write(bytes(100))
        note = path.with_name("part.ranges")
        torn = data.draw(st.integers(min_value=1, max_value=12))
        note.write_bytes(note.read_bytes()[:-torn])
        with Part(path, len(DATA)) as part:
            assert part.missing() == [span for number, span in enumerate(spans) if number in {*lost, len(spans) - 1}]


def test_a_note_that_holds_nonsense_costs_only_what_it_told_of(tmp_path: Path) -> None:
    with Part(tmp_path / "part", len(DATA)) as part:
        spans = part.missing()
        put(part, spans[0])
    with (tmp_path / "part.ranges").open("ab") as note:
        note.write(b"\xff\x00garbage\n1 2\n-5 10 3\n0 999999999999 1\n")
    with Part(tmp_path / "part", len(DATA)) as part:
        assert part.missing() == spans[1:]


def test_a_rate_is_kept_over_time_and_lets_little_through_at_once() -> None:
    now = 100.0
    pace = Pace(1_000_000, monotonic=lambda: now)
    sent = 0
    while now < 160.0:
        sent += 250_000
        now += pace.owed_seconds(250_000)
    assert 59_000_000 <= sent <= 61_000_000


def test_who_was_held_up_does_not_catch_up_at_full_speed() -> None:
    now = 0.0
    pace = Pace(1_000_000, monotonic=lambda: now)
    now = 3600.0
    assert pace.owed_seconds(1_000_000) >= 0.5


def test_no_rate_is_no_limit() -> None:
    pace = Pace(0, monotonic=lambda: 0.0)
    assert pace.owed_seconds(10**15) == 0.0


def test_a_copy_on_a_thin_link_asks_for_ever_less_but_always_for_something(tmp_path: Path) -> None:
    copy = Copy(Volume(tmp_path), TransferOrder(namespace="ns", transfer="t", dataset="d", version=1, source="far"))
    flights = [copy.chunks_under_way]
    for _ in range(5):
        copy.slow_down()
        flights.append(copy.chunks_under_way)
    assert flights == [32, 8, 2, 1, 1, 1]
