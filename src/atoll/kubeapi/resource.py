"""What the server serves: resource types, their admission strategies, and the registry of them.

Owns the description of a resource; must not read or write objects, nor know HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol

import orjson

from atoll.kubeapi.errors import Cause, NotFound, Subject
from atoll.kubeapi.protobuf import Message
from atoll.kubeapi.structure import Schema, structural

Object = dict[str, Any]
ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Column:
    """One printer column of `kubectl get`.

    `path` is a JSONPath as in a CRD's additionalPrinterColumns (`.status.phase`); `value`, when given, computes the
    cell from (object, now) instead. `priority` above zero is shown by `-o wide` only. `type` is one of integer,
    number, string, boolean, date.
    """

    name: str
    type: str
    path: str = ""
    priority: int = 0
    format: str = ""
    description: str = ""
    value: Callable[[Mapping[str, Any], datetime], object] | None = None


@dataclass(frozen=True)
class Prepared:
    """What admission made of an object: defaulted, with every broken rule, and with the fields nobody knows."""

    obj: Object
    causes: tuple[Cause, ...] = ()
    warnings: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()  # field paths; fieldValidation decides whether they refuse, warn or vanish


class Strategy(Protocol):
    """Admission of one kind; pure."""

    def prepare(self, new: Object, old: Object | None) -> Prepared:
        """Default and validate `new`, which may be changed in place; `old` is None on create."""


class PassThrough:
    """Takes every object as it is."""

    def prepare(self, new: Object, old: Object | None) -> Prepared:  # noqa: ARG002 - the protocol's signature
        """Return `new` unchanged."""
        return Prepared(new)


@dataclass(frozen=True)
class Scale:
    """Where the `/scale` subresource finds its numbers, as dotted paths.

    `selector` is where a selector stands, as text or as a LabelSelector; empty where there is none.
    """

    spec_replicas: str = "spec.replicas"
    status_replicas: str = "status.replicas"
    selector: str = ""


@dataclass(frozen=True, eq=False)
class ResourceType:
    """One served resource in one version."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    has_status: bool = False
    columns: tuple[Column, ...] = ()
    schema: Mapping[str, Any] | None = None
    strategy: Strategy = field(default_factory=PassThrough)
    scale: Scale | None = None
    grace_seconds: Callable[[Mapping[str, Any]], int] | None = None
    """Seconds that a deletion waits for whoever stops the object (a kubelet); None or 0 removes it at once."""
    why_kept: Callable[[Mapping[str, Any]], str] | None = None
    """Says why an object may not be deleted now, empty if it may; None refuses no deletion."""
    is_custom: bool = False
    """True of a custom resource: no strategic merge patch, and an update states the version that it was made from."""
    protobuf: Message | None = None
    """Shape of the object in protobuf, for kinds that kubectl was built with and creates so; None takes no protobuf."""
    verbs: tuple[str, ...] = ALL_VERBS
    """What clients are told they can do with it; what is in the registry takes all of them."""

    @property
    def api_version(self) -> str:
        """`group/version`, or the version alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        """Kind of a list of these objects."""
        return f"{self.kind}List"

    @property
    def prefix(self) -> str:
        """What every storage key of this resource begins with."""
        return f"{self.group or 'core'}/{self.plural}/"

    @cached_property
    def structure(self) -> Schema:
        """The schema with everything inlined and with ObjectMeta, as merging and field tracking walk it."""
        return structural(self.schema)

    def present(self, raw: bytes) -> bytes:
        """Return an encoded object in this version: versions of one kind differ in their name only.

        Every object is stored with its apiVersion first, so one that needs no change is recognized by its beginning.
        """
        if raw.startswith(self._beginning):
            return raw
        return orjson.dumps({**orjson.loads(raw), "apiVersion": self.api_version})

    def decode(self, raw: bytes) -> Object:
        """Return an encoded object in this version as a value of the caller's own."""
        obj: Object = orjson.loads(raw)
        obj["apiVersion"] = self.api_version
        return obj

    @cached_property
    def _beginning(self) -> bytes:
        return orjson.dumps({"apiVersion": self.api_version})[:-1]

    def key(self, namespace: str | None, name: str) -> str:
        """Return the storage key of one object; cluster-scoped objects stand under `-`."""
        return f"{self.prefix}{(namespace or '-') if self.namespaced else '-'}/{name}"

    def subject(self, name: str, uid: str = "") -> Subject:
        """Return what a request's error is about (the plural names the kind)."""
        return Subject(self.group, self.plural, name, uid)

    def object_subject(self, name: str) -> Subject:
        """Return what an object's error is about (the Kind names the kind)."""
        return Subject(self.group, self.kind, name)

    def not_found(self, name: str) -> NotFound:
        """Return the error for an object of this resource that does not exist."""
        return NotFound.of(self.group, self.plural, name)


class Registry:
    """The resource types of one server. Types may come and go while it runs (custom resources)."""

    def __init__(self) -> None:
        """Start with no types."""
        self._by_plural: dict[tuple[str, str, str], ResourceType] = {}
        self.generation = 0  # grows with every change, so that what was computed from the registry can be kept

    def register(self, rt: ResourceType) -> None:
        """Serve `rt`, in the place of an earlier type of the same group, version and plural."""
        self._by_plural[rt.group, rt.version, rt.plural] = rt
        self.generation += 1

    def unregister(self, rt: ResourceType) -> None:
        """Serve `rt` no more; unknown types are ignored."""
        self._by_plural.pop((rt.group, rt.version, rt.plural), None)
        self.generation += 1

    def by_kind(self, group: str, kind: str) -> ResourceType | None:
        """Return the type of a kind, or None."""
        return next((rt for rt in self._by_plural.values() if rt.group == group and rt.kind == kind), None)

    def by_plural(self, group: str, version: str, plural: str) -> ResourceType | None:
        """Return the type served under a path, or None."""
        return self._by_plural.get((group, version, plural))

    def all(self) -> Iterator[ResourceType]:
        """Iterate over all types in the order of their registration, safely while types come and go."""
        return iter(tuple(self._by_plural.values()))
