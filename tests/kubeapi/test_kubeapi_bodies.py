"""Bodies that say a thing twice, or more than any memory holds, are refused in words that say where."""

import json
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from atoll.kubeapi.errors import BadRequest, RequestTooLarge
from atoll.kubeapi.http.negotiation import MAX_YAML_BYTES, read_body, repeated_fields
from atoll.kubeapi.store import Store
from kubeapi.kinds import WIDGET, widget

WIDGETS = "/apis/example.dev/v1/namespaces/default/widgets"
TWICE = b"""{"apiVersion": "example.dev/v1", "kind": "Widget", "metadata": {"name": "one"},
  "spec": {"size": 3, "color": "red", "parts": [{"name": "a"}, {"name": "b" , "count": 1, "count": 2}], "size": 4}}"""
TWICE_IN_YAML = b"""
apiVersion: example.dev/v1
kind: Widget
metadata: {name: one}
spec:
  size: 3
  color: red
  size: 4
"""
JSON, YAML = {"content-type": "application/json"}, {"content-type": "application/yaml"}


async def test_fields_that_stand_twice_are_refused_by_strict_validation(http: httpx.AsyncClient, store: Store) -> None:
    answer = await http.post(f"{WIDGETS}?fieldValidation=Strict", content=TWICE, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["message"] == (
        'Widget in version "v1" cannot be handled as a Widget: strict decoding error: '
        'duplicate field "spec.parts[1].count", duplicate field "spec.size"'
    )
    assert (await store.list(WIDGET)).items == []


async def test_fields_that_stand_twice_are_warned_of_by_default_and_the_last_counts(http: httpx.AsyncClient) -> None:
    answer = await http.post(WIDGETS, content=TWICE, headers=JSON)
    assert (answer.status_code, answer.json()["spec"]["size"]) == (201, 4)
    assert answer.headers.get_list("warning") == [
        '299 - "duplicate field \\"spec.parts[1].count\\""',
        '299 - "duplicate field \\"spec.size\\""',
    ]


async def test_fields_that_stand_twice_are_nothing_to_who_ignores_them(http: httpx.AsyncClient) -> None:
    answer = await http.post(f"{WIDGETS}?fieldValidation=Ignore", content=TWICE, headers=JSON)
    assert (answer.status_code, "warning" in answer.headers) == (201, False)


async def test_every_way_of_writing_finds_fields_that_stand_twice(http: httpx.AsyncClient, store: Store) -> None:
    await store.create(WIDGET, widget("one"))
    patch = b'{"spec": {"size": 1, "size": 2}}'
    sent = {
        "update": http.put(f"{WIDGETS}/one?fieldValidation=Strict", content=TWICE, headers=JSON),
        "YAML": http.put(f"{WIDGETS}/one?fieldValidation=Strict", content=TWICE_IN_YAML, headers=YAML),
        "merge": http.patch(
            f"{WIDGETS}/one?fieldValidation=Strict",
            content=patch,
            headers={"content-type": "application/merge-patch+json"},
        ),
        "apply": http.patch(
            f"{WIDGETS}/one?fieldValidation=Strict&fieldManager=me",
            content=TWICE_IN_YAML,
            headers={"content-type": "application/apply-patch+yaml"},
        ),
    }
    for name, request in sent.items():
        answer = await request
        assert (answer.status_code, 'duplicate field "spec.size"' in answer.text.replace("\\", "")) == (400, True), name
    assert (await store.get(WIDGET, "default", "one"))["spec"]["size"] == 3


# JSON, how it may be written, and which fields stand twice.
WRITINGS = {
    "nothing": ("{}", []),
    "in one line": ('{"a":1,"b":{"a":1}}', []),
    "with spaces before colons": ('{"a" : 1, "b"\n:2}', []),
    "twice with a space before one colon": ('{"a" : 1, "b":1, "b":2}', ["b"]),
    "twice with the name escaped": ('{"ab":1, "\\u0061b":2}', ["ab"]),
    "twice and a colon after a quote in a text": ('{"a":"\\u0022:", "b":1, "b":2}', ["b"]),
    "twice and an escaped colon after a quote in a text": ('{"a":"\\"\\u003a", "b":1, "b":2}', ["b"]),
    "JSON in a text": (json.dumps({"a": json.dumps({"b": {"b": 1}})}), []),
    "an empty name twice": ('{"":1, "":2}', [""]),
    "three times": ('{"a":1, "a":2, "a":3}', ["a", "a"]),
    "twice in what is dropped": ('{"a":{"b":1,"b":2},"a":3}', ["a.b", "a"]),
    "deep in lists": ('[[{"a":1,"a":2}]]', ["[0][0].a"]),
}


@pytest.mark.parametrize("case", WRITINGS)
def test_repeated_fields_are_found_however_they_are_written(case: str) -> None:
    text, expected = WRITINGS[case]
    raw = text.encode()
    assert repeated_fields(raw, "application/json", read_body(raw, "application/json")) == expected


_TEXT = st.text(st.sampled_from('ab": \\u{}'), max_size=6)
_VALUES = st.recursive(
    st.none() | st.integers() | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(_TEXT, inner), max_size=4).map(tuple),
    max_leaves=20,
)


def _write(value: Any, space: str, *, escape: bool) -> str:
    if isinstance(value, tuple):
        fields = [
            f"{_write(name, '', escape=escape)}{space}:{space}{_write(inner, space, escape=escape)}"
            for name, inner in value
        ]
        return "{" + ",".join(fields) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_write(inner, space, escape=escape) for inner in value) + "]"
    if escape and isinstance(value, str):
        return '"' + "".join(f"\\u{ord(char):04x}" for char in value) + '"'
    return json.dumps(value)


def _count(value: Any) -> int:
    if isinstance(value, tuple):
        own = len(value) - len({name for name, _ in value})
        return own + sum(_count(inner) for _, inner in value)
    return sum(map(_count, value)) if isinstance(value, list) else 0


@given(_VALUES, st.sampled_from(["", " ", "\n\t"]), st.booleans())
def test_as_many_fields_are_found_as_stand_twice(value: Any, space: str, escape: bool) -> None:
    raw = _write(value, space, escape=escape).encode()
    assert len(repeated_fields(raw, "", orjson.loads(raw))) == _count(value)


# YAML that a reader without bounds dies of, and why it is refused.
BOMBS = {
    "a tower of brackets": (b"[" * 200_000, "nested too deeply"),
    "a tower of closed brackets": (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "a tower of dashes": (b"- " * 100_000 + b"x", "nested too deeply"),
    "a tower of maps": (b"a: " + b"{a: " * 50_000 + b"1" + b"}" * 50_000, "nested too deeply"),
    "a billion laughs": (
        b"a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n"
        + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b",".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 20)),
        "too large",
    ),
    "a long text often": (b"a: &a " + b"x" * 100_000 + b"\nb: [" + b"*a," * 100 + b"]", "too large"),
    "a list that is in itself": (b"&a [*a]", "too large"),
    "a map that is its own key": (b"&a {*a : 1}", "too large"),
    "two documents": (b"a: 1\n---\nb: 2\n", "single document"),
    "a name that is a number": (b"{1: 2}", "not JSON"),
    "a name that is a list": (b"? [a]\n: 1\n", "not YAML"),
    "a tag that makes an object": (b"!!python/object/apply:os.system [id]", "not YAML"),
}


@pytest.mark.parametrize("case", BOMBS)
def test_yaml_that_would_end_the_reader_is_refused(case: str) -> None:
    body, why = BOMBS[case]
    assert len(body) <= MAX_YAML_BYTES
    with pytest.raises(BadRequest, match=why):
        read_body(body, "application/yaml")


def test_more_yaml_than_is_read_in_a_moment_is_refused_unread() -> None:
    """Megabytes of it keep a server from everybody else for seconds; as JSON the same is taken."""
    with pytest.raises(RequestTooLarge, match="send this as JSON"):
        read_body(b"a: 1\n" * (MAX_YAML_BYTES // 5 + 1), "application/yaml")
    assert read_body(b"[" + b"1," * MAX_YAML_BYTES + b"1]", "application/json")


def test_yaml_with_aliases_is_read_as_if_it_were_written_out() -> None:
    body = b"base: &base {size: 1}\none: *base\ntwo: {<<: *base, color: red}\n"
    value = {"base": {"size": 1}, "one": {"size": 1}, "two": {"size": 1, "color": "red"}}
    assert read_body(body, "application/yaml") == value
    assert repeated_fields(body, "application/yaml", value) == []


# What stands in YAML, and what it is in JSON; as sigs.k8s.io/yaml reads it.
VALUES = {
    "12:30": "12:30", "2026-11-22": "2026-11-22", "1.2.3": "1.2.3", ".nan": ".nan", "'1'": "1",
    "1e3": 1000.0, "1.5": 1.5, ".5": 0.5, "1_000": 1000, "0x1f": 31, "-7": -7, "0": 0,
    "yes": True, "off": False, "~": None, "null": None, "": None,
}  # fmt: skip


@pytest.mark.parametrize("text", VALUES)
def test_a_value_of_yaml_is_what_kubernetes_takes_it_for(text: str) -> None:
    assert read_body(f"a: {text}".encode(), "application/yaml") == {"a": VALUES[text]}


@given(st.binary(max_size=40) | st.text("ab:- []{}&*\n?|>'\"", max_size=40).map(str.encode))
def test_any_bytes_are_read_as_yaml_or_refused(body: bytes) -> None:
    try:
        value = read_body(body, "application/yaml")
    except BadRequest:
        return
    assert value == orjson.loads(orjson.dumps(value))
    assert isinstance(repeated_fields(body, "application/yaml", value), list)


async def test_a_body_that_ends_the_reader_leaves_the_server_alive(http: httpx.AsyncClient) -> None:
    for body, _ in BOMBS.values():
        assert (await http.post(WIDGETS, content=body, headers=YAML)).status_code == 400
    assert (await http.get("/livez")).text == "ok"


def test_large_documents_of_yaml_are_read(tmp_path: Path) -> None:
    value = {"items": [widget(f"w{number}") for number in range(500)]}
    assert read_body(yaml.safe_dump(value).encode(), "application/yaml") == value
