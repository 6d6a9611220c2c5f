"""CustomResourceDefinition: the kind itself, what makes one valid, and the resource types that one defines.

Owns reading a definition; must not register or store anything. Pure.
Source: Kubernetes documentation "CustomResourceDefinitions"; apiextensions.k8s.io/v1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from atoll.kubeapi import crd_schema, jsonpath
from atoll.kubeapi.errors import Cause
from atoll.kubeapi.resource import Column, Object, Prepared, ResourceType, Scale
from atoll.kubeapi.schema_strategy import SchemaStrategy, validations_of

if TYPE_CHECKING:
    from atoll.kubeapi.schema_validations import Validations

GROUP = "apiextensions.k8s.io"
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
_NAME = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
_VERSION = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
_IMMUTABLE = (("group",), ("scope",), ("names", "plural"), ("names", "kind"))
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_MAX_SELECTABLE = 8
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
        if causes or (old is not None and old["spec"] == new["spec"]):
            return Prepared(new, causes, (), prepared.unknown)
        findings = [validations.findings for validations in _validations(new)]
        wrong = tuple(cause for each in findings for cause in each.causes)
        unenforced = (text for each in findings for text in each.unenforced)
        return Prepared(new, wrong, () if wrong else (*_unknown_formats(new), *unenforced), prepared.unknown)


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
        is_custom=True,
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
        yield from _scale_faults(version, f"{path}.subresources.scale")
        yield from _selectable_faults(version, f"{path}.selectableFields")
    conversion = (spec.get("conversion") or {}).get("strategy", "None")
    if conversion != "None":
        text = f'Unsupported value: "{conversion}": supported values: "None" (this server calls no conversion webhooks)'
        yield Cause("spec.conversion.strategy", text, "FieldValueNotSupported")


def _schema_faults(version: Mapping[str, Any], path: str) -> Iterator[Cause]:
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    if schema is None:
        yield Cause(path, "Required value: schemas are required", "FieldValueRequired")
        return
    yield from crd_schema.faults(schema, path)


def _column_faults(version: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for index, column in enumerate(version.get("additionalPrinterColumns", ())):
        for name in ("name", "type", "jsonPath"):
            if not isinstance(column.get(name), str):
                yield Cause(f"{path}[{index}].{name}", "Required value", "FieldValueRequired")
                break
        else:
            if column["type"] not in _COLUMN_TYPES:
                choices = ", ".join(f'"{known}"' for known in _COLUMN_TYPES)
                text = f'Unsupported value: "{column["type"]}": supported values: {choices}'
                yield Cause(f"{path}[{index}].type", text, "FieldValueNotSupported")
            try:
                jsonpath.find(column["jsonPath"], {})
            except ValueError as error:
                yield _invalid(f"{path}[{index}].jsonPath", column["jsonPath"], str(error))


def _scale_faults(version: Mapping[str, Any], path: str) -> Iterator[Cause]:
    paths = (version.get("subresources") or {}).get("scale") or {}
    for name, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
        if paths and not str(paths.get(name, "")).startswith(root):
            yield _invalid(f"{path}.{name}", paths.get(name, ""), f"should be a json path under {root[:-1]}")


def _selectable_faults(version: Mapping[str, Any], path: str) -> Iterator[Cause]:
    fields = version.get("selectableFields", ())
    if len(fields) > _MAX_SELECTABLE:
        text = f"Too many: {len(fields)}: must have at most {_MAX_SELECTABLE} items"
        yield Cause(path, text, "FieldValueTooMany")
    for index, field in enumerate(fields):
        where, jsonpath_ = f"{path}[{index}].jsonPath", str(field.get("jsonPath") or "")
        if not jsonpath_.startswith(".") or jsonpath_.startswith(".metadata"):
            yield _invalid(where, jsonpath_, "must be a simple json path to a field outside of metadata, such as .a.b")
            continue
        declared: Any = (version.get("schema") or {}).get("openAPIV3Schema") or {}
        for name in jsonpath_[1:].split("."):
            declared = declared.get("properties", {}).get(name, {})
        if declared.get("type") not in ("string", "integer", "boolean"):
            yield _invalid(where, jsonpath_, "must point to a field of type string, integer or boolean")
        elif field in fields[:index]:
            yield Cause(where, f'Duplicate value: "{jsonpath_}"', "FieldValueDuplicate")


def _changes(old: Object, new: Object) -> Iterator[Cause]:
    for path in _IMMUTABLE:
        before, after = old["spec"], new["spec"]
        for name in path:
            before, after = before[name], after[name]
        if before != after:
            yield _invalid(f"spec.{'.'.join(path)}", after, "field is immutable")


def _schemas(crd: Object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the schema of every version with its place."""
    for index, version in enumerate(crd["spec"]["versions"]):
        yield f"spec.versions[{index}].schema.openAPIV3Schema", version["schema"]["openAPIV3Schema"]


def _validations(crd: Object) -> Iterator[Validations]:
    """Compile the CEL rules of every version that has any."""
    compiled = (validations_of(schema, path) for path, schema in _schemas(crd))
    return (validations for validations in compiled if validations is not None)


def _unknown_formats(crd: Object) -> Iterator[str]:
    for path, schema in _schemas(crd):
        yield from crd_schema.unknown_formats(schema, path)


def _invalid(path: str, value: object, rule: str) -> Cause:
    return Cause(path, f'Invalid value: "{value}": {rule}')
