"""What `whatif policy` does: the plan of a policy set for a folder, or for a commit of it, as if it were in force."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atoll.cli.api import Api
from atoll.cli.policy_planning import Among, show_plan
from atoll.federation.errors import InvalidInput


def show(api: Api, policyset: str, path: Path, commit: str | None, *, output: str) -> None:
    """Print what would change of what the set has in force: objects, and verdicts among what runs now.

    Args:
        policyset: the set, whose clusters and workloads the hub knows.
        path: its folder in a repository.
        commit: branch, tag or commit of that repository; None for the folder as it is.

    Raises:
        InvalidInput: a file cannot be read, or there is no such commit. NotFound: there is no such set.
    """
    among = Among(api, policyset)
    if commit is None:
        show_plan(path, None, output, among)
        return
    with checked_out(path, commit) as folder:
        show_plan(folder, None, output, among)


@contextmanager
def checked_out(path: Path, commit: str) -> Iterator[Path]:
    """Lay a folder out as it is in a commit, beside the repository: nothing in that is touched."""
    root = Path(_git(path, "rev-parse", "--show-toplevel"))
    found = _git(path, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}")
    with tempfile.TemporaryDirectory(prefix="atoll-whatif-") as place:
        copy = Path(place) / "copy"
        _git(root, "clone", "--quiet", "--shared", "--no-checkout", str(root), str(copy))
        _git(copy, "-c", "core.hooksPath=/dev/null", "checkout", "--quiet", "--detach", found)
        folder = copy / path.resolve().relative_to(root.resolve())
        if not folder.exists():
            raise InvalidInput(f"{path}: commit {found[:12]} has no such folder")
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
