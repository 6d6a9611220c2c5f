"""Payloads that are made to harm: what they would cost is refused before it is spent, and the reading is kept raw."""

import time

import cbor2
import orjson
import pytest

from atoll.federation.payloads import MalformedPayload, decode
from atoll.federation.payloads.json_text import MAX_DEPTH

# Python's integers hash by this prime: its multiples all fall into one place of a dict.
PRIME = 2**61 - 1


def test_keys_that_collide_cost_no_time() -> None:
    """80,000 of them in one reading would hold up a gateway for half a minute."""
    payload = cbor2.dumps({number * PRIME: 0 for number in range(1, 20_000)})
    started = time.process_time()
    with pytest.raises(MalformedPayload, match="map key must be a text"):
        decode(payload, "CBOR")
    assert time.process_time() - started < 1


def test_small_payloads_may_have_numbers_as_keys() -> None:
    """As SenML has them (RFC 8428, section 6)."""
    assert decode(cbor2.dumps([{0: "temperature", 2: 21.5}]), "CBOR") == [{"0": "temperature", "2": 21.5}]


@pytest.mark.parametrize(("begin", "end"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_json_is_read_as_deep_as_whoever_gets_it_can_walk(begin: bytes, end: bytes) -> None:
    """Deeper, and the sink that writes the rest of a row as JSON fell over, again at each start."""
    deepest = begin * MAX_DEPTH + b"1" + end * MAX_DEPTH
    assert orjson.dumps(decode(deepest, "JSON")) == deepest
    with pytest.raises(MalformedPayload, match="nested deeper than 64 levels"):
        decode(begin + deepest + end, "JSON")


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert decode(b"[" + b"[1]," * 500 + b"[2]]", "JSON")[-1] == [2]


@pytest.mark.parametrize("key", [b"\xa1\x01\x02", b"\x81\x01", b"\xc6\x81\x01"], ids=["map", "list", "tagged"])
def test_maps_and_lists_as_keys_are_refused_before_they_double(key: bytes) -> None:
    """Each written as text within the next, 140 bytes of maps within keys took all memory."""
    with pytest.raises(MalformedPayload, match="a key of a map is a map or a list"):
        decode(b"\xa1" + key + b"\x00", "CBOR")
    with pytest.raises(MalformedPayload, match="a key of a map is a map or a list"):
        decode(b"\xa1" * 60 + b"\x00" * 61, "CBOR")
