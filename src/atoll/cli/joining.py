"""Tells how kubectl and atoll find the hub that was just started, and puts its context into the user's kubeconfig."""

from pathlib import Path

from atoll.cli.hub import export_line
from atoll.cli.output import hint
from atoll.federation.errors import AtollError
from atoll.local.home import Home
from atoll.local.hub import context_of
from atoll.local.joining import Joined, join
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


def _joined(home: Home) -> Joined | None:
    try:
        return join(context_of(home), user_files())
    except AtollError as error:
        hint(f"your kubeconfig was left alone: {error}")
        return None


def _short(path: Path) -> str:
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)
