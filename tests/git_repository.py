"""Git repositories that tests make: nothing of this machine's configuration has a say in them, and nobody signs."""

import os
import subprocess
from pathlib import Path

_SOMEBODY = {"NAME": "Ada", "EMAIL": "ada@example.org"}
_FIXED = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    **{f"GIT_{role}_{field}": value for role in ("AUTHOR", "COMMITTER") for field, value in _SOMEBODY.items()},
}


def git(folder: Path, *arguments: str, dated: str = "") -> str:
    """Run git in a folder; give what it prints. `dated`: when commits say that they were made, instead of now."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    dates = {f"GIT_{role}_DATE": dated for role in ("AUTHOR", "COMMITTER")} if dated else {}
    command = ["git", "-c", "protocol.file.allow=always", *arguments]
    environment = inherited | _FIXED | dates
    done = subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def begin(folder: Path) -> None:
    """Make a folder an empty repository with the branch main; it may have files already."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet", "--initial-branch=main")


def commit(folder: Path, message: str = "policies", *, dated: str = "") -> str:
    """Commit everything as it is now; give the commit."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message, dated=dated)
    return git(folder, "rev-parse", "HEAD")
