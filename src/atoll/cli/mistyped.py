"""What is said of words that cannot be read: an option's value, and what it should be; a command, and which is meant.

Owns the words only. Typer hands on what pydantic says, which names Python's types and not always the value.
"""

from collections.abc import Collection, Iterable, Sequence

import typer

# What people bring along from Slurm and kubectl, and what does it here.
ELSEWHERE = {
    "config": "context list",
    "create": "apply",
    "sacct": "queue accounts",
    "salloc": "job run",
    "scancel": "job cancel",
    "scontrol": "describe job",
    "sinfo": "cluster list",
    "sprio": "job explain",
    "squeue": "job list",
    "srun": "job run",
    "sreport": "queue usage",
    "submit": "job run",
}
# Verbs that mean the same; which of them a noun has depends on what it is.
_SAME = (
    {"create", "new", "add", "issue", "enroll", "join", "run", "submit"},
    {"delete", "remove", "rm", "revoke", "leave", "cancel", "kill", "stop", "down"},
    {"show", "describe", "status", "list", "ls", "get"},
)


def in_words(error: typer.BadParameter) -> str:
    """Say what is wrong with a value, as it was typed. Pure."""
    from pydantic import ValidationError

    if not isinstance(error.__cause__, ValidationError):
        return error.message
    from atoll.federation.resources.validation import value_problem

    return value_problem(error.__cause__)


def meant(word: str, within: Sequence[str], known: Collection[tuple[str, ...]]) -> list[str]:
    """Find the commands that somebody may mean who typed a word that is none. Pure.

    Args:
        word: what was typed.
        within: the words before it; none at the root.
        known: all commands, each as its words.

    Returns:
        What to type instead, without the program's name; empty if nothing is near.
    """
    if not within and word in ELSEWHERE:
        return [ELSEWHERE[word]]
    same = next((verbs for verbs in _SAME if word in verbs), set())
    here = [path for path in known if path[:-1] == tuple(within) and path[-1] in same]
    elsewhere = [path for path in known if path[-1] == word and path[:1] != ("sandbox",)]
    return _written(here if within and here else elsewhere)


def _written(paths: Iterable[tuple[str, ...]]) -> list[str]:
    return [" ".join(path) for path in sorted(paths)]
