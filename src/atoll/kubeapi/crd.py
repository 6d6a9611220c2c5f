"""CustomResourceDefinition: the kind itself, what makes one valid, and the resource types that one defines.

Owns reading a definition; must not register or store anything. Pure.
Source: Kubernetes documentation "CustomResourceDefinitions"; apiextensions.k8s.io/v1.
CEL rules (x-kubernetes-validations) are kept and not evaluated: a warning says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from atoll.kubeapi import jsonpath
from atoll.kubeapi.errors import Cause
from atoll.kubeapi.resource import Column, Object, Prepared, ResourceType, Scale
from atoll.kubeapi.schema_strategy import SchemaStrategy

GROUP = "apiextensions.k8s.io"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_NAME = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
_VERSION = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
_IMMUTABLE = (("group",), ("scope",), ("names", "plural"), ("names", "kind"))
_ANY = {"x-kubernetes-preserve-unknown-fields": True}
_TEXTS = {"type": "array", "items": {"type": "string"}}
_NAMES = {
    "type": "object",
    "required": ["plural", "kind"],
    "properties": {
        "plural": {"type": "string", "description": "Name in paths, in lower case."},
        "singular": {"type": "string", "description": "Name of one, in lower case; by default the kind's."},
        "kind": {"type": "string", "description": "Name in manifests, in CamelCase."},
        "listKind": {"type": "string", "description": "Kind of a list; by default the kind with List."},
        "shortNames": {**_TEXTS, "description": "Short names for command lines."},
        "categories": {**_TEXTS, "description": "Groups of kinds that this one is listed with, such as all."},
    },
}
_VERSION_SCHEMA = {
    "type": "object",
    "required": ["name", "served", "storage"],
    "properties": {
        "name": {"type": "string", "description": "Name of the version, such as v1."},
        "served": {"type": "boolean", "description": "Whether the version is served."},
        "storage": {"type": "boolean", "description": "Whether objects are stored so; true of exactly one version."},
        "deprecated": {"type": "boolean"},
        "deprecationWarning": {"type": "string"},
        "schema": {"type": "object", "properties": {"openAPIV3Schema": {"type": "object", **_ANY}}},
        "subresources": {"type": "object", **_ANY},
        "additionalPrinterColumns": {"type": "array", "items": {"type": "object", **_ANY}},
        "selectableFields": {"type": "array", "items": {"type": "object", **_ANY}},
    },
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "CustomResourceDefinition defines a resource that the server serves from then on.",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "description": "What the resource is.",
            "required": ["group", "names", "scope", "versions"],
            "properties": {
                "group": {"type": "string", "description": "API group of the resource."},
                "scope": {"type": "string", "enum": ["Namespaced", "Cluster"], "description": "Where objects live."},
                "names": _NAMES,
                "versions": {"type": "array", "minItems": 1, "items": _VERSION_SCHEMA},
                "conversion": {"type": "object", **_ANY},
                "preserveUnknownFields": {"type": "boolean"},
            },
        },
        "status": {"type": "object", **_ANY},
    },
}


class CrdStrategy:
    """Admission of definitions."""

    def __init__(self) -> None:
        """Judge by the schema of definitions first, then by their own rules."""
        self._by_schema = SchemaStrategy(SCHEMA)

    def prepare(self, new: Object, old: Object | None) -> Prepared:
        """Fill in names, hold the objects' cleanup, and name every broken rule."""
        prepared = self._by_schema.prepare(new, old)
        if prepared.causes:
            return prepared
        names = new["spec"]["names"]
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", f"{names['kind']}List")
        if old is None:
            finalizers = new["metadata"].setdefault("finalizers", [])
            if CLEANUP not in finalizers:
                finalizers.append(CLEANUP)
        causes = (*_faults(new), *(_changes(old, new) if old is not None else ()))
        return Prepared(new, causes, tuple(_warnings(new)), prepared.unknown)


CRD = ResourceType(
    group=GROUP,
    version="v1",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    singular="customresourcedefinition",
    namespaced=False,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    has_status=True,
    schema=SCHEMA,
    strategy=CrdStrategy(),
    columns=(Column("Created At", "string", ".metadata.creationTimestamp"),),
)


def types_of(crd: Object) -> list[ResourceType]:
    """Return the resource types that a valid definition serves."""
    return [_type(crd["spec"], version) for version in crd["spec"]["versions"] if version["served"]]


def stored_type(crd: Object) -> ResourceType:
    """Return the type of the stored version of a valid definition, whether it is served or not."""
    return _type(crd["spec"], next(version for version in crd["spec"]["versions"] if version["storage"]))


def _type(spec: Mapping[str, Any], version: Mapping[str, Any]) -> ResourceType:
    names, schema = spec["names"], version["schema"]["openAPIV3Schema"]
    subresources = version.get("subresources") or {}
    return ResourceType(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names["singular"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames", ())),
        categories=tuple(names.get("categories", ())),
        has_status="status" in subresources,
        columns=tuple(_columns(version)),
        schema=schema,
        strategy=SchemaStrategy(schema),
        scale=_scale(subresources.get("scale")),
    )


def _columns(version: Mapping[str, Any]) -> Iterator[Column]:
    for column in version.get("additionalPrinterColumns", ()):
        yield Column(
            column["name"],
            column["type"],
            column["jsonPath"],
            column.get("priority", 0),
            column.get("format", ""),
            column.get("description", ""),
        )


def _scale(paths: Mapping[str, str] | None) -> Scale | None:
    if not paths:
        return None
    names = ("specReplicasPath", "statusReplicasPath", "labelSelectorPath")
    return Scale(*(paths.get(name, "").lstrip(".") for name in names))


def _faults(crd: Object) -> Iterator[Cause]:
    spec, names = crd["spec"], crd["spec"]["names"]
    expected = f"{names['plural']}.{spec['group']}"
    if crd["metadata"].get("name") != expected:
        yield _invalid(
            "metadata.name", crd["metadata"].get("name"), f'must be spec.names.plural+"."+spec.group: {expected}'
        )
    if "." not in spec["group"]:
        yield _invalid("spec.group", spec["group"], "should be a domain with at least one dot")
    for field in ("plural", "singular"):
        if not _NAME.match(names[field]):
            yield _invalid(f"spec.names.{field}", names[field], "must be a DNS-1035 label in lower case")
    versions = spec["versions"]
    if sum(version["storage"] for version in versions) != 1:
        yield _invalid(
            "spec.versions", versions and versions[0]["name"], "must have exactly one version marked as storage"
        )
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        if not _VERSION.match(version["name"]) or version["name"] in [each["name"] for each in versions[:index]]:
            yield _invalid(f"{path}.name", version["name"], "must be a DNS-1035 label, and unique")
        yield from _schema_faults(version, f"{path}.schema.openAPIV3Schema")
        yield from _column_faults(version, f"{path}.additionalPrinterColumns")


def _schema_faults(version: Mapping[str, Any], path: str) -> Iterator[Cause]:
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if schema is None:
        yield Cause(path, "Required value: schemas are required", "FieldValueRequired")
        return
    if schema.get("type") != "object":
        yield _invalid(f"{path}.type", schema.get("type"), "must be object at the root")
        return
    faults = list(_structure_faults(schema, path))
    yield from faults
    if not faults:
        try:
            SchemaStrategy(schema)
        except ValueError as error:
            yield _invalid(path, "", str(error))


def _structure_faults(schema: Any, path: str) -> Iterator[Cause]:
    """Yield what keeps a schema from being structural: every value needs a type, or says that any will do."""
    if not isinstance(schema, Mapping):
        yield _invalid(path, schema, "must be a schema")
        return
    free = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if not schema.get("type") and not free:
        yield Cause(
            f"{path}.type", "Required value: must not be empty for specified object fields", "FieldValueRequired"
        )
    if "$ref" in schema:
        yield Cause(f"{path}.$ref", "Forbidden: references are not supported", "FieldValueForbidden")
    if schema.get("type") == "array" and "items" not in schema:
        yield Cause(f"{path}.items", "Required value: must be specified for arrays", "FieldValueRequired")
    properties = schema.get("properties", {})
    if properties and "additionalProperties" in schema:
        text = "Forbidden: additionalProperties and properties are mutual exclusive"
        yield Cause(f"{path}.additionalProperties", text, "FieldValueForbidden")
    for name, below in properties.items():
        yield from _structure_faults(below, f"{path}.properties[{name}]")
    for name in ("items", "additionalProperties"):
        if name in schema and not isinstance(schema[name], bool):
            yield from _structure_faults(schema[name], f"{path}.{name}")


def _column_faults(version: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for index, column in enumerate(version.get("additionalPrinterColumns", ())):
        for name in ("name", "type", "jsonPath"):
            if not isinstance(column.get(name), str):
                yield Cause(f"{path}[{index}].{name}", "Required value", "FieldValueRequired")
                break
        else:
            try:
                jsonpath.find(column["jsonPath"], {})
            except ValueError as error:
                yield _invalid(f"{path}[{index}].jsonPath", column["jsonPath"], str(error))


def _changes(old: Object, new: Object) -> Iterator[Cause]:
    for path in _IMMUTABLE:
        before, after = old["spec"], new["spec"]
        for name in path:
            before, after = before[name], after[name]
        if before != after:
            yield _invalid(f"spec.{'.'.join(path)}", after, "field is immutable")


def _warnings(crd: Object) -> Iterator[str]:
    for index, version in enumerate(crd["spec"]["versions"]):
        if _has_rules((version.get("schema") or {}).get("openAPIV3Schema")):
            yield f"spec.versions[{index}]: x-kubernetes-validations (CEL) are kept and not evaluated by this server"


def _has_rules(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return "x-kubernetes-validations" in schema or any(_has_rules(below) for below in schema.values())
    return isinstance(schema, list) and any(_has_rules(below) for below in schema)


def _invalid(path: str, value: object, rule: str) -> Cause:
    return Cause(path, f'Invalid value: "{value}": {rule}')
