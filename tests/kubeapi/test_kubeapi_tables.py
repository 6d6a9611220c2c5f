"""Printer columns: JSONPath, cells, and ages as kubectl prints them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from atoll.kubeapi import jsonpath
from atoll.kubeapi.resource import Column, ResourceType
from atoll.kubeapi.tables import columns, human_duration, table

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
OBJECT: dict[str, Any] = {
    "metadata": {"name": "a", "creationTimestamp": "2026-11-22T11:00:00Z", "labels": {"app.io/name": "x"}},
    "spec": {"size": 3, "on": True, "hosts": ["h1", "h2"], "parts": [{"name": "p", "n": 1}, {"name": "q", "n": 2}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Old", "status": "False"}]},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.size", [3]),
        ("{.spec.size}", [3]),
        ("$.spec.size", [3]),
        ("spec.size", [3]),
        (".spec.nope.deeper", []),
        (".spec.parts[0].name", ["p"]),
        (".spec.parts[-1].name", ["q"]),
        (".spec.parts[9].name", []),
        (".spec.parts[*].n", [1, 2]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type!='Ready')].status", ["False"]),
        (".spec.parts[?(@.n==2)].name", ["q"]),
        (r".metadata.labels.app\.io/name", ["x"]),
        (".metadata.labels['app.io/name']", ["x"]),
    ],
)
def test_a_jsonpath_finds_values(path: str, found: list[Any]) -> None:
    assert jsonpath.find(path, OBJECT) == found


def test_a_jsonpath_that_cannot_be_understood_is_named() -> None:
    with pytest.raises(ValueError, match=r"\[\?\(bad\)\]"):
        jsonpath.find(".spec.parts[?(bad)].name", OBJECT)


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        (Column("C", "integer", ".spec.size"), 3),
        (Column("C", "boolean", ".spec.on"), True),
        (Column("C", "string", ".spec.on"), "true"),
        (Column("C", "string", ".spec.size"), "3"),
        (Column("C", "string", ".spec.hosts"), "[h1 h2]"),
        (Column("C", "string", ".spec.parts[*].name"), "p,q"),
        (Column("C", "string", ".spec.nope"), None),
        (Column("C", "date", ".metadata.creationTimestamp"), "60m"),
        (Column("C", "date", ".metadata.nope"), None),
        (Column("C", "date", ".metadata.name"), "<invalid>"),
        (Column("C", "string", value=lambda obj, now: f"{obj['spec']['size']}@{now.hour}"), "3@12"),
    ],
)
def test_a_cell_shows_its_value(column: Column, cell: Any) -> None:
    rt = ResourceType("", "v1", "A", "as", "a", True, columns=(column,))
    assert table(rt, [OBJECT], NOW)["rows"][0]["cells"][1] == cell


def test_a_kind_without_columns_shows_name_and_age() -> None:
    rt = ResourceType("", "v1", "A", "as", "a", True)
    assert [column.name for column in columns(rt)] == ["Name", "Age"]
    assert table(rt, [OBJECT], NOW)["rows"][0]["cells"] == ["a", "60m"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (155, "2m35s"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 120, "3h2m"),
        (8 * 3600, "8h"),
        (48 * 3600 - 1, "47h"),
        (48 * 3600, "2d"),
        (51 * 3600, "2d3h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (730 * 86400, "2y"),
        (800 * 86400, "2y70d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_an_age_has_at_most_two_units(seconds: int, text: str) -> None:
    assert human_duration(seconds) == text
