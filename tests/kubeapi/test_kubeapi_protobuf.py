"""Kubernetes' protobuf encoding is read field by field, and malformed bytes are refused, never a crash."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.kubeapi.errors import BadRequest
from atoll.kubeapi.protobuf import BYTES_VALUES, OBJECT_META, QUANTITY_VALUES, TEXT_VALUES, Field, decode

SHAPE = {
    1: Field("metadata", "message", of=OBJECT_META),
    2: Field("data", "map", of=TEXT_VALUES),
    3: Field("blobs", "map", of=BYTES_VALUES),
    4: Field("on", "bool"),
    5: Field("count", "int"),
}


def number(value: int) -> bytes:
    """Return a varint."""
    value %= 2**64
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def part(field: int, value: bytes | str | int) -> bytes:
    """Return one field of a message."""
    if isinstance(value, int):
        return number(field << 3) + number(value)
    data = value.encode() if isinstance(value, str) else value
    return number(field << 3 | 2) + number(len(data)) + data


def body(raw: bytes) -> bytes:
    """Return a message in its envelope."""
    return b"k8s\x00" + part(1, part(1, "v1") + part(2, "Thing")) + part(2, raw) + part(3, "") + part(4, "")


@given(
    st.text(min_size=1),
    st.dictionaries(st.text(), st.text()),
    st.dictionaries(st.text(), st.binary()),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
)
def test_what_was_encoded_is_decoded(
    name: str, data: dict[str, str], blobs: dict[str, bytes], on: bool, count: int
) -> None:
    raw = part(1, part(1, name) + part(2, "") + part(14, "a") + part(14, "b")) + part(4, int(on)) + part(5, count)
    raw += b"".join(part(2, part(1, key) + part(2, value)) for key, value in data.items())
    raw += b"".join(part(3, part(1, key) + part(2, value)) for key, value in blobs.items())
    expected: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Thing",
        "metadata": {"name": name, "finalizers": ["a", "b"]},
        "on": on,
        "count": count,
    }
    if data:
        expected["data"] = data
    if blobs:
        expected["blobs"] = {key: base64.b64encode(value).decode() for key, value in blobs.items()}
    assert decode(body(raw), SHAPE) == expected


def test_an_instant_is_text_and_the_zero_instant_is_left_out() -> None:
    metadata = part(8, b"") + part(9, part(1, 1_795_348_800))
    assert decode(body(part(1, metadata)), SHAPE)["metadata"] == {"deletionTimestamp": "2026-11-22T12:00:00Z"}


def test_what_go_writes_in_its_own_ways_is_read_as_json_has_it() -> None:
    """A quantity is text, a number or text is the one that it is, and what Go embeds stands among its neighbours."""
    shape = {
        1: Field("", "message", of={1: Field("name")}),
        2: Field("limits", "map", of=QUANTITY_VALUES),
        3: Field("port", "int-or-string"),
        4: Field("share", "int-or-string"),
    }
    raw = part(1, part(1, "one")) + part(2, part(1, "cpu") + part(2, part(1, "500m")))
    raw += part(3, part(1, 0) + part(2, 80) + part(3, "")) + part(4, part(1, 1) + part(2, 0) + part(3, "25%"))
    known = {"apiVersion": "v1", "kind": "Thing"}
    assert decode(body(raw), shape) == {**known, "name": "one", "limits": {"cpu": "500m"}, "port": 80, "share": "25%"}


def test_a_zero_counts_only_where_it_says_something() -> None:
    """Go writes the zero of a field that is no pointer whether it was set or not."""
    shape = {1: Field("replicas", "int"), 2: Field("hostPort", "int", omits_zero=True)}
    assert decode(body(part(1, 0) + part(2, 0)), shape) == {"apiVersion": "v1", "kind": "Thing", "replicas": 0}


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(raw: bytes) -> None:
    for data in (raw, b"k8s\x00" + raw, body(raw)):
        try:
            decode(data, SHAPE)
        except BadRequest as refused:
            assert "unrecognized" in refused.message


@pytest.mark.parametrize(
    "raw", [b"\x0a\xff", b"\x0f", b"\xff" * 12, part(1, 3), part(4, "x"), part(1, part(1, b"\xff"))]
)
def test_malformed_messages_are_refused(raw: bytes) -> None:
    with pytest.raises(BadRequest, match="unrecognized"):
        decode(body(raw), SHAPE)
