"""Drift: does an object in a cluster still say what Atoll put there, and who changed it. Pure.

Compares meaning, not text: what an API server fills in (defaults, status, its own metadata) is no drift; a rule added
by hand is. It must not decide what to do about it.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from atoll.policies.manifest import CILIUM_POLICIES, NETWORK_POLICY, Manifest
from atoll.policies.validation.cilium_rules import DIRECTIONS, rules_of

FIELD_MANAGER = "atoll"

_Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Drift:
    """How a live object differs from the desired one.

    Attributes:
        changed_paths: fields that were changed, added or removed; empty if the whole object is gone.
        managers: field managers other than Atoll that wrote these fields, or failing that the last that wrote at all;
            empty if the API server does not say (it keeps no record of who removed a field or an object).
        at: when they last did (UTC), if known.
    """

    kind: str
    namespace: str | None
    name: str
    reason: Literal["Modified", "Deleted"]
    changed_paths: tuple[str, ...]
    managers: tuple[str, ...] = ()
    at: datetime | None = None


def find_drift(desired: Manifest, live: Mapping[str, Any] | None) -> Drift | None:
    """Compare a live object (None: it is not there) with what it should be; None if they agree."""
    if live is None:
        return Drift(desired.kind, desired.namespace, desired.name, "Deleted", ())
    paths = set(_differences(desired.kind, desired.body, live))
    if not paths:
        return None
    writers = _writers(live, paths)
    return Drift(
        kind=desired.kind,
        namespace=desired.namespace,
        name=desired.name,
        reason="Modified",
        changed_paths=tuple(sorted(_written(path) for path in paths)),
        managers=tuple(sorted({name for name, _ in writers})),
        at=max((moment for _, moment in writers if moment), default=None),
    )


def _differences(kind: str, desired: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[_Path]:
    yield from _diff(_canonical(kind, desired), _canonical(kind, live), ())
    for section in ("labels", "annotations"):
        own = desired["metadata"].get(section) or {}
        there = live.get("metadata", {}).get(section) or {}
        # Others may add labels and annotations of their own: only ours must be as we wrote them.
        yield from (("metadata", section, key) for key, value in own.items() if there.get(key) != value)


def _diff(wanted: object, found: object, path: _Path) -> Iterator[_Path]:
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in wanted.keys() | found.keys():
            yield from _diff(wanted.get(key), found.get(key), (*path, key))
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from _diff(one, other, (*path, index))
    elif wanted != found:
        yield path


def _written(path: _Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def _canonical(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Give a copy with the defaults that an API server would fill in."""
    copy: dict[str, Any] = json.loads(json.dumps({name: body[name] for name in ("spec", "specs") if name in body}))
    if kind == NETWORK_POLICY and isinstance(copy.get("spec"), dict):
        copy["spec"] = _network_policy_defaults(copy["spec"])
    elif kind in CILIUM_POLICIES:
        for _, rule in rules_of(copy):
            _cilium_defaults(rule)
    return copy


def _network_policy_defaults(spec: dict[str, Any]) -> dict[str, Any]:
    """Apply networking/v1 defaults: TCP, and policyTypes by the sections given (SetDefaults_NetworkPolicy)."""
    types = spec.pop("policyTypes", None) or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction) or []:
            for port in rule.get("ports") or []:
                port.setdefault("protocol", "TCP")
    pruned = _without_empty(spec)
    result: dict[str, Any] = pruned if isinstance(pruned, dict) else {}
    return {"podSelector": {}, **result, "policyTypes": sorted(types)}


def _without_empty(value: object) -> object:
    """Drop empty lists, empty matchLabels and nulls: the typed API server leaves them out when it stores."""
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    if isinstance(value, dict):
        kept = {name: _without_empty(member) for name, member in value.items()}
        return {name: member for name, member in kept.items() if not _leaves_out(name, member)}
    return value


def _leaves_out(name: str, member: object) -> bool:
    return member is None or member == [] or (name == "matchLabels" and not member)


def _cilium_defaults(rule: Mapping[str, Any]) -> None:
    """Apply the CRD's only default: ICMP is IPv4 unless it says otherwise."""
    for direction in DIRECTIONS:
        for item in rule.get(direction) or []:
            for icmp in item.get("icmps") or []:
                for field in icmp.get("fields") or []:
                    field.setdefault("family", "IPv4")


def _writers(live: Mapping[str, Any], paths: Iterable[_Path]) -> list[tuple[str, datetime | None]]:
    """Find who wrote the changed fields. A removed field has no owner: then name the last foreign writer."""
    entries = [entry for entry in _managed(live) if entry.get("manager") != FIELD_MANAGER]
    owners = [entry for entry in entries if any(_owns(entry.get("fieldsV1"), path) for path in paths)]
    if not owners and entries:
        owners = [max(entries, key=lambda entry: str(entry.get("time", "")))]
    return [(str(entry["manager"]), _moment(entry.get("time"))) for entry in owners if entry.get("manager")]


def _managed(live: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    entries = live.get("metadata", {}).get("managedFields") or []
    return [entry for entry in entries if entry.get("subresource", "") == ""]


def _owns(fields: object, path: _Path) -> bool:
    """Say whether a fieldsV1 tree reaches a path. Lists are atomic in policies, so it may end above the path."""
    node = fields
    for step in itertools.takewhile(lambda step: isinstance(step, str), path):
        if not isinstance(node, Mapping) or f"f:{step}" not in node:
            return False
        node = node[f"f:{step}"]
        if not node:
            return True
    return True


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
