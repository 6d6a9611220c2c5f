"""Pods: what the agent keeps of each, and what they take of their nodes. Pure.

A pod is some hundred bytes here, and pods of one template share what they ask for, so that 100,000 fit in memory.
"""

from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import Any, Self

import orjson

from atoll.edge.member.inventory.engines import engine_of_pod
from atoll.edge.member.inventory.labelsets import PodLabels, project_labels
from atoll.edge.member.objects import RUN_LABEL, labels_of
from atoll.edge.member.run_status import Spent, spent_when_ended
from atoll.federation.capacity import requests_of_pod
from atoll.federation.errors import InvalidInput

Json = Mapping[str, Any]
Amounts = Mapping[str, int]

_HELD = ("name", "resources", "allocatedResources")
# The Job controller labels every pod with its Job's name (batch/v1 JobNameLabel, Kubernetes 1.27).
_JOB_NAME_LABEL = "batch.kubernetes.io/job-name"
POD = {"pods": 1}  # beside what it asks for, a pod takes one of the places that its kubelet has


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One pod: what it takes from which node, and of which run (`namespace/name`) it is.

    `cilium_version` is set on the pods of Cilium's agent only, `engine` on those of a batch engine, `spent` on those
    of runs that have ended. `is_ending`: somebody has stopped it. `labels`: what policies see of it, if anything.
    """

    node: str
    requests: Amounts
    is_live: bool
    run: str
    cilium_version: str = ""
    engine: str = ""
    spent: Spent | None = None
    is_ending: bool = False
    labels: PodLabels | None = None


def project_pod(pod: Json) -> PodFacts:
    """Keep what an inventory and the runs need of a pod; one that has ended takes nothing."""
    spec, status, labels = pod.get("spec") or {}, pod.get("status") or {}, labels_of(pod)
    is_live, run = status.get("phase") not in ("Succeeded", "Failed"), _run_of(pod)
    return PodFacts(
        node=intern(str(spec.get("nodeName") or "")),
        requests=_requests(spec, status) if is_live else {},
        is_live=is_live,
        run=run,
        cilium_version=_image_version(spec) if labels.get("k8s-app") == "cilium" else "",
        engine=engine_of_pod(pod),
        spent=spent_when_ended(pod) if run and not is_live else None,
        is_ending=bool(run) and "deletionTimestamp" in pod["metadata"],
        labels=project_labels(pod) if is_live else None,
    )


def _run_of(pod: Json) -> str:
    """Name the run by the label of every template that the hub compiles; a Job bears its run's name besides."""
    labels = labels_of(pod)
    name = labels.get(RUN_LABEL) or labels.get(_JOB_NAME_LABEL)
    return f"{pod['metadata']['namespace']}/{name}" if name else ""


class PodTally:
    """What all pods together take, kept up to date pod by pod: to sum up 100,000 at every change would cost a core.

    A pod that is deleted takes its share until it is gone.
    """

    def __init__(self) -> None:
        self._counted: dict[str, PodFacts] = {}
        self._used: dict[str, dict[str, int]] = {}
        self._runs: Counter[str] = Counter()
        self._cilium_versions: Counter[str] = Counter()
        self._engines: Counter[str] = Counter()
        self._labels: Counter[PodLabels] = Counter()

    @classmethod
    def of(cls, pods: Mapping[str, PodFacts]) -> Self:
        """Count pods by their keys."""
        tally = cls()
        for key, pod in pods.items():
            tally.put(key, pod)
        return tally

    def put(self, key: str, pod: PodFacts | None) -> None:
        """Count a pod as it is now; None says that it is gone."""
        if old := self._counted.pop(key, None):
            self._add(old, -1)
        if pod is not None and pod.is_live and pod.node:
            self._counted[key] = pod
            self._add(pod, 1)

    def used(self, node: str) -> Amounts:
        """Tell what is taken of a node."""
        return self._used.get(node, {})

    @property
    def runs(self) -> Set[str]:
        """The runs that have live pods on nodes."""
        return self._runs.keys()

    def of_run(self, run: str) -> int:
        """Count a run's live pods on nodes."""
        return self._runs[run]

    @property
    def engines(self) -> Set[str]:
        """Which batch engines have a pod on a node."""
        return self._engines.keys()

    @property
    def labels(self) -> Mapping[PodLabels, int]:
        """How many live pods on nodes bear each set of labels."""
        return self._labels

    @property
    def cilium_versions(self) -> Set[str]:
        """Which versions of Cilium's agent run."""
        return self._cilium_versions.keys()

    def _add(self, pod: PodFacts, times: int) -> None:
        used = self._used.setdefault(pod.node, {})
        for name, amount in pod.requests.items():
            used[name] = used.get(name, 0) + amount * times
        if not used.get("pods"):
            del self._used[pod.node]
        named = (self._runs, pod.run), (self._cilium_versions, pod.cilium_version), (self._engines, pod.engine)
        for counter, name in named:
            if name:
                counter[name] += times
                if not counter[name]:
                    del counter[name]
        if pod.labels is not None:
            self._labels[pod.labels] += times
            if not self._labels[pod.labels]:
                del self._labels[pod.labels]


def _requests(spec: Json, status: Json) -> Amounts:
    said = {
        "spec": {
            "initContainers": _each(spec, "initContainers", ("name", "resources", "restartPolicy")),
            "containers": _each(spec, "containers", ("name", "resources")),
            "resources": spec.get("resources"),
            "overhead": spec.get("overhead"),
        },
        "status": {
            "initContainerStatuses": _each(status, "initContainerStatuses", _HELD),
            "containerStatuses": _each(status, "containerStatuses", _HELD),
            "conditions": [
                {"type": entry.get("type"), "reason": entry.get("reason")}
                for entry in status.get("conditions") or ()
                if entry.get("type") == "PodResizePending"
            ],
        },
    }
    return _requests_of(orjson.dumps(said))


def _each(parent: Json, field: str, names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{name: entry[name] for name in names if name in entry} for entry in parent.get(field) or ()]


@lru_cache(maxsize=4096)
def _requests_of(said: bytes) -> Amounts:
    """Compute once what the pods of one template ask for: reading quantities is most of the cost of reading a pod."""
    pod = orjson.loads(said)
    try:
        return requests_of_pod(pod["spec"], pod["status"]) | POD
    except InvalidInput:  # no API server admits such a pod
        return POD


def _image_version(spec: Json) -> str:
    """Read `1.18.2` out of `quay.io/cilium/cilium:v1.18.2@sha256:…`."""
    image = str((spec.get("containers") or [{}])[0].get("image", "")).partition("@")[0]
    tag = image.rpartition("/")[2].partition(":")[2]
    return tag.removeprefix("v")
