"""The objects that the demo creates on the hub: what seismologists and their platform engineer would write."""

from pathlib import Path
from typing import Any

from atoll.federation.resources import GROUP_VERSION
from atoll.sandbox.demo.instruments import END_TOPIC
from atoll.sandbox.demo.repository import FOLDER

Json = dict[str, Any]

NAMESPACE = "seismology"
QUEUE = "seismology.interactive"
STREAM = "uh-network"
DATASET = "uh-network"
PICKS = f"picks.{DATASET}"
POLICY_SET = "seismology"
HOME_CLUSTER = "onprem-gpu"
GPU_MODEL = "A100"
_ANALYSIS = ["python", "-m", "atoll.sandbox.demo.picks", "--in", "/data", "--out", "/out"]


def all_objects(gateway: str, repository: Path) -> tuple[Json, ...]:
    """Give every object, in the order in which one may be applied after the other."""
    return (namespace(), queue(), stream(gateway), trigger(), policy_set(repository))


def namespace() -> Json:
    """Make the group's namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def queue() -> Json:
    """Make the queue that the analyses wait in: the group would rather wait ten minutes than pay one unit of money."""
    return _atoll("Queue", QUEUE, {"secondsPerCurrency": 600}, namespaced=False)


def stream(gateway: str) -> Json:
    """Make the stream that turns the seismometers' topics into a dataset on the GPU cluster on the premises.

    A miniSEED record carries its number and its time, so no two are equal: one that comes twice is a repetition.
    """
    spec = {
        "gateway": gateway,
        "topics": ["seismic/+/+"],
        "dataset": DATASET,
        "home": HOME_CLUSTER,
        "format": "raw",
        "distinct": True,
        "endOfRun": {"topic": END_TOPIC},
    }
    return _atoll("Stream", STREAM, spec)


def trigger() -> Json:
    """Make the trigger that starts the analysis when the dataset is complete."""
    container = {"name": "picks", "image": "ghcr.io/atoll/picks:0.1.0", "command": _ANALYSIS}
    spec = {
        "queue": QUEUE,
        "inputs": [{"dataset": "{dataset}", "mountPath": "/data"}],
        "outputs": [{"dataset": PICKS, "mountPath": "/out"}],
        "gpu": {"count": 1, "models": [GPU_MODEL]},
        "expectedDuration": "60s",
        "workload": {"spec": {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}}},
    }
    return _atoll("Trigger", "picks", {"on": {"name": DATASET}, "job": {"name": "picks-{dataset}", "spec": spec}})


def policy_set(repository: Path) -> Json:
    """Make the policy set that holds the repository's policies over all clusters."""
    source = {"repository": f"file://{repository}", "revision": "main", "path": FOLDER, "interval": "5s"}
    return _atoll("PolicySet", POLICY_SET, {"source": source}, namespaced=False)


def _atoll(kind: str, name: str, spec: Json, *, namespaced: bool = True) -> Json:
    metadata = {"name": name, **({"namespace": NAMESPACE} if namespaced else {})}
    return {"apiVersion": GROUP_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
