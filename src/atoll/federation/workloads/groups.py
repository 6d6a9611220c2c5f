"""The pods of a workload: which groups there are, how many of each, and what one of them is.

Owns the reading of demand out of a workload, by its adapter. It must not know what the pods cost or where they may run.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from atoll.federation.capacity import GPU_RESOURCE, parse_bytes, parse_quantity, requests_of_pod
from atoll.federation.errors import InvalidInput
from atoll.federation.workloads.adapter import Adapter, Amounts, Group, Number, PodParts
from atoll.federation.workloads.paths import find, first, join
from atoll.federation.workloads.registry import adapter_of

Json = Mapping[str, Any]

# Kubernetes' limit for Indexed Jobs (pkg/apis/batch/validation: maxParallelismForIndexedJob).
MAX_PODS = 100_000
# Workloads in workloads: an Experiment of Jobs is two deep; no kind needs more.
_MAX_DEPTH = 3
_JVM_UNITS = {"": "", "k": "Ki", "m": "Mi", "g": "Gi", "t": "Ti", "p": "Pi"}
_JVM_MEMORY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([kmgtp]?)b?")


@dataclass(frozen=True)
class PodGroup:
    """Equal pods that run at once. `pod` is of a pod spec's form; `path` is where it stands in the workload."""

    role: str
    path: str
    count: int
    pod: Json
    takes_gpus: bool = True


@dataclass(frozen=True)
class Place:
    """Where a group stands in a workload: `base` is its place, `root` the workload that it belongs to."""

    group: Group
    root: str
    base: str
    times: int = 1

    def path(self, path: str) -> str:
        """Give a path of the group as one of the whole workload."""
        return join(self.root, path[1:]) if path.startswith("/") else join(self.base, path)


def pod_groups(workload: Json) -> tuple[PodGroup, ...]:
    """Tell which pods a workload is made of; groups of no pods are left out.

    Raises:
        InvalidInput: the kind is not known, a part is missing or malformed; the message names the field.
    """
    adapter = adapter_of(workload)
    groups = [group for _, group in placed_groups(workload)]
    if adapter.in_turns is not None:
        groups = [_largest(groups, turns(workload, adapter.in_turns, len(groups)))]
    total = sum(group.count for group in groups)
    if total > MAX_PODS:
        raise InvalidInput(f"spec: {total} pods at once are too many: {MAX_PODS} is the most")
    if not total:
        raise InvalidInput(f"{groups[0].path}: none of the pods would run: all numbers of replicas are 0")
    return tuple(group for group in groups if group.count)


def check(workload: Json) -> None:
    """Check that a workload's kind is known and that its groups have containers; their numbers are not looked at.

    Raises:
        InvalidInput: it is not so; the message names the field.
    """
    if True not in [_has_containers(workload, place) for place in places(workload)]:
        raise InvalidInput(f"spec: this {adapter_of(workload)} names no pods")


def placed_groups(workload: Json) -> tuple[tuple[Place, PodGroup], ...]:
    """Give every group with its place, those of no pods and those that run in turns too.

    Raises:
        InvalidInput: as `pod_groups`.
    """
    read = [(place, group) for place in places(workload) if (group := _read(workload, place)) is not None]
    if not read:
        raise InvalidInput(f"spec: this {adapter_of(workload)} names no pods")
    # Where some groups ask for GPUs themselves, the others do without.
    asking = [group.takes_gpus and asks_for_gpus(group.pod) for _, group in read]
    if not any(asking):
        return tuple(read)
    return tuple((place, replace(group, takes_gpus=asks)) for (place, group), asks in zip(read, asking, strict=True))


def places(workload: Json) -> tuple[Place, ...]:
    """Find where the groups of a workload stand, those of a workload inside it too.

    Raises:
        InvalidInput: the kind is not known, or a group without which it is malformed is missing.
    """
    return tuple(_places(workload, workload, Place(Group("", ""), "", ""), depth=0))


def _places(workload: Json, inner: Json, outer: Place, *, depth: int) -> Iterator[Place]:
    adapter = _at_its_place(outer.root, inner)
    for group in adapter.groups:
        found = [base for base, _ in find(inner, group.at)]
        if group.is_required and not found:
            raise InvalidInput(f"{join(outer.root, group.at)}: is missing")
        yield from (Place(group, outer.root, join(outer.root, base), outer.times) for base in found)
    if adapter.nested is None:
        return
    root = join(outer.root, adapter.nested.at)
    nested = first(inner, adapter.nested.at)
    if not isinstance(nested, Mapping) or depth == _MAX_DEPTH:
        raise InvalidInput(f"{root}: must be a workload")
    times = outer.times * number(workload, outer, adapter.nested.times)
    yield from _places(workload, nested, Place(Group("", ""), root, root, times), depth=depth + 1)


def _at_its_place(root: str, workload: Json) -> Adapter:
    try:
        return adapter_of(workload)
    except InvalidInput as error:
        raise InvalidInput(f"{root}.{error}" if root else str(error)) from error


def parts_of(workload: Json, place: Place) -> PodParts:
    """Tell which of a group's two forms is used."""
    group = place.group
    if group.otherwise is None or first(workload, place.path(group.parts.pod or "")) is not None:
        return group.parts
    return group.otherwise


def turns(workload: Json, limit: Number, groups: int) -> int:
    """Tell how many pods of groups that run in turns run at once: if it is not said, as many as there are groups."""
    return number(workload, Place(Group("", ""), "", ""), replace(limit, default=groups))


def number(workload: Json, place: Place, wanted: Number) -> int:
    """Read a number of a workload.

    Raises:
        InvalidInput: what stands there is no whole number within bounds; the message names the field.
    """

    def at(path: str | None, least: int = 0) -> int | None:
        return None if path is None else _whole(workload, place.path(path), least)

    value = at(wanted.at, wanted.least)
    value = wanted.default if value is None else value
    if wanted.if_set is not None and first(workload, place.path(wanted.if_set)) is True:
        value = max(value, at(wanted.up_to) or 0)
    value = -(-value // (at(wanted.per, least=1) or 1))
    value = max(value, at(wanted.no_less) or 0)
    most = at(wanted.no_more, wanted.least)
    return (value if most is None else min(value, most)) - wanted.minus


def _whole(workload: Json, path: str, least: int) -> int | None:
    value = first(workload, path)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(MAX_PODS)):
        value = int(value)  # what is written into configuration files is text
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MAX_PODS):
        raise InvalidInput(f"{path}: {value!r} is not allowed: write a whole number, {least} to {MAX_PODS}")
    return value


def _read(workload: Json, place: Place) -> PodGroup | None:
    """Read one group; None where no pods are, such as in a step of a workflow that only orders others."""
    if not _has_containers(workload, place):
        return None
    group, parts = place.group, parts_of(workload, place)
    path = place.path(parts.pod) if parts.pod is not None else place.base
    pod = _pod(workload, place, parts)
    count = math.prod(number(workload, place, factor) for factor in group.count) * place.times
    return PodGroup(_role(workload, place), path, count, pod, group.takes_gpus)


def _has_containers(workload: Json, place: Place) -> bool:
    """Tell whether there are pods at all at a place where there may be; refuse a pod without containers."""
    parts = parts_of(workload, place)
    if parts.amounts is not None:
        return True
    if parts.pod is None:
        path, said = place.path(parts.containers[0]), None
        containers: Any = _all(workload, place, parts.containers)
    else:
        path = place.path(parts.pod)
        said = first(workload, path)
        containers = said.get("containers") if isinstance(said, Mapping) else None
        path = join(path, "containers")
    if isinstance(containers, list | tuple) and containers:
        return True
    if said is not None or place.group.is_required:
        raise InvalidInput(f"{path}: must name at least one container")
    return False


def _pod(workload: Json, place: Place, parts: PodParts) -> Json:
    if parts.pod is not None:
        pod: Json = first(workload, place.path(parts.pod))
        return pod
    if parts.amounts is not None:
        containers: list[Json] = [{"resources": {"requests": _requests(workload, place, parts.amounts)}}]
    else:
        containers = [_container(path, each, parts) for path, each in _all(workload, place, parts.containers)]
    inits = _all(workload, place, (parts.init_containers,) if parts.init_containers else ())
    selector = first(workload, place.path(parts.node_selector))
    return {"containers": containers, "initContainers": [each for _, each in inits], "nodeSelector": selector}


def _all(workload: Json, place: Place, paths: Iterable[str]) -> list[tuple[str, Any]]:
    return [found for path in paths for found in find(workload, place.path(path))]


def _container(path: str, container: Any, parts: PodParts) -> Json:
    resources = first(container, parts.resources) or {}
    for role in ("requests", "limits"):
        amounts = first(resources, role)
        for name, value in amounts.items() if isinstance(amounts, Mapping) else ():
            _quantity(f"{join(path, parts.resources)}.{role}.{name}", value)
    return {"resources": resources}


def _requests(workload: Json, place: Place, amounts: Amounts) -> dict[str, Any]:
    """Read what a pod asks for, as a container's requests."""

    def at(paths: Iterable[str | None]) -> tuple[str, Any]:
        found = ((place.path(path), first(workload, place.path(path))) for path in paths if path is not None)
        return next((each for each in found if each[1] is not None), ("", None))

    path, cpu = at(amounts.cpu)
    requests = {"cpu": _quantity(path, cpu if cpu is not None else amounts.default_cpu)}
    path, memory = at(amounts.memory)
    total = _jvm_bytes(path, memory if memory is not None else amounts.default_memory)
    path, overhead = at((amounts.overhead,))
    factor = _quantity(*at((amounts.overhead_factor_at,))) or amounts.overhead_factor
    least = max(math.ceil(total * float(parse_quantity(factor))), _jvm_bytes("", amounts.overhead_least))
    requests["memory"] = total + (least if overhead is None else _jvm_bytes(path, overhead))
    path, gpus = at((amounts.gpus,))
    if gpus is not None:
        requests[GPU_RESOURCE] = _quantity(path, gpus)
    return requests


def _quantity(path: str, value: Any) -> Any:
    """Check a quantity where it stands, so that an error can name the field."""
    try:
        if value is not None:
            parse_bytes(value)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error
    return value


def _jvm_bytes(path: str, value: Any) -> int:
    """Read an amount of memory as Spark and Flink write it: `512m` and `512mb` are MiB; Kubernetes' way is read too."""
    written = _JVM_MEMORY.fullmatch(str(value).strip().lower())
    if written is not None:
        return parse_bytes(f"{written[1]}{_JVM_UNITS[written[2]]}")
    return parse_bytes(_quantity(path, value))


def _role(workload: Json, place: Place) -> str:
    if place.group.role != "*":
        return place.group.role
    entry = first(workload, place.base)
    names = (entry.get("name"), entry.get("groupName"), first(entry, "metadata.name"))
    return next((str(name) for name in names if name), place.base)


def _largest(groups: list[PodGroup], count: int) -> PodGroup:
    """Merge groups that run in turns: as many pods as may run at once, each as large as the largest."""
    requests: dict[str, int] = {}
    for group in groups:
        for name, amount in _asked(group).items():
            requests[name] = max(requests.get(name, 0), amount)
    written = {name: f"{amount}m" if name == "cpu" else amount for name, amount in requests.items()}
    selectors = [frozenset((group.pod.get("nodeSelector") or {}).items()) for group in groups]
    pod = {
        "containers": [{"resources": {"requests": written}}],
        "nodeSelector": dict(frozenset.intersection(*selectors)),
    }
    return PodGroup("step", groups[0].path, count, pod)


def _asked(group: PodGroup) -> Mapping[str, int]:
    try:
        return requests_of_pod(group.pod)
    except InvalidInput as error:
        raise InvalidInput(f"{group.path}: {error}") from error


def asks_for_gpus(pod: Json) -> bool:
    """Tell whether a pod names GPUs itself."""
    lists = (first(each, path) for each in pod["containers"] for path in ("resources.requests", "resources.limits"))
    return any(isinstance(amounts, Mapping) and GPU_RESOURCE in amounts for amounts in lists)
