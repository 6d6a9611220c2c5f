"""Topics become file names that stay in their folder and never collide; readings become lines that can be read back."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.edge.sink.lines import encode_lines
from atoll.edge.sink.names import file_name, format_of
from atoll.edge.sink.readings import Readings
from atoll.federation.bus.envelope import Envelope, Reading
from atoll.federation.resources.stream_layout import StreamFormat

topics = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=300)
forms = st.sampled_from(["raw", "jsonl"])


@pytest.mark.parametrize(
    ("topic", "form", "expected"),
    [
        ("lab/anmo/BHZ", "raw", "lab.anmo.BHZ"),
        ("lab/anmo/BHZ", "jsonl", "lab.anmo.BHZ.jsonl"),
        ("../../etc/passwd", "raw", "%2E%2E.%2E%2E.etc.passwd"),
        ("/", "raw", "%.%"),
        ("//", "raw", "%.%.%"),
        (".atoll/ledger", "raw", "%2Eatoll.ledger"),
        ("a b/ü", "raw", "a%20b.%C3%BC"),
    ],
)
def test_a_topic_has_a_plain_file_name(topic: str, form: StreamFormat, expected: str) -> None:
    assert file_name(topic, form, ()) == expected


@given(topics, forms)
def test_no_topic_leaves_its_folder(topic: str, form: StreamFormat) -> None:
    name = file_name(topic, form, ())
    assert "/" not in name
    assert "\0" not in name
    assert not name.startswith(".")
    assert len(name.encode()) <= 250
    assert format_of(name) == form


@given(st.lists(st.tuples(topics, forms), unique=True, max_size=12))
def test_no_two_sources_share_a_file_even_where_case_does_not_count(sources: list[tuple[str, StreamFormat]]) -> None:
    taken: list[str] = []
    for topic, form in sources:
        taken.append(file_name(topic, form, taken))
    assert len({name.lower() for name in taken}) == len(sources)


def test_two_gateways_with_one_topic_get_two_files() -> None:
    first = file_name("t", "raw", ())
    assert file_name("t", "raw", [first]) != first


def encode(reading: Reading, number: int = 1) -> bytes:
    return encode_lines(Readings.of(Envelope("0" * 32, "lab", "ns", "s", "run", 1, number, [reading])))


@given(st.one_of(st.binary(max_size=60), st.text(max_size=20).map(str.encode)), st.integers(1, 2**40))
def test_a_json_line_gives_the_payload_back(payload: bytes, sequence: int) -> None:
    data = encode(Reading(1_795_348_800_123_456_789, "a/b", payload), sequence)
    assert data.endswith(b"\n")
    assert data.count(b"\n") == 1
    line = json.loads(data)
    assert (line["at"], line["sequence"], line["topic"]) == ("2026-11-22T12:00:00.123456789Z", sequence, "a/b")
    if "payload" in line:
        assert line["payload"] == json.loads(payload)
    elif "text" in line:
        assert line["text"].encode() == payload
    else:
        assert base64.b64decode(line["base64"]) == payload


def test_a_reading_with_its_own_time_has_both_instants_in_its_line() -> None:
    """Also among others that have none, and before 1970."""
    readings = [Reading(1_000_000_001, "t", b"1"), Reading(2_000_000_000, "t", b"2", at_ns=-1)]
    lines = encode_lines(Readings.of(Envelope("0" * 32, "lab", "ns", "s", "run", 1, 1, readings))).splitlines()
    assert lines == [
        b'{"at":"1970-01-01T00:00:01.000000001Z","sequence":1,"topic":"t","payload":1}',
        b'{"at":"1969-12-31T23:59:59.999999999Z","received":"1970-01-01T00:00:02.000000000Z",'
        b'"sequence":2,"topic":"t","payload":2}',
    ]


def test_a_number_keeps_its_digits() -> None:
    assert b'"payload":0.10000000000000000000001}' in encode(Reading(0, "t", b"0.10000000000000000000001"))


def test_pretty_printed_json_becomes_one_line() -> None:
    data = encode(Reading(0, "t", b'{\n  "a": 1\r\n}'))
    assert data.count(b"\n") == 1
    assert json.loads(data)["payload"] == {"a": 1}
