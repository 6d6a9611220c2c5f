"""The examples of every kind of workload, filled with all that Atoll may write, and schemas to hold them against."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from atoll.federation.workloads import (
    Additions,
    Engine,
    adapter_of,
    can_suspend,
    with_additions,
    with_engine,
    with_labels,
    with_suspend,
    with_time_limit,
)
from atoll.federation.workloads.paths import Each, Index, Key, Step, Where, parse

EXAMPLES = Path(__file__).parents[2] / "examples" / "workloads"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.yaml"))
LABELS = {"atoll.dev/run": "r-1"}
ADDITIONS = Additions(
    volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    mounts=[{"name": "data", "mountPath": "/data", "subPath": "d/v1", "readOnly": True}],
    env=[{"name": "ATOLL", "value": "1"}],
    grace_seconds=7,
    gpus=2,
    node_terms=[{"key": "nvidia.com/gpu.product", "operator": "In", "values": ["A100"]}],
)


def job(name: str) -> dict[str, Any]:
    """Give the example of a kind: a Job of Atoll's."""
    loaded: dict[str, Any] = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    return loaded


def workload(name: str) -> dict[str, Any]:
    """Give the workload in an example, named as a run."""
    given: dict[str, Any] = job(name)["spec"]["workload"]
    return {**given, "metadata": {**given.get("metadata", {}), "name": "r-1"}}


def filled(name: str) -> dict[str, Any]:
    """Give the workload in an example with all that Atoll may write into it."""
    result = with_labels(
        with_time_limit(with_additions(workload(name), ADDITIONS), 60), LABELS, {"atoll.dev/epoch": "1"}
    )
    if can_suspend(result):
        result = with_suspend(result, True)
    for engine in ("Volcano", "YuniKorn", *(("Kueue",) if adapter_of(result).kueue else ())):
        result = with_engine(result, Engine(engine, "lab"))
    return result


def lost(given: Any, kept: Any, path: str = "") -> Iterator[str]:
    """Name every field that is not in what a schema kept of a manifest."""
    if isinstance(given, Mapping):
        for key, value in given.items():
            inner = kept.get(key) if isinstance(kept, Mapping) else None
            yield from lost(value, inner, f"{path}.{key}") if inner is not None or value is None else [f"{path}.{key}"]
    elif isinstance(given, list):
        for number, value in enumerate(given):
            inner = kept[number] if isinstance(kept, list) and number < len(kept) else None
            yield from lost(value, inner, f"{path}[{number}]")


_TYPES = {"string": str, "boolean": bool, "integer": int, "number": (int, float), "object": dict, "array": list}


def violations(value: Any, schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Name every field of a manifest that a CRD's schema (apiextensions/v1 JSONSchemaProps) does not want so."""
    if schema.get("x-kubernetes-int-or-string") or "type" not in schema:
        return
    if not isinstance(value, _TYPES[schema["type"]]):
        yield f"{path}: {value!r} is no {schema['type']}"
    elif isinstance(value, dict):
        yield from (f"{path}.{name} is missing" for name in schema.get("required", ()) if name not in value)
        for key, child in value.items():
            below = _below(schema, Key(key))
            yield from [f"{path}.{key} is unknown"] if below is None else violations(child, below, f"{path}.{key}")
    elif isinstance(value, list):
        for number, child in enumerate(value):
            yield from violations(child, schema["items"], f"{path}[{number}]")


def leads_somewhere(schema: Mapping[str, Any] | None, path: str) -> bool:
    """Tell whether a path is one of a schema."""
    for step in parse(path):
        schema = None if schema is None else _below(schema, step)
    return schema is not None


def _below(schema: Mapping[str, Any], step: Step) -> Mapping[str, Any] | None:
    if not schema:  # says nothing, so that anything may stand there
        return {}
    entries = schema.get("additionalProperties")
    entries = entries if isinstance(entries, Mapping) else None
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("additionalProperties") is True
    match step:
        case Key(name):
            known = schema.get("properties", {}).get(name, entries)
        case Where(field, _):
            known = schema.get("items")
            known = known if known is None or _below(known, Key(field)) is not None else None
        case Each() | Index():
            known = schema.get("items", entries)
    return {} if known is None and is_open else known
