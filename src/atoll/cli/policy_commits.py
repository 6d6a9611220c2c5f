"""Commits of the repository that a folder of policies lies in: which one is meant, and the folder as it is there."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from atoll.federation.errors import InvalidInput


@dataclass(frozen=True)
class FolderAt:
    """A folder in a commit: the repository's top, the commit's full name, and the folder below the top."""

    root: Path
    commit: str
    folder: Path


def folder_at(path: Path, revision: str) -> FolderAt:
    """Find a commit of the repository around a folder.

    Raises:
        InvalidInput: git is missing, the folder lies in no repository, or that has no such commit.
    """
    root = Path(_git(path, "rev-parse", "--show-toplevel"))
    commit = _git(path, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    return FolderAt(root, commit, path.resolve().relative_to(root.resolve()))


@contextmanager
def checked_out(path: Path, revision: str) -> Iterator[Path]:
    """Lay a folder out as it is in a commit, beside the repository: nothing in that is touched.

    Raises:
        InvalidInput: as `folder_at`, or the commit has no such folder.
    """
    found = folder_at(path, revision)
    with tempfile.TemporaryDirectory(prefix="atoll-whatif-") as place:
        copy = Path(place) / "copy"
        _git(found.root, "clone", "--quiet", "--shared", "--no-checkout", str(found.root), str(copy))
        _git(copy, "-c", "core.hooksPath=/dev/null", "checkout", "--quiet", "--detach", found.commit)
        folder = copy / found.folder
        if not folder.exists():
            raise InvalidInput(f"{path}: commit {found.commit[:12]} has no such folder")
        yield folder


def _git(path: Path, *arguments: str) -> str:
    command = ["git", "-C", str(path if path.is_dir() else path.parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise InvalidInput("git is not installed; install it to look at a commit") from error
    if done.returncode:
        why = done.stderr.strip().splitlines()
        raise InvalidInput(f"{path}: {why[-1] if why else f'the repository has no {arguments[-1]}'}")
    return done.stdout.strip()
