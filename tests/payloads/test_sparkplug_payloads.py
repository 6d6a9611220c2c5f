"""Sparkplug B: values as their types say, names in the place of aliases, and the command for a rebirth."""

import struct
from typing import Any

import pytest

from atoll.federation.payloads import MalformedPayload, decode, field
from atoll.federation.payloads.sparkplug import KnownMetric, births, outline, rebirth_command, with_names
from atoll.federation.payloads.sparkplug_schema import Payload

INT16, INT64, UINT64, DOUBLE, BOOLEAN, DATA_SET, BYTES, INT8_ARRAY, BOOLEANS, TEXTS = (
    2,
    4,
    8,
    10,
    11,
    16,
    17,
    22,
    32,
    33,
)


def message(*metrics: dict[str, Any], **fields: Any) -> bytes:
    payload = Payload(**fields)
    for metric in metrics:
        payload.metrics.add(**metric)
    data: bytes = payload.SerializeToString()
    return data


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ({"datatype": INT16, "int_value": 0xFFFE}, -2),
        ({"datatype": INT16, "int_value": 0xFFFFFFFE}, -2),
        ({"datatype": INT64, "long_value": 2**64 - 5}, -5),
        ({"datatype": UINT64, "long_value": 2**64 - 5}, 2**64 - 5),
        ({"datatype": DOUBLE, "double_value": 21.5}, 21.5),
        ({"datatype": BOOLEAN, "boolean_value": True}, True),
        ({"datatype": DOUBLE, "is_null": True}, None),
        ({"datatype": BYTES, "bytes_value": b"\x01\x02"}, "AQI"),
        ({"datatype": INT8_ARRAY, "bytes_value": b"\xff\x02"}, [-1, 2]),
        ({"datatype": BOOLEANS, "bytes_value": struct.pack("<I", 3) + b"\xa0"}, [True, False, True]),
        ({"datatype": BOOLEANS, "bytes_value": struct.pack("<I", 2**32 - 1) + b"\x80"}, [True] + [False] * 7),
        ({"datatype": TEXTS, "bytes_value": b"a\0b\0"}, ["a", "b"]),
        ({"datatype": 999, "int_value": 7}, 7),
    ],
)
def test_a_value_is_read_as_its_type_says(metric: dict[str, Any], expected: Any) -> None:
    value = decode(message({"name": "m", **metric}), "SparkplugB")
    assert field(value, "metrics[name=m].value") == expected


def test_a_data_set_becomes_rows_with_column_names() -> None:
    payload = Payload()
    table = payload.metrics.add(name="m", datatype=DATA_SET).dataset_value
    table.columns.extend(["t", "ok"])
    table.types.extend([INT16, BOOLEAN])
    row = table.rows.add()
    row.elements.add(int_value=0xFFFF)
    row.elements.add(boolean_value=True)
    value = decode(payload.SerializeToString(), "SparkplugB")
    assert value["metrics"][0]["value"] == [{"t": -1, "ok": True}]


def test_a_payload_with_names_is_the_same_payload_that_needs_no_birth() -> None:
    birth = message({"name": "Temp", "alias": 4, "datatype": INT16, "int_value": 1}, seq=0, timestamp=1)
    assert births(birth) == {4: KnownMetric("Temp", INT16)}
    data = message({"alias": 4, "int_value": 0xFFFE, "timestamp": 9}, seq=1, timestamp=9)
    named, is_whole = with_names(data, births(birth))
    expected = {"name": "Temp", "alias": 4, "timestamp": 9, "type": "Int16", "value": -2}
    assert is_whole
    assert decode(named, "SparkplugB") == {"timestamp": 9, "seq": 1, "metrics": [expected]}


def test_an_alias_without_a_birth_is_left_and_said_so() -> None:
    data = message({"alias": 4, "int_value": 1}, seq=1)
    assert with_names(data, {}) == (data, False)


@pytest.mark.parametrize("payload", [b"\x22\x01\xff", b"\x12\x03\x0a\x01\xff", b"\x12\x05\x0a\x01\xff\x10\x04"])
def test_a_name_that_is_no_text_is_malformed_however_it_is_read(payload: bytes) -> None:
    for read in (outline, births, lambda data: decode(data, "SparkplugB"), lambda data: with_names(data, {})):
        with pytest.raises(MalformedPayload, match="SparkplugB"):
            read(payload)


@pytest.mark.parametrize(("flags", "expected"), [([True, True], True), ([True, False], False), ([], False)])
def test_a_message_tells_of_the_past_if_all_its_metrics_do(flags: list[bool], expected: bool) -> None:
    data = message(*({"name": "m", "is_historical": flag} for flag in flags), seq=255, timestamp=5)
    assert outline(data) == (255, 5, expected, None)


def test_the_rebirth_command_is_the_metric_that_the_specification_names() -> None:
    value = decode(rebirth_command(5), "SparkplugB")
    assert value["metrics"] == [{"name": "Node Control/Rebirth", "timestamp": 5, "type": "Boolean", "value": True}]
