"""The policy repository of the demo: a real Git repository that holds the YAML files beside this module."""

import os
import subprocess
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from atoll.federation.errors import Unavailable

FOLDER = "policies"
# A person's own Git configuration (signing, hooks, default branch) must not change what the demo does.
_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Atoll demo",
    "GIT_AUTHOR_EMAIL": "demo@atoll.dev",
    "GIT_COMMITTER_NAME": "Atoll demo",
    "GIT_COMMITTER_EMAIL": "demo@atoll.dev",
}


@dataclass(frozen=True)
class Repository:
    """Where it is, and the commit that holds the policies."""

    path: Path
    commit: str


def create(path: Path) -> Repository:
    """Make the repository.

    Raises:
        Unavailable: git is missing or failed.
    """
    folder = path / FOLDER
    folder.mkdir(parents=True)
    for source in files("atoll.sandbox.demo").joinpath(FOLDER).iterdir():
        (folder / source.name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    _git(path, "init", "--quiet", "--initial-branch=main")
    _git(path, "add", "--all")
    _git(path, "commit", "--quiet", "--message", "Policies of the seismology group")
    return Repository(path, _git(path, "rev-parse", "HEAD"))


def _git(path: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=path,
            env={**environment, **_ENVIRONMENT},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except FileNotFoundError as error:
        raise Unavailable(
            "git is missing: install it (Debian: apt-get install git; macOS: xcode-select --install)"
        ) from error
    if done.returncode != 0:
        raise Unavailable(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip()
