"""Running sandboxes and the real kubectl on them, for the tests of this room."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from atoll.federation.errors import NotFound
from atoll.sandbox.settings import SandboxSettings
from atoll.sandbox.state import STATE_FILE, SandboxState, read_state

KUBECTL = Path(sys.executable).parent / "kubectl"
SERVE = Path(__file__).with_name("serve.py")
Json = dict[str, Any]


def eventually(check: Callable[[], Any], *, seconds: float = 30.0, what: str = "it") -> Any:
    """Wait until `check` gives something true; return that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := check():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not happen within {seconds} s; last: {check()!r}")


@dataclass
class Kubectl:
    """The real kubectl with one kubeconfig."""

    kubeconfig: Path
    namespace: str = "default"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.kubeconfig.parent)}

    def command(self, *args: str) -> list[str]:
        return [str(KUBECTL), "--namespace", self.namespace, *args]

    def run(
        self, *args: str, stdin: str = "", check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        output = {"capture_output": True, "text": True, "env": {**self.environment, **environment}, "timeout": 60}
        done = subprocess.run(self.command(*args), check=False, input=stdin, **output)
        assert not check or done.returncode == 0, f"kubectl {' '.join(args)}: {done.stderr}"
        return done

    def __call__(self, *args: str) -> str:
        return self.run(*args).stdout

    def apply(self, *manifests: Json, force: bool = False) -> str:
        text = yaml.dump_all(manifests, Dumper=yaml.CSafeDumper)  # definitions are large
        flags = ["--force-conflicts"] if force else []
        return self.run("apply", "--server-side", *flags, "-f", "-", stdin=text).stdout

    def get(self, kind: str, name: str) -> Any:
        """One object, or None if there is none."""
        text = self("get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def objects(self, kind: str, *options: str) -> list[Json]:
        """The objects of a kind."""
        items: list[Json] = json.loads(self("get", kind, *options, "-o", "json"))["items"]
        return items

    def status(self, kind: str, name: str) -> Json:
        return (self.get(kind, name) or {}).get("status", {})

    def pods(self, selector: str = "") -> list[Json]:
        return self.objects("pods", "-l", selector)


@dataclass
class Sandbox:
    """A sandbox process."""

    process: subprocess.Popen[bytes]
    state: SandboxState
    home: Path

    def kubectl(self, cluster: str, namespace: str = "default") -> Kubectl:
        return Kubectl(Path(self.state.cluster(cluster).kubeconfig), namespace)

    def fresh(self, cluster: str) -> Kubectl:
        """A kubectl in a new namespace."""
        kubectl = self.kubectl(cluster, f"t-{uuid.uuid4().hex[:8]}")
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": kubectl.namespace}})
        return kubectl

    @property
    def state_file(self) -> Path:
        return self.home / STATE_FILE

    def storage(self, cluster: str) -> Path:
        return Path(self.state.cluster(cluster).storage_root)

    def admin(self, method: str, path: str, body: Any = None) -> httpx.Response:
        with httpx.Client(transport=httpx.HTTPTransport(uds=self.state.admin_socket), base_url="http://a") as client:
            return client.request(method, path, json=body)

    def cilium(self, cluster: str, path: str, **headers: str) -> httpx.Response:
        socket = self.state.cluster(cluster).cilium_socket
        with httpx.Client(transport=httpx.HTTPTransport(uds=socket), base_url="http://localhost/v1") as client:
            return client.get(path, headers=headers)


@contextmanager
def running_sandbox(settings: SandboxSettings) -> Iterator[Sandbox]:
    """Start a sandbox and wait until it is ready; end it and check that it ends well."""
    settings.home.mkdir(parents=True, exist_ok=True)
    config = settings.home / "settings.json"
    config.write_bytes(settings.to_json())
    with (settings.home / "sandbox.log").open("wb") as output:
        process = subprocess.Popen([sys.executable, SERVE, config], stdout=output, stderr=output)
    try:
        state = eventually(lambda: _ready(settings.home, process), seconds=30, what="the start of the sandbox")
        yield Sandbox(process, state, settings.home)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=30)
    assert code in (0, -signal.SIGKILL), (settings.home / "sandbox.log").read_text()


def _ready(home: Path, process: subprocess.Popen[bytes]) -> SandboxState | None:
    assert process.poll() is None, (home / "sandbox.log").read_text()
    try:
        return read_state(home)
    except NotFound:
        return None


@dataclass
class Job:
    """A batch/v1 Job of one container, as a manifest."""

    name: str
    command: list[str]
    spec: Json = field(default_factory=dict)
    pod: Json = field(default_factory=dict)
    container: Json = field(default_factory=dict)

    def manifest(self) -> Json:
        container = {"name": "main", "image": "ignored", "command": self.command, **self.container}
        template = {"spec": {"restartPolicy": "Never", "containers": [container], **self.pod}}
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": self.name},
            "spec": {"backoffLimit": 0, "template": template, **self.spec},
        }


def python(code: str) -> list[str]:
    return ["python", "-u", "-c", code]


def claim(name: str = "data", size: str = "1Gi") -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": size}}},
    }


def condition(status: Json, kind: str) -> Json:
    found = [each for each in status.get("conditions", ()) if each["type"] == kind and each["status"] == "True"]
    return found[0] if found else {}
