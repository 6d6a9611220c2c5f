"""The door to k3d, helm, cilium and docker: whether they are there, what they answer, and why they failed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any

import orjson

from atoll.federation.errors import Unavailable
from atoll.sandbox.k3d.plan import Command

_WHERE = {
    "docker": "https://docs.docker.com/engine/install",
    "k3d": "https://k3d.io/stable/#installation",
    "helm": "https://helm.sh/docs/intro/install",
    "cilium": "https://docs.cilium.io/en/stable/gettingstarted/k8s-install-default/#install-the-cilium-cli",
}
# Images are pulled meanwhile; k3d and helm have ends of their own, which come first.
_TIMEOUT_SECONDS = 900.0
_SHOWN_LINES = 3


def check() -> None:
    """Find out whether everything is there that real clusters need.

    Raises:
        Unavailable: names each program that is missing and where it is described; or says that Docker does not answer.
    """
    missing = [name for name in _WHERE if shutil.which(name) is None]
    if missing:
        places = "; ".join(f"{name} ({_WHERE[name]})" for name in missing)
        raise Unavailable(
            f"--provider k3d needs programs that are not on PATH: {places}; without --provider clusters are simulated"
        )
    try:
        run(Command("asking Docker", ("docker", "info", "--format", "{{.ServerVersion}}")))
    except Unavailable as error:
        raise Unavailable(f"Docker does not answer, and k3d runs clusters in it: start it. {error}") from error


def run(command: Command) -> str:
    """Run a command; give what it prints.

    Raises:
        Unavailable: it failed; the message has the last lines that it said.
    """
    name = " ".join(command.argv[:3])
    try:
        done = subprocess.run(
            command.argv,
            env={**os.environ, **command.variables},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise Unavailable(f"{command.argv[0]} is not on PATH any more") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{command.step}: '{name}' did not end within {_TIMEOUT_SECONDS:.0f} s") from error
    if done.returncode != 0:
        said = " / ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-_SHOWN_LINES:])
        raise Unavailable(f"{command.step}: '{name}' failed ({done.returncode}): {said}")
    return done.stdout


def known_clusters() -> dict[str, bool]:
    """Give every cluster that k3d knows, and whether its server runs."""
    found = _listed("cluster")
    return {str(each["name"]): int(each.get("serversRunning", 0)) > 0 for each in found}


def known_registries() -> frozenset[str]:
    """Name the registries that k3d knows."""
    return frozenset(str(each["name"]) for each in _listed("registry"))


def _listed(what: str) -> Iterable[dict[str, Any]]:
    text = run(Command(f"asking k3d for its {what} list", ("k3d", what, "list", "--output", "json")))
    try:
        found: list[dict[str, Any]] = orjson.loads(text or "[]") or []
    except orjson.JSONDecodeError as error:
        raise Unavailable(f"'k3d {what} list --output json' printed no JSON: is this k3d 5 or newer?") from error
    return found
