"""Tells how kubectl and atoll find the hub that was just started, and puts its context into the user's kubeconfig.

Owns the way back too, when it was stopped.
"""

from collections.abc import Iterable
from pathlib import Path

from atoll.cli.hub import export_line
from atoll.cli.output import hint
from atoll.federation.errors import AtollError
from atoll.local.context_entry import remove_context
from atoll.local.home import Home
from atoll.local.hub import context_of
from atoll.local.joining import Joined, back, join
from atoll.local.kubeconfig_file import user_files


def introduce(home: Home, *, with_context: bool) -> None:
    """Say how to reach the hub of a home; `with_context` also makes it the current context of the user's kubeconfig.

    A kubeconfig that cannot be changed does not keep the hub from running: it is told, with the way around it.
    """
    joined = _joined(home) if with_context else None
    if joined:
        hint(f"kubectl and atoll now use the context {joined.name} (in {_short(joined.path)})")
        if joined.previous not in ("", joined.name):
            hint(f"  back to {joined.previous}: kubectl config use-context {joined.previous}")
        if joined.is_open_to_others:
            hint(f"  other users of this machine may read the key in it: chmod 600 {_short(joined.path)}")
    else:
        hint(f"kubectl finds it with: --kubeconfig {home.kubeconfig}")
    if export := export_line(home):
        hint(f"so that commands in other terminals find it: {export}")


def take_leave(home: Home, contexts: Iterable[str] = ()) -> None:
    """Undo in the user's kubeconfig what stopping a home makes useless: contexts of clusters that went with it.

    If its hub is the current context still, the one before becomes current again, as introduce() has promised.
    """
    files = user_files()
    try:
        for name in contexts:
            remove_context(files, name)
        before = back(home, files)
    except AtollError as error:
        hint(f"your kubeconfig was left alone: {error}")
    else:
        if before:
            hint(f"kubectl and atoll use the context {before} again")


def _joined(home: Home) -> Joined | None:
    try:
        return join(context_of(home), user_files(), note=home.previous_context)
    except AtollError as error:
        hint(f"your kubeconfig was left alone: {error}")
        return None


def _short(path: Path) -> str:
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)
