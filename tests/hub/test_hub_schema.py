"""The schemas of the kinds say what every field is for: that is what `kubectl explain` shows."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from atoll.federation.resources import KINDS, Kind
from atoll.federation.resources.descriptions import DESCRIPTIONS
from atoll.hub.schema import openapi_schema


def fields(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Walk over the fields of a schema but for those of the metadata, which belong to Kubernetes."""
    for name, child in schema.get("properties", {}).items():
        if name == "metadata" and not path:
            continue
        at = f"{path}.{name}" if path else name
        yield at, child
        yield from fields(child.get("items", child), at)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_field_of_a_kind_is_described_in_a_sentence(kind: Kind) -> None:
    schema = openapi_schema(kind)
    undescribed = [path for path, field in fields(schema) if not field.get("description", "").strip()]
    assert undescribed == []
    unfinished = [path for path, field in fields(schema) if not field["description"].rstrip().endswith(".")]
    assert unfinished == []
    assert schema["description"].endswith(".")


def test_no_description_is_of_a_field_that_does_not_exist() -> None:
    known: dict[str, set[str]] = {}
    for kind in KINDS:
        source = kind.model.model_json_schema(by_alias=True)
        for name, definition in {**source["$defs"], kind.name: source}.items():
            known.setdefault(name, set()).update(definition.get("properties", {}))
    everywhere = set().union(*known.values())
    dead = {
        f"{model}.{field}"
        for model, words in DESCRIPTIONS.items()
        for field in words
        if field not in (everywhere if model == "*" else known.get(model, ()))
    }
    assert dead == set()


@pytest.mark.parametrize(("kind", "part"), [("Job", "status"), ("Run", "spec")])
def test_a_record_of_a_decision_is_owned_as_a_whole(kind: str, part: str) -> None:
    schema = openapi_schema(next(each for each in KINDS if each.name == kind))
    assert schema["properties"][part]["properties"]["decision"]["x-kubernetes-map-type"] == "atomic"
