"""What `whatif policy` does: the plan of a policy set for a folder, or for a commit of it, as if it were in force."""

from pathlib import Path

from atoll.cli.api import Api
from atoll.cli.policy_commits import checked_out
from atoll.cli.policy_planning import Among, show_plan


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
