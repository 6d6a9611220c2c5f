"""A structural schema defaults, prunes and judges an object, and names every field that is wrong."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.kubeapi.schema_formats import KNOWN_FORMATS
from atoll.kubeapi.schema_strategy import SchemaStrategy

Fields = dict[str, Any]


def strategy(**properties: Fields) -> SchemaStrategy:
    """Return the strategy of an object whose spec has these properties."""
    return SchemaStrategy({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}})


def faults(schema: Fields, value: Any) -> list[tuple[str, str]]:
    """Return field and reason of every fault of `spec.x`."""
    prepared = strategy(x=schema).prepare({"spec": {"x": value}}, None)
    return [(cause.field, cause.reason) for cause in prepared.causes]


TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
TAKEN: dict[str, tuple[Fields, Any]] = {
    "a string": (TEXT, "a"),
    "an integer": (NUMBER, 3),
    "a whole float as an integer": (NUMBER, 3.0),
    "a number": ({"type": "number"}, 3.5),
    "a boolean": ({"type": "boolean"}, False),
    "an integer or a string": ({"x-kubernetes-int-or-string": True}, "50%"),
    "null where it may be": ({"type": "string", "nullable": True}, None),
    "null where it is absence": (TEXT, None),
    "one of an enum": ({"type": "string", "enum": ["a", "b"]}, "b"),
    "a pattern anywhere in the text": ({"type": "string", "pattern": "b+"}, "abbc"),
    "a value on the bound": ({"type": "integer", "minimum": 1, "maximum": 5}, 5),
    "an instant": ({"type": "string", "format": "date-time"}, "2026-11-22T12:00:00.5+01:00"),
    "an address": ({"type": "string", "format": "ipv6"}, "fd00::1"),
    "a format nobody checks": ({"type": "string", "format": "color"}, "pink"),
    "one of two schemas": (
        {"oneOf": [{"required": ["a"]}, {"required": ["b"]}], "type": "object", "properties": {"a": TEXT, "b": TEXT}},
        {"a": "1"},
    ),
    "any of two schemas": ({"anyOf": [TEXT, NUMBER], "x-kubernetes-int-or-string": True}, 3),
    "not a schema": ({"type": "string", "not": {"pattern": "^x"}}, "ax"),
    "a map of values": ({"type": "object", "additionalProperties": NUMBER}, {"a": 1}),
}


@pytest.mark.parametrize("case", TAKEN)
def test_a_value_that_fits_is_taken(case: str) -> None:
    assert faults(*TAKEN[case]) == []


_INVALID, _TYPE = "FieldValueInvalid", "FieldValueTypeInvalid"
REFUSED: dict[str, tuple[Fields, Any, list[tuple[str, str]]]] = {
    "a number for a string": (TEXT, 3, [("spec.x", _TYPE)]),
    "a boolean for an integer": (NUMBER, True, [("spec.x", _TYPE)]),
    "a fraction for an integer": (NUMBER, 3.5, [("spec.x", _TYPE)]),
    "a text for a list": ({"type": "array", "items": TEXT}, "a", [("spec.x", _TYPE)]),
    "a list for an object": ({"type": "object"}, [], [("spec.x", _TYPE)]),
    "a boolean for an integer or string": ({"x-kubernetes-int-or-string": True}, True, [("spec.x", _TYPE)]),
    "none of an enum": ({"type": "string", "enum": ["a"]}, "b", [("spec.x", "FieldValueNotSupported")]),
    "a text beside the pattern": ({"type": "string", "pattern": "^a$"}, "a\n", [("spec.x", _INVALID)]),
    "a text too short": ({"type": "string", "minLength": 2}, "a", [("spec.x", _INVALID)]),
    "a text too long": ({"type": "string", "maxLength": 2}, "abc", [("spec.x", "FieldValueTooLong")]),
    "a number too small": ({"type": "integer", "minimum": 1}, 0, [("spec.x", _INVALID)]),
    "a number on an open bound": (
        {"type": "number", "maximum": 5, "exclusiveMaximum": True},
        5,
        [("spec.x", _INVALID)],
    ),
    "a number between the steps": ({"type": "integer", "multipleOf": 5}, 7, [("spec.x", _INVALID)]),
    "a number too large for its format": ({"type": "integer", "format": "int32"}, 2**31, [("spec.x", _INVALID)]),
    "a list too short": ({"type": "array", "items": TEXT, "minItems": 1}, [], [("spec.x", _INVALID)]),
    "a list too long": ({"type": "array", "items": TEXT, "maxItems": 1}, ["a", "b"], [("spec.x", "FieldValueTooMany")]),
    "a wrong item": ({"type": "array", "items": TEXT}, ["a", 1, 2], [("spec.x[1]", _TYPE), ("spec.x[2]", _TYPE)]),
    "an item twice in a set": (
        {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
        ["a", "a"],
        [("spec.x[1]", "FieldValueDuplicate")],
    ),
    "a key twice in a map list": (
        {
            "type": "array",
            "items": {"type": "object", "properties": {"n": TEXT, "p": {"type": "string", "default": "T"}}},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["n", "p"],
        },
        [{"n": "a"}, {"n": "a", "p": "T"}],
        [("spec.x[1]", "FieldValueDuplicate")],
    ),
    "a missing field": (
        {"type": "object", "required": ["a"], "properties": {"a": TEXT}},
        {},
        [("spec.x.a", "FieldValueRequired")],
    ),
    "a required field that is null": (
        {"type": "object", "required": ["a"], "properties": {"a": TEXT}},
        {"a": None},
        [("spec.x.a", "FieldValueRequired")],
    ),
    "a wrong value in a map": ({"type": "object", "additionalProperties": NUMBER}, {"k": "v"}, [("spec.x.k", _TYPE)]),
    "an instant that is none": ({"type": "string", "format": "date-time"}, "2026-11-22", [("spec.x", _TYPE)]),
    "an address that is none": ({"type": "string", "format": "ipv4"}, "1.2.3", [("spec.x", _TYPE)]),
    "a range that is none": ({"type": "string", "format": "cidr"}, "10.0.0.0/99", [("spec.x", _TYPE)]),
    "both of one": (
        {"type": "object", "properties": {"a": TEXT, "b": TEXT}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"a": "1", "b": "2"},
        [("spec.x", _INVALID)],
    ),
    "none of any, and what the nearest lacks": (
        {
            "type": "object",
            "properties": {"a": TEXT},
            "anyOf": [{"minProperties": 2, "required": ["a"]}, {"required": ["a"]}],
        },
        {},
        [("spec.x", _INVALID), ("spec.x.a", "FieldValueRequired")],
    ),
    "one that must not be": ({"type": "string", "not": {"pattern": "^x"}}, "x", [("spec.x", _INVALID)]),
    "one of all": ({"type": "string", "allOf": [{"pattern": "^a"}, {"pattern": "b$"}]}, "aa", [("spec.x", _INVALID)]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_value_that_does_not_fit_is_refused_with_its_field(case: str) -> None:
    schema, value, expected = REFUSED[case]
    assert faults(schema, value) == expected


FORMATS: dict[str, tuple[list[str], list[str]]] = {
    "bsonobjectid": (["507f1f77bcf86cd799439011"], ["507f1f77bcf86cd79943901", "xyz"]),
    "byte": (["aGVsbG8=", ""], ["aGVsbG8", "a b"]),
    "cidr": (
        ["10.0.0.0/8", "10.1.2.3/8", "fd00::/8"],
        ["10.0.0.0", "10.0.0.0/255.0.0.0", "10.0.0.0/33", "::/-1"],
    ),
    "creditcard": (["4111 1111 1111 1111"], ["4111 1111 1111 1112", "12"]),
    "date": (["2026-11-22"], ["2026-02-30", "20261122", "2026-11-22T00:00:00Z"]),
    "date-time": (["2026-11-22T01:02:03Z", "2026-11-22t01:02:03.123456789+01:00"], ["2026-11-22 01:02:03", "now"]),
    "datetime": (["2026-11-22T01:02:03Z"], ["2026-11-22"]),
    "duration": (["1h30m", "5 seconds", "1.5s", "2 days"], ["", "soon", "h1"]),
    "email": (["ada@example.org", "Ada <ada@example.org>"], ["ada", "ada@", "@example.org"]),
    "hexcolor": (["#fff", "a1B2c3"], ["#ffff", "red"]),
    "hostname": (["a", "a.example.org"], ["-a", "a..b", "a_b", "a" * 64]),
    "ipv4": (["1.2.3.4"], ["1.2.3", "::1", "01.2.3.4"]),
    "ipv6": (["::1"], ["1.2.3.4", "::g"]),
    "isbn": (["0-306-40615-2", "978-0-306-40615-7"], ["0-306-40615-3"]),
    "isbn10": (["080442957X"], ["0804429570", "978-0-306-40615-7"]),
    "isbn13": (["9780306406157"], ["9780306406158", "080442957X"]),
    "mac": (["01:23:45:67:89:ab", "0123.4567.89ab"], ["01:23:45:67:89", "01:23:45:67:89:zz"]),
    "password": (["anything"], []),
    "rgbcolor": (["rgb(1, 2,255)"], ["rgb(1,2)", "rgb(1,2,256)"]),
    "ssn": (["111-22-3333"], ["111-22-333"]),
    "uri": (["https://a.b/c?d=e", "/a/b"], ["a b", "relative", "http://[::1"]),
    "uuid": (["5ae0d5e4-5d0b-1a6f-9a9b-3f4b5c6d7e8f"], ["5ae0d5e4"]),
    "uuid3": (["5ae0d5e4-5d0b-3a6f-9a9b-3f4b5c6d7e8f"], ["5ae0d5e4-5d0b-4a6f-9a9b-3f4b5c6d7e8f"]),
    "uuid4": (["5ae0d5e4-5d0b-4a6f-9a9b-3f4b5c6d7e8f"], ["5ae0d5e4-5d0b-5a6f-9a9b-3f4b5c6d7e8f"]),
    "uuid5": (["5ae0d5e4-5d0b-5a6f-9a9b-3f4b5c6d7e8f"], ["5ae0d5e4-5d0b-3a6f-9a9b-3f4b5c6d7e8f"]),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_takes_what_fits_it_and_nothing_else(name: str) -> None:
    schema = {"type": "string", "format": name}
    taken, refused = FORMATS[name]
    assert [value for value in taken if faults(schema, value)] == []
    assert [value for value in refused if not faults(schema, value)] == []


def test_every_format_has_a_case() -> None:
    assert FORMATS.keys() | {"int32", "int64", "float", "double"} == KNOWN_FORMATS


def test_an_object_within_an_object_must_say_what_it_is() -> None:
    schema = {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": {"type": "object"}}}
    assert faults(schema, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}) == []
    assert faults(schema, {"kind": 3, "metadata": "p"}) == [
        ("spec.x.apiVersion", "FieldValueRequired"),
        ("spec.x.kind", _TYPE),
        ("spec.x.metadata", _TYPE),
    ]


def test_steps_of_fractions_are_counted_exactly() -> None:
    assert faults({"type": "number", "multipleOf": 0.1}, 0.3) == []
    assert faults({"type": "number", "multipleOf": 0.1}, 0.35) == [("spec.x", _INVALID)]


def test_defaults_are_filled_in_items_of_lists_and_values_of_maps() -> None:
    item = {"type": "object", "properties": {"n": {**NUMBER, "default": 1}}}
    kind = strategy(l={"type": "array", "items": item}, m={"type": "object", "additionalProperties": item})
    obj = kind.prepare({"spec": {"l": [{}, {"n": None}, {"n": 2}], "m": {"a": {}, "b": {"n": 3}}}}, None).obj
    assert obj["spec"] == {"l": [{"n": 1}, {"n": 1}, {"n": 2}], "m": {"a": {"n": 1}, "b": {"n": 3}}}


def test_unknown_fields_are_taken_out_and_named() -> None:
    parts = {"type": "array", "items": {"type": "object", "properties": {"name": TEXT}}}
    obj = {"spec": {"parts": [{"name": "a"}, {"name": "b", "nam": "c"}], "extra": {"deep": 1}}, "top": 1}
    prepared = strategy(parts=parts).prepare(obj, None)
    assert set(prepared.unknown) == {"spec.parts[1].nam", "spec.extra", "top"}
    assert prepared.obj == {"spec": {"parts": [{"name": "a"}, {"name": "b"}]}}


def test_unknown_fields_stay_where_the_schema_says_so() -> None:
    anything = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {"a": {"type": "object", "properties": {}}},
    }
    embedded = {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": {"type": "object"}}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}}
    obj = {"spec": {"x": {"b": {"c": 1}, "a": {"d": 1}}, "y": copy.deepcopy(pod)}}
    prepared = strategy(x=anything, y=embedded).prepare(obj, None)
    assert prepared.unknown == ("spec.x.a.d",)
    assert prepared.obj["spec"]["y"] == pod


def test_unknown_metadata_is_taken_out_here_and_within() -> None:
    embedded = {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {}}
    known = {"name": "a", "labels": {"any": "label"}, "managedFields": [{"fieldsV1": {"f:spec": {}}}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {**known, "lables": {}}}
    prepared = strategy(x=embedded).prepare({"metadata": {**known, "nmae": "b"}, "spec": {"x": pod}}, None)
    assert set(prepared.unknown) == {"metadata.nmae", "spec.x.metadata.lables"}
    assert prepared.obj["metadata"] == prepared.obj["spec"]["x"]["metadata"] == known


def test_defaults_are_filled_in_at_every_depth_and_are_copies() -> None:
    schema = {
        "type": "object",
        "default": {},
        "properties": {"list": {"type": "array", "items": TEXT, "default": ["a"]}},
    }
    kind = strategy(
        x=schema, n={"type": "integer", "default": 3}, m={"type": "string", "nullable": True, "default": "d"}
    )
    first = kind.prepare({"spec": {"n": None, "m": None}}, None).obj
    first["spec"]["x"]["list"].append("b")
    second = kind.prepare({"spec": {}}, None).obj
    assert first["spec"]["n"] == 3
    assert first["spec"]["m"] is None
    assert second["spec"] == {"x": {"list": ["a"]}, "n": 3, "m": "d"}


def test_references_and_optional_unions_are_followed() -> None:
    schema = {
        "type": "object",
        "$defs": {
            "Size": {"type": "integer", "minimum": 1},
            "Tree": {
                "type": "object",
                "properties": {"below": {"$ref": "#/$defs/Tree"}, "n": {"$ref": "#/$defs/Size"}},
            },
        },
        "properties": {"spec": {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]}},
    }
    prepared = SchemaStrategy(schema).prepare({"spec": {"below": {"below": {"n": 0}}}}, None)
    assert [cause.field for cause in prepared.causes] == ["spec.below.below.n"]


def test_a_pattern_that_cannot_be_compiled_is_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"spec\.x\.pattern"):
        strategy(x={"type": "string", "pattern": "("})


def test_identity_and_metadata_need_not_be_declared() -> None:
    kind = SchemaStrategy(
        {"type": "object", "required": ["metadata", "spec"], "properties": {"spec": {"type": "object"}}}
    )
    obj = {"apiVersion": "a/v1", "kind": "A", "metadata": {"name": "x"}, "spec": {}}
    prepared = kind.prepare(copy.deepcopy(obj), None)
    assert (prepared.obj, prepared.causes, prepared.unknown) == (obj, (), ())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["a", "b", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "count", "x", "parts"]), inner, max_size=3)
    ),
    max_leaves=8,
)
TREE: Fields = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "count": {"type": "integer", "default": 1, "minimum": 0},
        "parts": {"type": "array", "items": {"type": "object", "properties": {"name": TEXT}}},
    },
}


@given(JSON)
def test_any_value_is_judged_and_what_is_taken_is_taken_again_unchanged(value: Any) -> None:
    kind = strategy(x=TREE)
    first = kind.prepare({"spec": {"x": value}}, None)
    if first.causes:
        return
    again = kind.prepare(copy.deepcopy(first.obj), None)
    assert (again.obj, again.causes, again.unknown) == (first.obj, (), ())


@pytest.mark.parametrize(
    ("pattern", "taken", "refused"),
    [
        (r"^a$", "a", "a\n"),
        (r"^a\z", "a", "ab"),
        (r"^\PC*$", "Grüße, 世界", "a\x00b"),
        (r"^\p{Lu}\pL+$", "Übung", "übung"),
        (r"^[\pL\d]+$", "ab1", "a b"),
        (r"^[[:alpha:]_]+$", "a_b", "a1"),
        (r"^[^\P{L}]+$", "ab", "1"),
        (r"^[]$]+$", "$]", "a"),
        (r"^\d+$", "12", "٣"),
        (r"(?m)^a$", "b\na\nc", "ab"),
        (r"^\$[$a]$", "$a", "a$"),
    ],
)
def test_patterns_are_read_as_re2_reads_them(pattern: str, taken: str, refused: str) -> None:
    schema = {"type": "string", "pattern": pattern}
    assert faults(schema, taken) == []
    assert faults(schema, refused) == [("spec.x", "FieldValueInvalid")]
