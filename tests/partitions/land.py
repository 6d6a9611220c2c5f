"""A federation of two clusters with work on it, for partition tests: what people do on either side of a cut."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from atoll.cli import kinds
from atoll.cli.api import Api
from atoll.federation.resources import GROUP_VERSION, Cluster, Job, PolicySet, Run
from atoll.local.home import Home
from atoll.local.hub import context_of
from atoll.local.state import State
from atoll.sandbox.control import Control
from git_repository import begin, commit

SERVE = Path(__file__).with_name("federation.py")
NAMESPACE, QUEUE, POLICIES, STREAM = "group", "group.batch", "group", "readings"
FAR, NEAR = "onprem-gpu", "lab-k3s"
DENY = f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies"
Json = dict[str, Any]


def eventually(check: Callable[[], Any], *, seconds: float = 30.0, what: str) -> Any:
    """Wait until `check` gives something true; return that."""
    end = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.1)
    return found


def policy(name: str, *, directions: tuple[str, ...]) -> Json:
    spec = {"podSelector": {}, "policyTypes": list(directions)}
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


@dataclass
class Repository:
    """The group's policies in Git."""

    path: Path

    def commit(self, name: str, *, directions: tuple[str, ...]) -> str:
        """Add a policy; give the commit."""
        if not self.path.exists():
            begin(self.path)
        (self.path / f"{name}.yaml").write_text(json.dumps(policy(name, directions=directions)))
        return commit(self.path, name)


@dataclass
class Land:
    """The federation as somebody outside sees it."""

    home: Home
    hub: Api
    state: State
    folder: Path

    @property
    def control(self) -> Control:
        return Control.of(self.home)

    @property
    def repository(self) -> Repository:
        return Repository(self.folder / "policies")

    @contextmanager
    def member(self, cluster: str) -> Iterator[Api]:
        """A cluster's own API server, as an engineer beside it has it."""
        with Api(next(access.url for access in self.state.clusters if access.name == cluster)) as api:
            yield api

    def apply(self, kind: str, name: str, spec: Json, *, namespace: str | None = None) -> None:
        metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
        manifest = {"apiVersion": GROUP_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
        self.hub.apply(kinds.atoll(kind).path(namespace, name), manifest)

    def submit(self, name: str, script: str) -> None:
        """Submit a job that only the far cluster may run."""
        container = {"name": "main", "image": "any", "command": ["sh", "-c", script]}
        pod = {"restartPolicy": "Never", "containers": [container]}
        spec = {
            "queue": QUEUE,
            "expectedDuration": "60s",
            "placement": {"clusters": {"matchLabels": {"site": "datacenter"}}},
            "workload": {"spec": {"template": {"spec": pod}}},
        }
        self.apply("Job", name, spec, namespace=NAMESPACE)

    def cluster(self, name: str) -> Cluster:
        return Cluster.model_validate(self.hub.get(kinds.atoll("Cluster").path(None, name)))

    def job(self, name: str) -> Job:
        return Job.model_validate(self.hub.get(kinds.atoll("Job").path(NAMESPACE, name)))

    def run(self, name: str) -> Run:
        return Run.model_validate(self.hub.get(kinds.atoll("Run").path(NAMESPACE, name)))

    def policies(self) -> PolicySet:
        return PolicySet.model_validate(self.hub.get(kinds.atoll("PolicySet").path(None, POLICIES)))

    def policy_status(self, cluster: str) -> Any:
        return next((each for each in self.policies().status.clusters if each.cluster == cluster), None)

    def publish(self, numbers: range, *, end: bool = False) -> None:
        """Let an instrument publish readings; each is acknowledged before the next."""
        address = urlsplit(self.state.mqtt_url)
        client = Client(CallbackAPIVersion.VERSION2)
        client.connect(str(address.hostname), address.port or 1883)
        client.loop_start()
        for number in numbers:
            client.publish("lab/readings", b'{"n": %d}' % number, qos=1).wait_for_publish(10)
        if end:
            client.publish("lab/end", b"done", qos=1).wait_for_publish(10)
        client.disconnect()
        client.loop_stop()

    def readings(self) -> list[int]:
        """What is in the files of the dataset in the far cluster, in their order."""
        storage = Path(next(access.storage for access in self.state.clusters if access.name == FAR))
        files = sorted(path for path in storage.rglob("*.jsonl") if ".atoll" not in path.parts)
        return [json.loads(line)["payload"]["n"] for file in files for line in file.read_text().splitlines()]

    def agent_pid(self, cluster: str) -> int | None:
        state = self.home.read_state()
        assert state is not None
        return next(process.pid for process in state.processes if process.name == f"agent-{cluster}")


@dataclass
class Witness:
    """Writes down every phase that clusters and runs go through, as the hub's clients see them."""

    land: Land
    phases: dict[str, list[str]] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def watching(self) -> Iterator["Witness"]:
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()

    def _watch(self) -> None:
        context = context_of(self.land.home)
        with Api(context.server, context.credentials) as api:
            while not self._ended.wait(0.1):
                for kind in ("Cluster", "Run"):
                    for item in api.get(kinds.atoll(kind).collection())["items"]:
                        self._note(item["metadata"]["name"], item.get("status", {}).get("phase", "Pending"))

    def _note(self, name: str, phase: str) -> None:
        seen = self.phases.setdefault(name, [])
        if seen[-1:] != [phase]:
            seen.append(phase)


@contextmanager
def running_land(folder: Path) -> Iterator[Land]:
    """Start the federation; end it, and see that it ends."""
    home = Home(folder / "h")
    home.root.mkdir()
    with (folder / "federation.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, SERVE, home.root], stdout=log, stderr=log)
    try:
        state = eventually(lambda: _ready(home, process, folder), seconds=90, what="the start")
        context = context_of(home)
        with Api(context.server, context.credentials) as hub:
            yield Land(home, hub, state, folder)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _ready(home: Home, process: "subprocess.Popen[bytes]", folder: Path) -> State | None:
    assert process.poll() is None, (folder / "federation.log").read_text()
    state = home.read_state()
    return state if state is not None and state.phase == "Ready" else None


def now() -> datetime:
    return datetime.now(UTC)
