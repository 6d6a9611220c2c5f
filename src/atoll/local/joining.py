"""Puts the context of a home's hub into the user's own kubeconfig, under a name that is nobody else's."""

import hashlib
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from atoll.local import kubeconfig
from atoll.local.home import Home, write_atomically
from atoll.local.kubeconfig import Context, Kubeconfig
from atoll.local.kubeconfig_file import file_to_write


@dataclass(frozen=True)
class Joined:
    """What was done: the context's name, the file, which context was current before, and who can read the key."""

    name: str
    path: Path
    previous: str
    is_open_to_others: bool


def join(context: Context, files: Sequence[Path], *, note: Path) -> Joined:
    """Put a context into the file that kubectl would write, and make it the current one.

    Args:
        context: the hub.
        files: the user's.
        note: where to write which context was the current one, for back().

    Raises:
        InvalidInput: a file is malformed. Conflict: it is locked. Unavailable: it cannot be written.
    """
    found = Kubeconfig.read(files)
    named = replace(context, name=_free_name(found, context))
    path = file_to_write(files)
    kubeconfig.put(path, named, use=True)
    if found.current != named.name:
        write_atomically(note, found.current.encode())
    return Joined(named.name, path, found.current, bool(stat.S_IMODE(path.stat().st_mode) & 0o077))


def back(home: Home, files: Sequence[Path]) -> str:
    """Make the context current that was so before a home's hub was; give its name, empty if nothing is to be done.

    Raises:
        InvalidInput, Conflict, Unavailable: as join() does.
    """
    found = Kubeconfig.read(files)
    if not home.previous_context.exists() or found.home_of(found.current) != str(home.root):
        return ""
    before = home.previous_context.read_text()
    if not found.has(before):
        return ""
    kubeconfig.use(files, before)
    return before


def _free_name(found: Kubeconfig, context: Context) -> str:
    """Give the context's own name, unless another program or another home has it already."""
    if not found.is_taken(context.name, home=context.home):
        return context.name
    return f"{context.name}-{hashlib.sha256(context.home.encode()).hexdigest()[:6]}"
