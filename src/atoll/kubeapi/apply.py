"""Server-side apply: lay a manager's configuration over the live object, and say whom it conflicts with.

Owns the decision only; reading, admission and writing are the store's. Pure.
Source: KEP-555; sigs.k8s.io/structured-merge-diff, merge.Updater.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from atoll.kubeapi import fieldset, typed
from atoll.kubeapi.errors import Cause, Conflict, Subject
from atoll.kubeapi.fieldset import FieldSet
from atoll.kubeapi.managed_fields import APPLY, UPDATE, Manager, Managers, Owned, tracked, without_fields
from atoll.kubeapi.resource import Object
from atoll.kubeapi.structure import Schema

_BEFORE = "before-first-apply"


@dataclass(frozen=True)
class Application:
    """What one apply asks: who applies which configuration, and whether it takes what others own."""

    manager: Manager
    config: Object
    force: bool
    now: str


@dataclass(frozen=True)
class Applied:
    """The object and its managers after an apply."""

    obj: Object
    managers: Managers


def apply(live: Object, managers: Managers, application: Application, *, schema: Schema, subject: Subject) -> Applied:
    """Apply a configuration to `live` (with nothing in it if it does not exist yet).

    Raises Conflict, with one cause for each field that another manager owns with another value, unless forced.
    """
    config = without_nulls(application.config)
    manager = application.manager
    managers = managers or _owners_before_apply(live, manager, schema)
    everything_stated = typed.field_set(config, schema)  # identity too: it keeps `metadata` from being pruned
    stated = tracked(everything_stated)
    last = managers.get(manager)
    others = {other: owned for other, owned in managers.items() if other != manager}
    merged = typed.merge(live, config, schema)
    if last is not None:
        merged = _prune(merged, last.fields, [everything_stated, *(owned.fields for owned in others.values())], schema)
    comparison = typed.compare(live, merged, schema)
    conflicts = _conflicts(others, tracked(comparison.changed))
    if conflicts and not application.force:
        raise _conflict(conflicts, others, subject)
    result = without_fields(others, fieldset.union(comparison.changed, comparison.removed))
    if last is not None and last.fields == stated and comparison.is_same:
        result[manager] = last
    elif stated:
        result[manager] = Owned(stated, application.now)
    return Applied(merged, result)


def without_nulls(value: Any) -> Any:
    """Drop the fields that are null: in a configuration they state nothing."""
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def _owners_before_apply(live: Object, manager: Manager, schema: Schema) -> Managers:
    """Give an object without managers one that owns all of it, so that the first apply asks before it takes."""
    fields = tracked(typed.field_set(live, schema))
    if not fields:
        return {}
    return {replace(manager, operation=UPDATE, name=_BEFORE): Owned(fields)}


def _prune(merged: Object, last: FieldSet, kept: list[FieldSet], schema: Schema) -> Object:
    """Remove what the manager applied last time and neither it nor anyone else states now."""
    still = reduce(fieldset.union, (fieldset.named_containers_are_members(fields) for fields in kept), FieldSet())
    gone = fieldset.difference(fieldset.named_containers_are_members(last), still)
    pruned: Object = typed.remove(merged, gone, schema)
    return pruned


def _conflicts(others: Managers, changed: FieldSet) -> dict[Manager, FieldSet]:
    shared = {manager: fieldset.intersection(owned.fields, changed) for manager, owned in others.items()}
    return {manager: fields for manager, fields in shared.items() if fields}


def _conflict(conflicts: dict[Manager, FieldSet], others: Managers, subject: Subject) -> Conflict:
    causes: list[Cause] = []
    listed: list[str] = []
    for manager in sorted(conflicts):
        who = _described(manager, others[manager].time)
        names = [fieldset.readable(path) for path in fieldset.paths(conflicts[manager])]
        causes += [Cause(name, f"conflict with {who}", "FieldManagerConflict") for name in names]
        listed += [f"conflicts with {who}:", *(f"- {name}" for name in names)]
    if len(causes) == 1:
        message = f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}"
    else:
        message = f"Apply failed with {len(causes)} conflicts: " + "\n".join(listed)
    return Conflict(message, causes=causes, subject=subject)


def _described(manager: Manager, time: str) -> str:
    text = f'"{manager.name}"'
    if manager.subresource:
        text += f' with subresource "{manager.subresource}"'
    if manager.operation == APPLY:
        return text
    return f"{text} using {manager.api_version}" + (f" at {time}" if time else "")
