"""A narrative in the making: a kind of thing, and kubectl in a namespace of the narrative's own on its server."""

import json
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubeapi.targets import Target
from kubeapi.things import Json, Thing
from sandbox.worlds import Kubectl


def in_new_namespace(target: Target) -> Kubectl:
    kubectl = target.kubectl(f"t-{uuid.uuid4().hex[:8]}")
    kubectl("create", "namespace", kubectl.namespace)
    return kubectl


@dataclass(frozen=True)
class Told:
    """The hands of a narrative."""

    thing: Thing
    kubectl: Kubectl

    def __call__(self, verb: str, *arguments: str) -> str:
        """Run a command on things: `told("get", "a", "-o", "name")`."""
        return self.kubectl(verb, self.thing.resource, *arguments)

    def refused(self, *arguments: str, stdin: Any = None) -> str:
        """Run a command that must fail; give what it said."""
        text = json.dumps(stdin) if stdin is not None else ""
        done = self.kubectl.run(*arguments, stdin=text, check=False)
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stderr

    def make(self, name: str, **metadata: Any) -> None:
        self.send("create", self.thing.manifest(name, **metadata))

    def send(self, verb: str, manifest: Json, *options: str) -> str:
        """Run a command on a manifest."""
        return self.kubectl.run(verb, "-f", "-", *options, stdin=json.dumps(manifest)).stdout

    def value(self, name: str) -> str:
        """What the changing field of a thing holds."""
        return self("get", name, "-o", f"jsonpath={self.thing.change.jsonpath}")

    def is_there(self, name: str) -> bool:
        return self.kubectl.get(self.thing.resource, name) is not None

    def settle(self, name: str) -> None:
        """Wait until no controller has anything more to write of a thing."""
        if self.thing.condition != "Seen":
            self("wait", name, f"--for=condition={self.thing.condition}", "--timeout=20s")

    def write(self, path: Path, manifest: Json) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(manifest))
        return str(path)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that goes on."""
        command = [str(part) for part in self.kubectl.command(*arguments)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self.kubectl.environment)
