"""Payloads become columns, and what fits none stays beside them: nothing of a reading is lost on the way to Parquet."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.edge.sink import parquet
from atoll.edge.sink.columns import learn
from atoll.edge.sink.form import Form
from atoll.edge.sink.readings import Readings
from atoll.edge.sink.segments import HeldTable
from atoll.federation.bus.envelope import Envelope, Reading
from atoll.federation.resources.stream_layout import Column

arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pq = pytest.importorskip("pyarrow.parquet")
JSON = Form("parquet", payload="JSON")


def numbered(readings: list[Reading], first: int = 1) -> Readings:
    return Readings.of(Envelope("0" * 32, "lab", "ns", "s", "run", 1, first, readings))


def rows(payloads: list[bytes], form: Form = JSON, times: list[int] | None = None) -> list[dict[str, Any]]:
    """Take payloads through a segment and read its files back."""
    own = times or [None] * len(payloads)
    readings = [Reading(n * 1000, "t", payload, at) for n, (payload, at) in enumerate(zip(payloads, own, strict=True))]
    held = HeldTable(form, {}, {})
    held.add(numbered(readings))
    return [row for sealed in held.seal() for row in pq.read_table(arrow.BufferReader(sealed.data)).to_pylist()]


def table(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def test_each_field_is_a_column_and_inner_ones_have_dots() -> None:
    [row] = rows([table(a=1, b=1.5, c="x", d=True, e={"f": 2}, g=[1, 2.5])])
    assert {name: row[name] for name in ("a", "b", "c", "d", "e.f", "g")} == {
        "a": 1, "b": 1.5, "c": "x", "d": True, "e.f": 2, "g": [1.0, 2.5],
    }  # fmt: skip
    assert (row["_sequence"], row["_topic"], row["_rest"], row["_payload"]) == (1, "t", None, None)


def test_a_value_of_another_type_is_kept_beside() -> None:
    found = rows([table(a=1), table(a=2), table(a="broken"), table(a=2**70, b=1)])
    assert [row["a"] for row in found] == [1, 2, None, None]
    assert json.loads(found[2]["_rest"]) == {"a": "broken"}
    assert json.loads(found[3]["_rest"])["a"] == pytest.approx(2**70)


def test_what_cannot_be_read_is_kept_as_it_came() -> None:
    found = rows([table(a=1), b"{half", b"\xff\x00", b"null"])
    assert [row["_payload"] for row in found] == [None, b"{half", b"\xff\x00", b"null"]


def test_a_single_value_is_a_column_and_a_list_of_anything_stays_beside() -> None:
    found = rows([b"23.5", b'[{"a":1},"x"]'])
    assert found[0]["value"] == 23.5
    assert json.loads(found[1]["_rest"]) == {"value": [{"a": 1}, "x"]}


def test_names_that_a_table_has_itself_and_names_that_differ_in_case_stay_beside() -> None:
    [row] = rows([b'{"_time":1,"Temp":2,"temp":3}'])
    assert json.loads(row["_rest"]) == {"_time": 1, "temp": 3}
    assert row["Temp"] == 2


def test_a_column_that_must_change_begins_another_file() -> None:
    """What was learned as whole numbers is exact: it is not made floating behind the reader's back."""
    known: dict[str, Any] = {}
    held = HeldTable(JSON, {}, known)
    for first, value in ((1, 1), (8193, 0.5), (16385, 2)):
        held.add(numbered([Reading(n, "t", table(a=value)) for n in range(8192)], first))
    kinds = [pq.read_schema(arrow.BufferReader(sealed.data)).field("a").type for sealed in held.seal()]
    assert kinds == [arrow.int64(), arrow.float64()]
    assert [(sealed.readings, sealed.first, sealed.last) for sealed in held.seal()] == [
        (8192, 1, 8192),
        (16384, 8193, 24576),
    ]


def test_a_new_field_is_null_in_the_rows_before_it() -> None:
    known: dict[str, Any] = {}
    held = HeldTable(JSON, {}, known)
    held.add(numbered([Reading(n, "t", table(a=n)) for n in range(8192)]))
    held.add(numbered([Reading(9999, "t", table(a=1, b="new"))], 8193))
    [sealed] = held.seal()
    assert pq.read_table(arrow.BufferReader(sealed.data))["b"].null_count == 8192


def test_given_columns_take_their_fields_and_the_rest_is_beside() -> None:
    form = Form(
        "parquet",
        payload="JSON",
        columns=(
            Column(name="grams", field="scale.value", type="Number"),
            Column(name="ok", type="Boolean"),
        ),
    )
    found = rows([table(scale={"value": 2}, ok=True, more=1), table(scale={"value": "?"}, ok=1)], form)
    assert [(row["grams"], row["ok"]) for row in found] == [(2.0, True), (None, None)]
    assert json.loads(found[0]["_rest"]) == {"scale": {"value": 2}, "more": 1}
    assert json.loads(found[1]["_rest"]) == {"scale": {"value": "?"}, "ok": 1}


def test_rows_are_in_the_order_of_their_own_time() -> None:
    found = rows([table(n=1), table(n=2), table(n=3)], times=[3000, 1000, 2000])
    assert [row["n"] for row in found] == [2, 3, 1]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def put_together(columns: Any, row: int) -> dict[str, Any]:
    """Undo `learn` for one row: its columns and its rest, with dotted names as they are."""
    found = {name: held[row] for name, held in columns.values.items() if held[row] is not None}
    return found | (columns.rests[row] or {})


def leaves(item: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten an object as the documentation says; null and absent are one."""
    found: dict[str, Any] = {}
    for name, value in item.items():
        if isinstance(value, dict) and value:
            for inner, leaf in leaves(value, f"{prefix}{name}.").items():
                found.setdefault(inner, leaf)
        elif value is not None:
            found.setdefault(f"{prefix}{name}", value)
    return found


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "A", "c d", ""]), values, max_size=4), max_size=6))
def test_no_value_is_lost_whatever_comes(objects: list[dict[str, Any]]) -> None:
    columns = learn(objects, {})
    for row, item in enumerate(objects):
        found = put_together(columns, row)
        for name, value in leaves(item).items():
            assert name in found
            assert found[name] == value


def test_a_missing_pyarrow_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from atoll.federation.errors import InvalidInput

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InvalidInput, match=r"atoll\[parquet\]"):
        parquet.build(numbered([Reading(0, "t", b"1")]), JSON, {})
