"""Who set which field: `metadata.managedFields`.

Owns the entries, their wire form, and how plain writes take over fields; server-side apply's rules are in apply.py.
Pure. Source: KEP-555 and the Kubernetes documentation "Server-Side Apply", field management.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from atoll.kubeapi import fieldset
from atoll.kubeapi.fieldset import FieldSet
from atoll.kubeapi.resource import Object
from atoll.kubeapi.structure import Schema
from atoll.kubeapi.typed import compare

APPLY, UPDATE = "Apply", "Update"
_MAX_UPDATE_MANAGERS = 10  # as in Kubernetes: beyond it the oldest plain writers are folded into one entry
_ANCIENT = "ancient-changes"

_UNTRACKED = (
    ("f:apiVersion",),
    ("f:kind",),
    ("f:metadata", "f:name"),
    ("f:metadata", "f:namespace"),
    ("f:metadata", "f:creationTimestamp"),
    ("f:metadata", "f:selfLink"),
    ("f:metadata", "f:uid"),
    ("f:metadata", "f:generation"),
    ("f:metadata", "f:managedFields"),
    ("f:metadata", "f:resourceVersion"),
    ("f:metadata", "f:deletionTimestamp"),
    ("f:metadata", "f:deletionGracePeriodSeconds"),
)


@dataclass(frozen=True, order=True)
class Manager:
    """Who wrote, and how; the identity of an entry."""

    operation: str
    name: str
    api_version: str
    subresource: str = ""


@dataclass(frozen=True)
class Owned:
    """The fields of one manager and when they changed last."""

    fields: FieldSet
    time: str = ""


Managers = dict[Manager, Owned]


def decode(entries: Iterable[Mapping[str, Any]] | None) -> Managers:
    """Read `managedFields`. Entries that say nothing are left out."""
    managers: Managers = {}
    for entry in entries or ():
        fields = entry.get("fieldsV1")
        if isinstance(fields, dict) and fields:
            manager = Manager(
                str(entry.get("operation", UPDATE)),
                str(entry.get("manager", "")),
                str(entry.get("apiVersion", "")),
                str(entry.get("subresource", "")),
            )
            earlier = managers.get(manager)
            merged = fieldset.union(earlier.fields, fields) if earlier else fields
            managers[manager] = Owned(merged, str(entry.get("time", "")))
    return managers


def encode(managers: Managers) -> list[dict[str, Any]]:
    """Write `managedFields`: appliers first, then by time."""
    ordered = sorted(managers.items(), key=lambda pair: (pair[0].operation, pair[1].time, pair[0]))
    return [_entry(manager, owned) for manager, owned in ordered if owned.fields]


def _entry(manager: Manager, owned: Owned) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "manager": manager.name,
        "operation": manager.operation,
        "apiVersion": manager.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": owned.fields,
    }
    if owned.time:
        entry["time"] = owned.time
    if manager.subresource:
        entry["subresource"] = manager.subresource
    return entry


def tracked(fields: FieldSet) -> FieldSet:
    """Leave out the fields that nobody owns: identity and what the server sets."""
    return fieldset.without(fields, *_UNTRACKED)


def after_write(old: Object, new: Object, managers: Managers, *, writer: Manager, schema: Schema, now: str) -> Managers:
    """Return the managers after a plain write (create, update, patch) by `writer`: it owns all that it changed."""
    comparison = compare(old, new, schema)
    changed, removed = tracked(comparison.changed), tracked(comparison.removed)
    if not changed and not removed:
        return managers
    result = without_fields(managers, fieldset.union(changed, removed))
    mine = result.get(writer, Owned({})).fields
    result[writer] = Owned(fieldset.union(mine, changed), now)
    return _folded({manager: owned for manager, owned in result.items() if owned.fields})


def without_fields(managers: Managers, fields: FieldSet) -> Managers:
    """Take fields from every manager; those that own nothing more are left out."""
    result: Managers = {}
    for manager, owned in managers.items():
        left = fieldset.difference(owned.fields, fields)
        if left:
            result[manager] = owned if left == owned.fields else Owned(left, owned.time)
    return result


def _folded(managers: Managers) -> Managers:
    updaters = sorted(
        (manager for manager in managers if manager.operation == UPDATE), key=lambda manager: managers[manager].time
    )
    surplus = (
        updaters[: max(0, len(updaters) - _MAX_UPDATE_MANAGERS + 1)] if len(updaters) > _MAX_UPDATE_MANAGERS else []
    )
    if not surplus:
        return managers
    kept = {manager: owned for manager, owned in managers.items() if manager not in surplus}
    ancient = Manager(UPDATE, _ANCIENT, surplus[-1].api_version)
    for manager in surplus:
        earlier = kept.get(ancient, Owned({}))
        kept[ancient] = Owned(fieldset.union(earlier.fields, managers[manager].fields), managers[manager].time)
    return kept


def set_on(obj: Object, managers: Managers) -> None:
    """Write `managers` into an object; no managers leave no field."""
    entries = encode(managers)
    if entries:
        obj["metadata"]["managedFields"] = entries
    else:
        obj["metadata"].pop("managedFields", None)
