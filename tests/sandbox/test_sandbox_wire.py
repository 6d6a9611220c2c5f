"""What kubectl writes in protobuf is read as completely as what it writes in JSON."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from atoll.kubeapi.protobuf import Field, Message
from atoll.kubeapi.resource import ResourceType
from atoll.sandbox.kinds.catalog import KINDS

WITH_SHAPE = [rt for rt in KINDS if rt.protobuf is not None]
NOT_ACTED_ON = {
    *("ephemeralContainers", "resourceClaims", "claims", "securityContext"),
    *("livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy", "volumeDevices"),
    *("podFailurePolicy", "successPolicy"),
}


def fields_of(shape: Message) -> dict[str, Field]:
    """Return the fields of a message by name, with those of the messages that it embeds."""
    found: dict[str, Field] = {}
    for field in shape.values():
        found |= {field.name: field} if field.name else fields_of(field.of or {})
    return found


def kinds_of(schema: Mapping[str, Any]) -> set[str]:
    """Return the kinds of field that a schema asks for, of which any will do."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"int-or-string"}
    if "anyOf" in schema:
        return {"quantity"}
    if "additionalProperties" in schema:
        return {"map"}
    if schema.get("format") == "date-time":
        return {"time", "micro-time"}
    return {{"boolean": "bool", "integer": "int", "object": "message"}.get(schema["type"], "string")}


def faults(schema: Mapping[str, Any], shape: Message, path: str = "") -> Iterator[str]:
    """Yield every field that only one of a schema and a shape has, or of which they think differently."""
    fields, properties = fields_of(shape), schema["properties"]
    for name in fields.keys() - properties.keys():
        yield f"{path}{name} is not in the schema"
    for name, below in properties.items():
        where, field = f"{path}{name}", fields.get(name)
        if field is None:
            if name not in NOT_ACTED_ON:
                yield f"{where} has no shape"
            continue
        item = below.get("items", below)
        if field.repeated is (item is below) or field.kind not in kinds_of(item):
            yield f"{where} is {field}"
        elif "properties" in item:
            yield from faults(item, field.of or {}, f"{where}.")


@pytest.mark.parametrize("rt", WITH_SHAPE, ids=lambda rt: rt.kind)
def test_every_field_that_the_cluster_acts_on_has_a_shape(rt: ResourceType) -> None:
    """A field without one would be lost without a word when a client writes protobuf."""
    assert rt.schema is not None
    assert rt.protobuf is not None
    own = {name: below for name, below in rt.schema["properties"].items() if name != "status"}
    shape = {number: field for number, field in rt.protobuf.items() if field.name != "metadata"}
    assert list(faults({"properties": own}, shape)) == []


def test_the_kinds_that_kubectl_creates_have_a_shape() -> None:
    """Those are what `kubectl create` makes of what a simulated cluster serves, Pod, and the Event of recorders."""
    expected = {"Namespace", "ConfigMap", "Secret", "ServiceAccount", "Service", "Deployment", "Job", "Pod", "Event"}
    assert {rt.kind for rt in WITH_SHAPE} == expected
