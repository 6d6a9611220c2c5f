"""Payloads become JSON-like values, and what is none says where."""

import json
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.payloads import InvalidPath, MalformedPayload, decode, field, parse_path

numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


@given(values)
def test_a_value_comes_out_of_json_and_cbor_as_it_went_in(value: Any) -> None:
    assert decode(json.dumps(value).encode(), "JSON") == value
    assert decode(cbor2.dumps(value), "CBOR") == value


@given(st.binary(max_size=80), st.sampled_from(["JSON", "CBOR", "SparkplugB"]))
def test_any_bytes_are_a_json_like_value_or_malformed(payload: bytes, form: Any) -> None:
    try:
        value = decode(payload, form)
    except MalformedPayload as error:
        assert form in str(error)
    else:
        json.dumps(value)


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        ("420102", "AQI"),
        ("f7", None),
        ("a10102", {"1": 2}),
        ("c249010000000000000000", 1 << 64),
        ("d90102820102", [1, 2]),
        ("d823655b285b2a2b", "[([*+"),
        ("d9d9f700", 0),
    ],
    ids=["bytes", "undefined", "number as key", "bignum", "set", "regular expression", "self-described"],
)
def test_what_json_has_no_word_for_becomes_the_nearest(encoded: str, expected: Any) -> None:
    value = decode(bytes.fromhex(encoded), "CBOR")
    assert sorted(value) == expected if isinstance(expected, list) else value == expected


@pytest.mark.parametrize(
    ("encoded", "problem"),
    [
        ("d81c81d81d00", "shared by reference"),
        ("0000", "byte 1: there is something after"),
        ("81" * 80 + "00", "nesting"),
        ("82", "byte 1"),
        ("c0613a", "byte 3"),
        ("c2590200" + "ff" * 512, "too large"),
        ("", "byte 0"),
    ],
    ids=[
        "a value that holds itself",
        "two values",
        "deep nesting",
        "cut",
        "no instant",
        "a number beyond all floats",
        "empty",
    ],
)
def test_cbor_that_is_no_single_plain_value_is_malformed(encoded: str, problem: str) -> None:
    with pytest.raises(MalformedPayload, match=problem):
        decode(bytes.fromhex(encoded), "CBOR")


def test_malformed_json_names_line_and_column() -> None:
    with pytest.raises(MalformedPayload) as caught:
        decode(b'{"a": 1,\n "b": x}', "JSON")
    assert caught.value.where == "line 2, column 7"


def test_raw_payloads_have_no_fields_and_say_so() -> None:
    with pytest.raises(MalformedPayload, match=r"payload\.format is Raw"):
        decode(b"1", "Raw")


READING = {
    "sample": {"id": "S-1", "a.b": 4},
    "channels": [{"name": "Inlet/Temp", "value": 21.5}, {"name": "7", "value": None}, {"name": 8, "value": True}],
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("sample.id", "S-1"),
        ('sample."a.b"', 4),
        ("channels[0].value", 21.5),
        ("channels[name=Inlet/Temp].value", 21.5),
        ("channels[name=8].value", True),
        ("channels[name=7].value", None),
        ("channels[9].value", None),
        ("channels.value", None),
        ("sample[0]", None),
        ("sample.id.x", None),
        ("sample.id[0]", None),
        ("nothing.at.all", None),
    ],
)
def test_a_path_finds_a_field_or_nothing(path: str, expected: Any) -> None:
    assert field(READING, path) == expected


@pytest.mark.parametrize("path", ["", ".a", "a.", "a..b", "a[", "a[x]", "a[-1]", "a b", "a]", 'a."', "x" * 2000])
def test_a_text_that_is_no_path_is_refused_where_it_stops_to_be_one(path: str) -> None:
    with pytest.raises(InvalidPath, match="no field path from character"):
        parse_path(path)


@given(st.text(max_size=30))
def test_any_text_is_a_path_or_refused(text: str) -> None:
    try:
        steps = parse_path(text)
    except InvalidPath:
        return
    assert steps
    field(READING, steps)
