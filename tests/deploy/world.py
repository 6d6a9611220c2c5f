"""The manifests of deploy/, rendered by the real kubectl, and a simulated cluster whose pods have addresses."""

import functools
import json
import os
import random
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from atoll.sandbox.spec import GIB, KUBEEDGE_ROLES, ClusterSpec, NodeSpec, Storage, Uplink
from sandbox.worlds import KUBECTL, Json, Kubectl

DEPLOY = Path(__file__).parents[2] / "deploy"
BASES = tuple(sorted(path.parent.name for path in (DEPLOY / "bases").glob("*/kustomization.yaml")))
OVERLAYS = tuple(sorted(path.parent.name for path in (DEPLOY / "overlays").glob("*/kustomization.yaml")))
RENDERED = (*(f"bases/{name}" for name in BASES), *(f"overlays/{name}" for name in OVERLAYS))


def _custom_kind(group: str, version: str, kind: str) -> Json:
    plural = f"{kind.lower()}s"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [{"name": version, "served": True, "storage": True, "schema": schema}],
        },
    }


# As far as names go: the Prometheus operator itself is nowhere here.
PROMETHEUS_KINDS = tuple(
    _custom_kind("monitoring.coreos.com", "v1", kind) for kind in ("ServiceMonitor", "PrometheusRule")
)


@functools.cache
def rendered(place: str) -> tuple[Json, ...]:
    """What `kubectl kustomize deploy/PLACE` gives; nobody may change it."""
    done = subprocess.run([KUBECTL, "kustomize", DEPLOY / place], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), f"{place}: {done.stderr}"
    return tuple(each for each in yaml.load_all(done.stdout, yaml.CSafeLoader) if each)


def of_kind(place: str, kind: str) -> dict[str, Json]:
    return {each["metadata"]["name"]: each for each in rendered(place) if each["kind"] == kind}


def pod_templates(place: str) -> Iterator[tuple[str, Json]]:
    """Every pod template with the name of what it is of."""
    for each in rendered(place):
        if each["kind"] in ("Deployment", "StatefulSet"):
            yield each["metadata"]["name"], each["spec"]["template"]


def pod_network(port: int) -> str:
    """Choose a network of loopback on which nobody listens: pods of tests that run beside this have others."""
    for _ in range(20):
        network = f"127.{random.randrange(64, 255)}.0.0"
        with closing(socket.socket()) as probe:
            try:
                probe.bind((network[:-1] + "2", port))
            except OSError:
                continue
        return f"{network}/16"
    raise AssertionError("no network of loopback is free")


def lab_and_centre(name: str) -> ClusterSpec:
    """A cluster with room for everything, K3s' storage and KubeEdge's node; its pods are reached at their addresses."""
    return ClusterSpec(
        name=name,
        mesh_id=9,
        version="v1.34.1",
        cilium_version="1.20.0",
        nodes=(NodeSpec(f"{name}-0", 32, 128), NodeSpec("mast-7", 4, 8, roles=KUBEEDGE_ROLES)),
        storage=Storage("local-path", 512 * GIB),
        uplink=Uplink(10**9, 0.001),
        pod_network=pod_network(8700),
    )


def kustomization(folder: Path, place: str, **described: Any) -> Path:
    """Write what an operator writes over a folder of deploy/; give it."""
    folder.mkdir(exist_ok=True)
    names = {"resources": [place], "components": described.pop("components", [])}
    # A relative path is the only one that kustomize takes for a folder on this machine.
    ours = {key: [os.path.relpath(DEPLOY / name, folder.resolve()) for name in named] for key, named in names.items()}
    text = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **ours, **described}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
    return folder


def apply(kubectl: Kubectl, folder: Path) -> None:
    """`kubectl apply -k FOLDER`, whatever namespaces it speaks of."""
    _kubectl(kubectl, "apply", "-k", folder)


def delete(kubectl: Kubectl, folder: Path) -> None:
    """`kubectl delete -k FOLDER`, until all of it is gone."""
    _kubectl(kubectl, "delete", "--ignore-not-found", "-k", folder)  # the namespaces take what is in them


def _kubectl(kubectl: Kubectl, *arguments: str | Path) -> None:
    command = [KUBECTL, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=kubectl.environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class HubPod:
    """One hub, asked as its administrator and by the name of its Service, which is what its certificate says."""

    credentials: Path
    address: str

    def ask(self, method: str, path: str, body: Json | None = None) -> httpx.Response:
        """Ask it; the answer is 503 if it does not listen."""
        tls = ssl.create_default_context(cafile=self.credentials / "ca.crt")
        tls.load_cert_chain(self.credentials / "admin.crt", self.credentials / "admin.key")
        with httpx.Client(verify=tls, base_url=f"https://{self.address}:8700", timeout=30) as client:
            try:
                return client.request(method, path, json=body, extensions={"sni_hostname": "atoll-hub"})
            except httpx.TransportError:
                return httpx.Response(503)

    def is_ready(self) -> bool:
        return self.ask("GET", "/readyz").text == "ok"

    def status(self, path: str) -> Json:
        """The status of an object; empty where there is none yet."""
        answer = self.ask("GET", path)
        found: Json = answer.json().get("status", {}) if answer.status_code == 200 else {}
        return found

    def post(self, path: str, body: Json) -> Json:
        """Make something; give it."""
        answer = self.ask("POST", path, body)
        assert answer.status_code == 201, answer.text
        made: Json = answer.json()
        return made

    def kubectl(self) -> Kubectl:
        """The real kubectl with the administrator's kubeconfig."""
        config: dict[str, Any] = yaml.safe_load((self.credentials / "kubeconfig").read_text())
        config["clusters"][0]["cluster"] |= {"server": f"https://{self.address}:8700", "tls-server-name": "atoll-hub"}
        path = self.credentials.with_name(f"kubeconfig-{self.address}")
        path.write_text(json.dumps(config))
        return Kubectl(path)


def wait_until(check: Callable[[], Any], *, what: str, seconds: float = 120.0) -> None:
    """Wait for a condition that takes a second or more, and is dear to look at."""
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.3)


def ready_addresses(server: str, app: str) -> list[str]:
    """The addresses of the pods of an app that are ready, by the API server itself: kubectl is dear to poll with."""
    labels = {"labelSelector": f"app.kubernetes.io/name={app}"}
    pods = httpx.get(f"{server}/api/v1/pods", params=labels).raise_for_status().json()["items"]
    return sorted(pod["status"]["podIP"] for pod in pods if _is_ready(pod))


def _is_ready(pod: Json) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))
