"""What a job adds to the pods of its workload: mounts, GPUs, node requirements; and what its kind has fixed.

Owns where these stand in each kind. What is added is the hub's to say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.federation.capacity import GPU_RESOURCE
from atoll.federation.errors import InvalidInput
from atoll.federation.workloads.adapter import PodParts
from atoll.federation.workloads.editing import Manifest, copied, roots
from atoll.federation.workloads.groups import Place, parts_of, placed_groups, turns
from atoll.federation.workloads.paths import find, first, join, put

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Additions:
    """What is added to pods: to all of them, and GPUs with their requirements to those that take any.

    Attributes:
        volumes: as in a pod spec.
        mounts, env: as in a container, and into every container.
        grace_seconds: how long pods may take to end; None: as they say.
        gpus: GPUs of each pod, where it does not name them itself; None: as the workload says.
        node_terms: `matchExpressions` that the nodes of pods with GPUs must satisfy.
    """

    volumes: Sequence[Json] = ()
    mounts: Sequence[Json] = ()
    env: Sequence[Json] = ()
    grace_seconds: int | None = None
    gpus: int | None = None
    node_terms: Sequence[Json] = ()


def with_additions(workload: Json, additions: Additions) -> Manifest:
    """Add to the pods of a workload, and write what Atoll has fixed for its kind.

    Raises:
        InvalidInput: a part of the workload is malformed; the message names it.
    """
    pen = _Pen(copied(workload), set())
    _fix(pen.root)
    for place, group in placed_groups(pen.root):
        parts = parts_of(pen.root, place)
        pen.extend(place.path(parts.volumes), additions.volumes)
        for container in _containers(pen.root, place, parts):
            pen.extend(f"{container}.volumeMounts", additions.mounts)
            pen.extend(f"{container}.env", additions.env)
        if additions.grace_seconds is not None and parts.grace is not None:
            put(pen.root, place.path(parts.grace), additions.grace_seconds)
        if group.takes_gpus:
            _demand(pen, place, parts, additions)
    return pen.root


@dataclass(frozen=True)
class _Pen:
    """A workload under hand. Places that groups share, such as the volumes of a whole application, are written once."""

    root: Manifest
    written: set[str]

    def is_new(self, path: str) -> bool:
        """Tell whether a path was not written yet, and take it as written."""
        is_new = path not in self.written
        self.written.add(path)
        return is_new

    def extend(self, path: str, items: Sequence[Json]) -> None:
        """Add to a list; what the user wrote there stays."""
        if not items or not self.is_new(path):
            return
        standing = first(self.root, path) or []
        if not isinstance(standing, list):
            raise InvalidInput(f"{path}: must be a list")
        put(self.root, path, [*standing, *(dict(item) for item in items)])


def _fix(root: Manifest) -> None:
    for base, adapter in roots(root):
        for path, value in adapter.fixed.items():
            put(root, join(base, path), value)
        for condition, values in adapter.fixed_if.items():
            if first(root, join(base, condition)) is not None:
                for path, value in values.items():
                    put(root, join(base, path), value)
        if adapter.in_turns is not None:
            path = join(base, adapter.in_turns.at)
            put(root, path, turns(root, adapter.in_turns, len(placed_groups(root))))


def _containers(root: Manifest, place: Place, parts: PodParts) -> list[str]:
    if parts.patch is not None:
        return [place.path(parts.patch)]
    paths = (*parts.containers, *((parts.init_containers,) if parts.init_containers else ()))
    return [found for path in paths for found, _ in find(root, place.path(path))]


def _demand(pen: _Pen, place: Place, parts: PodParts, additions: Additions) -> None:
    if additions.gpus is not None:
        _ask_for_gpus(pen.root, place, parts, additions.gpus)
    if not additions.node_terms:
        return
    path = place.path(parts.affinity)
    affinity = first(pen.root, path)
    if affinity is None and parts.affinity_else is not None:
        affinity = first(pen.root, place.path(parts.affinity_else))
    if pen.is_new(path):
        put(pen.root, path, _requiring(affinity, path, additions.node_terms))


def _ask_for_gpus(root: Manifest, place: Place, parts: PodParts, count: int) -> None:
    """Ask for GPUs in the first container, which is the one that matters, unless it asks itself."""
    if parts.amounts is not None:
        if parts.amounts.gpus is not None and first(root, place.path(parts.amounts.gpus)) is None:
            put(root, place.path(parts.amounts.gpus), count)
            if parts.amounts.gpu_name is not None:
                put(root, place.path(parts.amounts.gpu_name), GPU_RESOURCE)
        return
    container = next(path for each in parts.containers for path, _ in find(root, place.path(each)))
    limit = join(container, f'{parts.resources}.limits["{GPU_RESOURCE}"]')
    if first(root, limit) is None:
        put(root, limit, str(count))


def _requiring(affinity: Any, path: str, terms: Sequence[Json]) -> Manifest:
    """Add terms to every alternative of a required node affinity: alternatives are ORed, terms are ANDed."""
    result = copied(affinity) if isinstance(affinity, Mapping) else {}
    required = "nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    alternatives = first(result, required) or [{}]
    if not isinstance(alternatives, list) or not all(isinstance(each, Mapping) for each in alternatives):
        raise InvalidInput(f"{path}: must be of the form of an affinity")
    put(
        result,
        required,
        [{**each, "matchExpressions": [*(each.get("matchExpressions") or ()), *terms]} for each in alternatives],
    )
    return result
