"""What the narratives are told with: one kind of object of each target, and how it is written and looks.

A narrative speaks of "a thing"; the table below says what that is on a hub, in Kubernetes' own kinds, and as a custom
resource.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kubeapi.targets import CLUSTER, HUB

Json = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One field that may change: where it stands, as a path and as JSONPath, and three values of it in order."""

    path: tuple[str, ...]
    values: tuple[Any, Any, Any]

    @property
    def jsonpath(self) -> str:
        return "{." + ".".join(self.path) + "}"

    def patch(self, value: Any) -> Json:
        """Give a merge patch that sets the field."""
        for name in reversed(self.path):
            value = {name: value}
        changed: Json = value
        return changed


@dataclass(frozen=True)
class Shared:
    """A list that two managers apply to: what each states, where the names are, and what then stands there."""

    first: Json
    second: Json
    jsonpath: str
    both: str


@dataclass(frozen=True)
class Thing:
    """One kind of object on one target.

    `wrong` is a spec with several faults and `faults` the fields that the refusal must name. `explained` are a path
    for `kubectl explain` and words of the answer. `strategic` is a patch that adds the second of the shared list, where
    lists have merge keys. `condition` is what the kind's controller sets; of a kind without one, a narrative sets Seen.
    """

    target: str
    resource: str
    api_version: str
    kind: str
    spec: Mapping[str, Any]
    change: Change
    shared: Shared
    wrong: Mapping[str, Any]
    faults: tuple[str, ...]
    columns: str
    wide: str
    short: str
    explained: tuple[str, str]
    strategic: Mapping[str, Any] = field(default_factory=dict)
    condition: str = "Seen"

    @property
    def place(self) -> tuple[str, str, str]:
        """Group, version and plural, as clients of any kind want them."""
        group, version = self.api_version.split("/")
        return group, version, self.resource.partition(".")[0]

    @property
    def prefix(self) -> str:
        """What `-o name` prints before a name."""
        singular, _, group = self.resource.partition(".")
        return f"{singular.removesuffix('s')}.{group}/"

    def manifest(self, name: str, *, spec: Mapping[str, Any] | None = None, **metadata: Any) -> Json:
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": {"name": name, **metadata} if name else metadata,
            "spec": {**self.spec, **(spec or {})},
        }

    def changed(self, name: str, index: int) -> Json:
        """Give the manifest with one of the values of the changing field."""
        return self.manifest(name, spec={self.change.path[-1]: self.change.values[index]})


def _containers(*names: str) -> Json:
    containers = [{"name": name, "image": f"{name}:1"} for name in names]
    return {"template": {"metadata": {"labels": {"app": "thing"}}, "spec": {"containers": containers}}}


DATASET = Thing(
    target=HUB,
    resource="datasets.atoll.dev",
    api_version="atoll.dev/v1alpha1",
    kind="Dataset",
    spec={"storageClass": "fast", "residency": ["eu"]},
    change=Change(("spec", "storageClass"), ("fast", "medium", "slow")),
    shared=Shared({"residency": ["eu"]}, {"residency": ["de"]}, "{.spec.residency[*]}", "eu de"),
    wrong={"home": "nowhere", "storageClass": "Not Possible"},
    faults=("spec.storageClass",),
    columns="NAME VERSION COMPLETE FILES BYTES WHERE AGE",
    wide="NAME VERSION COMPLETE FILES BYTES WHERE READINGS GAPS AGE",
    short="ds",
    explained=("datasets.spec", "Jurisdictions that replicas must stay in"),
)
DEPLOYMENT = Thing(
    target=CLUSTER,
    resource="deployments.apps",
    api_version="apps/v1",
    kind="Deployment",
    spec={"replicas": 0, "minReadySeconds": 1, "selector": {"matchLabels": {"app": "thing"}}, **_containers("main")},
    change=Change(("spec", "minReadySeconds"), (1, 2, 3)),
    shared=Shared(
        _containers("main"),
        _containers("proxy"),
        "{.spec.template.spec.containers[*].name}",
        "main proxy",
    ),
    wrong={"replicas": -1, "selector": {"matchLabels": {"app": "other"}}},
    faults=("spec.replicas", "spec.template.metadata.labels"),
    columns="NAME READY UP-TO-DATE AVAILABLE AGE",
    wide="NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR",
    short="deploy",
    explained=("deployments", "Pods that are kept running and replaced one by one"),
    strategic={"spec": _containers("proxy")},
    condition="Available",
)
TELESCOPE = Thing(
    target=CLUSTER,
    resource="telescopes.sky.dev",
    api_version="sky.dev/v1",
    kind="Telescope",
    spec={"mirror": 8},
    change=Change(("spec", "mirror"), (8, 9, 10)),
    shared=Shared({"cameras": [{"name": "ccd"}]}, {"cameras": [{"name": "ir"}]}, "{.spec.cameras[*].name}", "ccd ir"),
    wrong={"mirror": 0, "mount": "fork"},
    faults=("spec.mirror", "spec.mount"),
    columns="NAME MIRROR AGE",
    wide="NAME MIRROR MOUNT AGE",
    short="tel",
    explained=("telescopes.spec", "Diameter of the main mirror in metres"),
)
THINGS: Mapping[str, Thing] = {"hub-dataset": DATASET, "cluster-deployment": DEPLOYMENT, "cluster-telescope": TELESCOPE}


@dataclass(frozen=True)
class Work:
    """A job of one target: what is run, the condition that says that it is done, and the event that tells of it."""

    resource: str
    manifest: Json
    condition: str
    event: str
    described: tuple[str, ...]


_POD: Json = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox", "command": ["echo", "hi"]}]}
WORK: Mapping[str, Work] = {
    HUB: Work(
        "jobs.atoll.dev",
        {
            "apiVersion": "atoll.dev/v1alpha1",
            "kind": "Job",
            "metadata": {"name": "work"},
            "spec": {"queue": "lab", "workload": {"spec": {"template": {"spec": _POD}}}},
        },
        "Complete",
        "Completed",
        ("Queue: lab", "Cluster: onprem", "Normal Placed"),
    ),
    CLUSTER: Work(
        "jobs.batch",
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "work"},
            "spec": {"template": {"spec": _POD}},
        },
        "Complete",
        "SuccessfulCreate",
        ("Pods Statuses: 0 Active (0 Ready) / 1 Succeeded / 0 Failed", "Normal SuccessfulCreate"),
    ),
}
