"""How the agent names Kubernetes objects and reads their metadata. Pure.

Objects are plain dicts as the API server gave them; of all kinds only Pod is known here, which many read.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import orjson

from atoll.federation.errors import InvalidInput

Object = dict[str, Any]

FIELD_MANAGER = "atoll"
RUN_LABEL = "atoll.dev/run"
EPOCH_ANNOTATION = "atoll.dev/epoch"


class Kind(NamedTuple):
    """A kind as manifests name it."""

    api_version: str
    kind: str

    def __str__(self) -> str:
        return f"{self.api_version} {self.kind}"


POD = Kind("v1", "Pod")


class ObjectRef(NamedTuple):
    """One object, by its name."""

    kind: Kind
    namespace: str | None
    name: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Self:
        """Read the name of a manifest.

        Raises:
            InvalidInput: apiVersion, kind or metadata.name is missing.
        """
        metadata = manifest.get("metadata") or {}
        fields = {
            "apiVersion": manifest.get("apiVersion"),
            "kind": manifest.get("kind"),
            "metadata.name": metadata.get("name"),
        }
        for field, value in fields.items():
            if not isinstance(value, str) or not value:
                raise InvalidInput(f"a manifest has no {field}: name the object that it makes")
        kind = Kind(fields["apiVersion"], fields["kind"])  # type: ignore[arg-type]  # the loop has just proven str
        return cls(kind, metadata.get("namespace") or None, fields["metadata.name"])  # type: ignore[arg-type]

    @property
    def key(self) -> str:
        """`namespace/name`, or `name` of a cluster-scoped object."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def __str__(self) -> str:
        return f"{self.kind.kind} {self.key}"


@dataclass(frozen=True)
class Selection:
    """Which objects of a kind; the default is all."""

    namespace: str | None = None
    label_selector: str = ""
    field_selector: str = ""


EVERYTHING = Selection()


def key_of(obj: Mapping[str, Any]) -> str:
    """Give `namespace/name`, or `name` of a cluster-scoped object."""
    metadata = obj["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else str(metadata["name"])


def labels_of(obj: Mapping[str, Any]) -> dict[str, str]:
    """Give the labels, empty if there are none."""
    return (obj.get("metadata") or {}).get("labels") or {}


def with_labels(manifest: Object, labels: Mapping[str, str]) -> Object:
    """Give a copy of a manifest that also carries these labels."""
    metadata = manifest.get("metadata") or {}
    return manifest | {"metadata": metadata | {"labels": (metadata.get("labels") or {}) | dict(labels)}}


def condition(obj: Mapping[str, Any], condition_type: str) -> Mapping[str, Any]:
    """Give the status condition of a type, empty if it is not there."""
    return first_where((obj.get("status") or {}).get("conditions") or (), lambda item: item["type"] == condition_type)


def first_where(items: Iterable[Mapping[str, Any]], wanted: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
    """Give the first item that satisfies a predicate, or an empty mapping."""
    found: Iterator[Mapping[str, Any]] = filter(wanted, items)
    return next(found, {})


def was_applied_by(obj: Mapping[str, Any], manager: str) -> bool:
    """Tell whether a manager has server-side applied this very object; copies do not inherit it."""
    entries = (obj.get("metadata") or {}).get("managedFields") or ()
    return any(entry.get("manager") == manager and entry.get("operation") == "Apply" for entry in entries)


def was_labelled_by(obj: Mapping[str, Any], manager: str, label: str) -> bool:
    """Tell whether a manager gave this very object a label, by making or applying it; copies do not inherit that."""
    entries = (obj.get("metadata") or {}).get("managedFields") or ()
    own = (entry.get("fieldsV1") or {} for entry in entries if entry.get("manager") == manager)
    return any(f"f:{label}" in ((fields.get("f:metadata") or {}).get("f:labels") or {}) for fields in own)


def digest_of(manifest: Mapping[str, Any]) -> str:
    """Give a fingerprint that changes with any field."""
    return hashlib.sha256(orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)).hexdigest()
