"""What runs in the cluster as policies see it: distinct sets of labels with how many pods bear each, in chunks. Pure.

A chunk holds the namespaces whose names hash to it, so that what changes in one namespace is told without the others.
"""

import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from atoll.edge.member.objects import labels_of
from atoll.federation.resources.labelsets import LabelSet
from atoll.policies.identity import is_dropped

Json = Mapping[str, Any]

CHUNKS = 8
# A set is some 300 bytes: with so many a chunk is cut into parts by the bus, and a plan still takes seconds.
MAX_SETS = 10_000
# Labels whose value is the name of one object, made up anew for each: what a policy can mean is that they are there.
# With their values each job would be a set of its own, told when it comes and when it goes.
_NAMES_OF_ONE = frozenset(
    {
        *("job-name", "batch.kubernetes.io/job-name", "atoll.dev/run", "jobset.sigs.k8s.io/job-key"),
        *("workflows.argoproj.io/workflow", "spark-app-selector", "spark-exec-id", "ray.io/cluster"),
    }
)
_METADATA_NAME = "kubernetes.io/metadata.name"  # every namespace has it, and it is its name
_EXACT_BELOW = 20


@dataclass(frozen=True)
class PodLabels:
    """What policies see of a pod. Pods of one template share one of these."""

    namespace: str
    labels: tuple[tuple[str, str], ...]
    service_account: str
    ports: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Chunk:
    """The sets of some namespaces."""

    namespaces: Mapping[str, Mapping[str, str]]
    sets: tuple[LabelSet, ...]
    omitted_sets: int
    omitted_pods: int


def project_labels(pod: Json) -> PodLabels | None:
    """Keep what policies see of a pod; None of one on its node's own network, which has no identity of its own."""
    spec = pod.get("spec") or {}
    if spec.get("hostNetwork"):
        return None
    ports = {
        str(port["name"]): f"{port.get('containerPort', 0)}/{port.get('protocol', 'TCP')}"
        for container in spec.get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("name")
    }
    kept = {
        key: "" if key in _NAMES_OF_ONE else str(value) for key, value in labels_of(pod).items() if not is_dropped(key)
    }
    account = spec.get("serviceAccountName") or "default"
    return _shared(orjson.dumps([pod["metadata"]["namespace"], kept, account, ports], option=orjson.OPT_SORT_KEYS))


@lru_cache(maxsize=16_384)
def _shared(said: bytes) -> PodLabels:
    """Give the pods of one template the same object: 100,000 of them are of a few thousand templates."""
    namespace, labels, account, ports = orjson.loads(said)
    return PodLabels(namespace, tuple(labels.items()), account, tuple(ports.items()))


def project_namespace(namespace: Json) -> Mapping[str, str]:
    """Keep the labels of a namespace."""
    return {key: value for key, value in labels_of(namespace).items() if key != _METADATA_NAME}


def chunks(counted: Mapping[PodLabels, int], namespaces: Mapping[str, Mapping[str, str]]) -> Iterator[Chunk]:
    """Give all chunks, those with nothing in them too: what they held before is over."""
    kept, omitted = _bounded(counted)
    sets, left_out = _by_chunk(kept), _by_chunk(omitted)
    for number in range(CHUNKS):
        mine = sorted(sets[number], key=lambda item: (item[0].namespace, item[0].labels, item[0].ports))
        yield Chunk(
            {name: labels for name, labels in sorted(namespaces.items()) if chunk_of(name) == number},
            tuple(_set(pods, count) for pods, count in mine),
            len(left_out[number]),
            sum(count for _, count in left_out[number]),
        )


def chunk_of(namespace: str) -> int:
    """Give the chunk in which a namespace is told."""
    return zlib.crc32(namespace.encode()) % CHUNKS


_Counted = list[tuple[PodLabels, int]]


def _bounded(counted: Mapping[PodLabels, int]) -> tuple[_Counted, _Counted]:
    """Divide the sets into those that are told and, where they are too many, the smallest ones."""
    if len(counted) <= MAX_SETS:
        return list(counted.items()), []
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0].namespace, item[0].labels))
    return ordered[:MAX_SETS], ordered[MAX_SETS:]


def _by_chunk(counted: Iterable[tuple[PodLabels, int]]) -> Mapping[int, _Counted]:
    found: dict[int, _Counted] = defaultdict(list)
    for pods, count in counted:
        found[chunk_of(pods.namespace)].append((pods, count))
    return found


def _set(pods: PodLabels, count: int) -> LabelSet:
    return LabelSet(
        namespace=pods.namespace,
        labels=dict(pods.labels),
        service_account=pods.service_account,
        ports=dict(pods.ports),
        pods=rounded(count),
    )


def rounded(count: int) -> int:
    """Give a count that does not change with every pod that comes or goes: exact below 20, then to two digits."""
    if count < _EXACT_BELOW:
        return count
    unit = int(10 ** (len(str(count)) - 2))
    return (count + unit // 2) // unit * unit
