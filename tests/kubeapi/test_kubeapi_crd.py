"""A definition that is malformed is refused with the field that is wrong, before anything is served by it."""

import sys
from typing import Any

import pytest

from atoll.kubeapi import crd_schema
from atoll.kubeapi.crd import CRD
from atoll.kubeapi.custom_resources import CustomResources
from atoll.kubeapi.errors import Invalid
from atoll.kubeapi.store import Store
from kubeapi.test_kubeapi_custom_resources import changed

BASE = "spec/versions/0/schema/openAPIV3Schema"
PATH = "spec.versions[0].schema.openAPIV3Schema"
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a name that is not plural and group": (changed("metadata/name", "other.sky.dev"), "metadata.name"),
    "a group without a domain": (changed("spec/group", "sky"), "metadata.name"),
    "a scope that does not exist": (changed("spec/scope", "Everywhere"), "spec.scope"),
    "no kind": (changed("spec/names/kind", None), "spec.names.kind"),
    "no versions": (changed("spec/versions", []), "spec.versions"),
    "no stored version": (changed("spec/versions/0/storage", False), "spec.versions"),
    "two versions of a name": (changed("spec/versions/1/name", "v1"), "spec.versions[1].name"),
    "no schema": (changed("spec/versions/0/schema", None), PATH),
    "a schema of a list": (changed(f"{BASE}/type", "array"), f"{PATH}.type"),
    "a field without a type": (
        changed(f"{BASE}/properties/spec/properties/mirror/type", None),
        f"{PATH}.properties[spec].properties[mirror].type",
    ),
    "a list without items": (
        changed(f"{BASE}/properties/spec/properties/mirror", {"type": "array"}),
        f"{PATH}.properties[spec].properties[mirror].items",
    ),
    "a pattern that is none": (
        changed(f"{BASE}/properties/spec/properties/mirror", {"type": "string", "pattern": "("}),
        f"{PATH}.properties[spec].properties[mirror].pattern",
    ),
    "a column without a path": (
        changed("spec/versions/0/additionalPrinterColumns/0/jsonPath", None),
        "spec.versions[0].additionalPrinterColumns[0].jsonPath",
    ),
    "a column with a path that is none": (
        changed("spec/versions/0/additionalPrinterColumns/0/jsonPath", ".a[?("),
        "spec.versions[0].additionalPrinterColumns[0].jsonPath",
    ),
}


MIRROR = f"{BASE}/properties/spec/properties/mirror"
FIELD = f"{PATH}.properties[spec].properties[mirror]"
LIST: dict[str, Any] = {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}}
KEYED = {**LIST, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
NOT_STRUCTURAL: dict[str, tuple[dict[str, Any], str]] = {
    "a type that does not exist": ({"type": "text"}, ".type"),
    "a type beside int-or-string": ({"type": "string", "x-kubernetes-int-or-string": True}, ".type"),
    "bounds in words": ({"type": "string", "maxLength": "ten"}, ".maxLength"),
    "fields in a list": ({"type": "object", "properties": ["a"]}, ".properties"),
    "a field that is no schema": ({"type": "object", "properties": {"a": "text"}}, ".properties[a]"),
    "required fields that are no names": ({"type": "object", "required": [1]}, ".required"),
    "a choice of one": ({"type": "string", "anyOf": {"pattern": "a"}}, ".anyOf"),
    "a choice of no schemas": ({"type": "string", "oneOf": ["a"]}, ".oneOf"),
    "rules that are texts": ({"type": "string", "x-kubernetes-validations": ["true"]}, ".x-kubernetes-validations"),
    "a reference": ({"type": "object", "$ref": "#/a"}, ".$ref"),
    "patterns of names": ({"type": "object", "patternProperties": {}}, ".patternProperties"),
    "items of several schemas": ({"type": "array", "items": [{"type": "string"}]}, ".items"),
    "unique items": ({"type": "array", "items": {"type": "string"}, "uniqueItems": True}, ".uniqueItems"),
    "no further fields": ({"type": "object", "additionalProperties": False}, ".additionalProperties"),
    "fields beside values": (
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "string"}},
        ".additionalProperties",
    ),
    "unknown fields that are not preserved": (
        {"type": "object", "x-kubernetes-preserve-unknown-fields": False},
        ".x-kubernetes-preserve-unknown-fields",
    ),
    "an object within that has no fields": ({"type": "object", "x-kubernetes-embedded-resource": True}, ".properties"),
    "a text within that is an object": ({"type": "string", "x-kubernetes-embedded-resource": True}, ".type"),
    "a list type that does not exist": ({**LIST, "x-kubernetes-list-type": "bag"}, ".x-kubernetes-list-type"),
    "a list type of a text": ({"type": "string", "x-kubernetes-list-type": "set"}, ".type"),
    "a set of objects": ({**LIST, "x-kubernetes-list-type": "set"}, ".items"),
    "keys of a list that has none": ({**LIST, "x-kubernetes-list-map-keys": ["name"]}, ".x-kubernetes-list-type"),
    "a map list without keys": ({**LIST, "x-kubernetes-list-type": "map"}, ".x-kubernetes-list-map-keys"),
    "a key that is no field": (
        {**KEYED, "x-kubernetes-list-map-keys": ["id"]},
        ".x-kubernetes-list-map-keys[0]",
    ),
    "a key that may be missing": (KEYED, ".items.properties[name].default"),
    "a type in a choice": ({"type": "string", "anyOf": [{"type": "string"}]}, ".anyOf[0].type"),
    "a default in a negation": ({"type": "string", "not": {"default": "a"}}, ".not.default"),
    "a field that only a choice knows": (
        {"type": "object", "oneOf": [{"properties": {"a": {"pattern": "b"}}}]},
        ".properties[a]",
    ),
    "a pattern in a choice that is none": ({"type": "string", "allOf": [{"pattern": "("}]}, ".allOf[0].pattern"),
    "a default of another type": ({"type": "integer", "default": "a"}, ".default"),
    "a default out of bounds": ({"type": "integer", "maximum": 3, "default": 4}, ".default"),
    "a default with an unknown field": ({"type": "object", "properties": {}, "default": {"a": 1}}, ".default"),
    "a default that is null": ({"type": "string", "default": None}, ".default"),
}


@pytest.mark.parametrize("case", NOT_STRUCTURAL)
async def test_a_schema_that_is_not_structural_is_refused_with_the_place(store: Store, case: str) -> None:
    schema, where = NOT_STRUCTURAL[case]
    CustomResources(store)
    with pytest.raises(Invalid) as refused:
        await store.create(CRD, changed(MIRROR, schema))
    found = {cause.field for cause in refused.value.causes}
    assert f"{FIELD}{where}" in found


def test_a_schema_that_is_nested_too_deeply_is_refused() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(2 * sys.getrecursionlimit()):
        schema = {"type": "array", "items": schema}
    found = list(crd_schema.faults({"type": "object", "properties": {"spec": schema}}, "schema"))
    assert [(cause.field, cause.message) for cause in found] == [("schema", "Invalid value: is nested too deeply")]


async def test_only_the_name_in_metadata_may_have_rules_of_its_own(store: Store) -> None:
    CustomResources(store)
    names = {"type": "object", "properties": {"name": {"type": "string", "pattern": "^t"}}}
    labels = {"type": "object", "properties": {"labels": {"type": "object"}}}
    await store.create(CRD, changed(f"{BASE}/properties/metadata", names), dry_run=True)
    with pytest.raises(Invalid, match=r"properties\[metadata\]: Forbidden"):
        await store.create(CRD, changed(f"{BASE}/properties/metadata", labels))


async def test_a_format_that_nothing_checks_is_warned_of(store: Store) -> None:
    warnings: list[str] = []
    CustomResources(store)
    await store.create(CRD, changed(MIRROR, {"type": "string", "format": "color"}), warn=warnings.append)
    assert warnings == [f'{FIELD}.format: unrecognized format "color"']


VERSION_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a column of no type": (
        changed("spec/versions/0/additionalPrinterColumns/0/type", "text"),
        "spec.versions[0].additionalPrinterColumns[0].type",
    ),
    "replicas that are not in the spec": (
        changed("spec/versions/0/subresources/scale/specReplicasPath", ".count"),
        "spec.versions[0].subresources.scale.specReplicasPath",
    ),
    "a webhook for conversion": (changed("spec/conversion", {"strategy": "Webhook"}), "spec.conversion.strategy"),
    "a selectable field that does not exist": (
        changed("spec/versions/0/selectableFields", [{"jsonPath": ".spec.lens"}]),
        "spec.versions[0].selectableFields[0].jsonPath",
    ),
    "a selectable field in metadata": (
        changed("spec/versions/0/selectableFields", [{"jsonPath": ".metadata.labels"}]),
        "spec.versions[0].selectableFields[0].jsonPath",
    ),
    "a selectable field twice": (
        changed("spec/versions/0/selectableFields", [{"jsonPath": ".spec.mount"}, {"jsonPath": ".spec.mount"}]),
        "spec.versions[0].selectableFields[1].jsonPath",
    ),
    "too many selectable fields": (
        changed("spec/versions/0/selectableFields", [{"jsonPath": ".spec.mount"}] * 9),
        "spec.versions[0].selectableFields",
    ),
}


@pytest.mark.parametrize("case", VERSION_FAULTS)
async def test_what_a_version_adds_to_its_schema_is_checked(store: Store, case: str) -> None:
    definition, field = VERSION_FAULTS[case]
    CustomResources(store)
    with pytest.raises(Invalid) as refused:
        await store.create(CRD, definition)
    assert refused.value.causes[0].field == field


@pytest.mark.parametrize("case", FAULTS)
async def test_a_malformed_definition_is_refused_with_its_field(store: Store, case: str) -> None:
    definition, field = FAULTS[case]
    CustomResources(store)
    with pytest.raises(Invalid) as refused:
        await store.create(CRD, definition)
    assert refused.value.causes[0].field == field
    assert (await store.list(CRD)).items == []
