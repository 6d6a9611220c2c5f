"""Which kinds are known, and how a kind that is not known says of itself where everything stands.

Owns the annotations of workloads of other kinds (docs/workloads.md). All of them are paths.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from atoll.federation.errors import InvalidInput
from atoll.federation.workloads import engines, kubernetes, training
from atoll.federation.workloads.adapter import Adapter, Group, Number, StatePhase, Suspend, When, pod_template
from atoll.federation.workloads.paths import parse

ADAPTERS: Mapping[tuple[str, str], Adapter] = {
    (adapter.api_version, adapter.kind): adapter for adapter in (*kubernetes.KINDS, *training.KINDS, *engines.KINDS)
}

POD_TEMPLATES = "atoll.dev/pod-templates"
POD_COUNTS = "atoll.dev/pod-counts"
SUSPEND = "atoll.dev/suspend"
TIME_LIMIT = "atoll.dev/time-limit"
_STATUS = "atoll.dev/status-"
_REASON, _MESSAGE = f"{_STATUS}reason", f"{_STATUS}message"
_PHASES: Mapping[StatePhase, str] = {phase: f"{_STATUS}{phase.lower()}" for phase in ("Succeeded", "Failed", "Running")}
_WORDS = (POD_TEMPLATES, POD_COUNTS, SUSPEND, TIME_LIMIT, _REASON, _MESSAGE, *_PHASES.values())


def known_kinds() -> tuple[tuple[str, str], ...]:
    """Name every kind that is known: apiVersion and kind."""
    return tuple(ADAPTERS)


def is_adapted(api_version: str, kind: str) -> bool:
    """Tell whether a kind is known without annotations."""
    return (api_version, kind) in ADAPTERS


def adapter_of(workload: Mapping[str, Any]) -> Adapter:
    """Find how a workload's kind is mapped: a known kind by its name, any other by its annotations.

    Raises:
        InvalidInput: the kind is not known and does not say where its pods are, or an annotation is malformed.
    """
    api_version, kind = workload.get("apiVersion"), workload.get("kind")
    if not isinstance(api_version, str) or not isinstance(kind, str):
        raise InvalidInput("kind: apiVersion and kind must be given as text")
    known = ADAPTERS.get((api_version, kind))
    if known is not None:
        return known
    metadata = workload.get("metadata")
    annotations = (metadata.get("annotations") if isinstance(metadata, Mapping) else None) or {}
    if not isinstance(annotations, Mapping) or POD_TEMPLATES not in annotations:
        raise InvalidInput(
            f"kind: of {kind} ({api_version}) nothing is known; known are {', '.join(map(str, ADAPTERS.values()))}. "
            f"Any other needs the annotation {POD_TEMPLATES} in its metadata, such as worker=spec.workers[*].template"
        )
    return _annotated(
        api_version, kind, tuple((word, str(annotations[word])) for word in _WORDS if word in annotations)
    )


@lru_cache(maxsize=256)
def _annotated(api_version: str, kind: str, annotations: tuple[tuple[str, str], ...]) -> Adapter:
    given = dict(annotations)
    templates, counts = _pairs(given, POD_TEMPLATES), _pairs(given, POD_COUNTS)
    if unknown := sorted(set(counts) - set(templates)):
        raise InvalidInput(f"metadata.annotations[{POD_COUNTS}]: {unknown[0]} is not among {POD_TEMPLATES}")
    return Adapter(
        api_version,
        kind,
        plural=f"{kind.lower()}s",
        groups=tuple(_group(role, path, counts.get(role)) for role, path in templates.items()),
        is_gang=True,
        suspend=Suspend(_path(given, SUSPEND)) if SUSPEND in given else None,
        status=tuple(_when(given, phase, word) for phase, word in _PHASES.items() if word in given),
        time_limit=_path(given, TIME_LIMIT) if TIME_LIMIT in given else None,
    )


def _group(role: str, template: str, count: str | None) -> Group:
    """See template and count from the last place that they share, if that is one of many."""
    before, many, after = template.rpartition("[*]")
    at = before + many
    if count is not None:
        inside = at and count.startswith(at)
        count = count[len(at) :].removeprefix(".") if inside else f"/{count}"
    numbers = () if count is None else (Number(count),)
    return Group(role, at, pod_template(after.removeprefix(".")), count=numbers, is_required=True)


def _when(given: Mapping[str, str], phase: StatePhase, word: str) -> When:
    path, _, values = given[word].rpartition("=")
    # A filter has a `=` too: without values after it, the path has none.
    if not path or "]" in values:
        raise InvalidInput(f"metadata.annotations[{word}]: write path=value, such as status.phase=Done")
    _checked(word, path)
    reason, message = (_path(given, each) if each in given else "" for each in (_REASON, _MESSAGE))
    return When(phase, path, frozenset(value.strip() for value in values.split(",")), reason, message)


def _pairs(given: Mapping[str, str], word: str) -> dict[str, str]:
    """Read `role=path, role=path`."""
    pairs: dict[str, str] = {}
    for part in given.get(word, "").split(","):
        role, _, path = part.strip().partition("=")
        if part.strip():
            pairs[role] = _checked(word, path)
    if not pairs and word in given:
        raise InvalidInput(f"metadata.annotations[{word}]: write role=path, such as worker=spec.workers[*].template")
    return pairs


def _path(given: Mapping[str, str], word: str) -> str:
    return _checked(word, given[word])


def _checked(word: str, path: str) -> str:
    try:
        if parse(path):
            return path
    except InvalidInput as error:
        raise InvalidInput(f"metadata.annotations[{word}]: {error}") from error
    raise InvalidInput(f"metadata.annotations[{word}]: a path is missing")
