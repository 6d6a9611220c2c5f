"""Completes names in a shell: objects by kind, contexts. Owns for how long a shell may wait, and a short memory.

A completion asks nobody for anything, prints nothing, and fails in silence: whoever presses Tab has not asked for an
error. It loads next to nothing while the memory is fresh; nothing heavy is imported above the functions that need it.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import typer

from atoll.cli.kinds import ALL, KindRef, find

Completer = Callable[[typer.Context, str], list[str]]
# Shorter, and each Tab of one line asks the hub anew; longer, and what was just made is missed.
_FRESH_SECONDS = 10.0
_PATIENCE_SECONDS = 1.0
# As many as anybody looks through; a namespace may have a hundred thousand jobs.
_MOST_NAMES = 500
# Neither an error nor a line: whoever presses Tab has asked for names, not for what is wrong.
_SILENCE = partial(contextlib.suppress, Exception)


def of(plural: str) -> Completer:
    """Complete the names of objects of a kind, in the namespace that the line names."""
    ref = find(plural)

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        return _starting(_names(ctx, ref), incomplete)

    return complete


def kinds(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the word for a kind, or KIND/NAME."""
    kind, slash, start = incomplete.partition("/")
    ref = kind_of(kind)
    if slash and ref:
        return [f"{kind}/{name}" for name in _starting(_names(ctx, ref), start)]
    return _starting((*(ref.plural for ref in ALL), *(ref.name.lower() for ref in ALL)), incomplete)


def of_kind(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of an object of the kind that stands before it."""
    ref = kind_of(str(ctx.params.get("kind") or ""))
    return _starting(_names(ctx, ref), incomplete) if ref else []


def mounts(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the dataset of DATASET:PATH."""
    return [] if ":" in incomplete else [f"{name}:" for name in _starting(_names(ctx, find("datasets")), incomplete)]


def contexts(_ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the contexts of Atoll's in the user's kubeconfig."""
    with _SILENCE():
        from atoll.local.kubeconfig import Kubeconfig
        from atoll.local.kubeconfig_file import user_files

        return _starting(Kubeconfig.read(user_files()).names, incomplete)
    return []


def kind_of(word: str) -> KindRef | None:
    """Find the kind that a word means; None while it is none yet. Pure."""
    return next((ref for ref in ALL if ref.is_called(word)), None)


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _names(ctx: typer.Context, ref: KindRef) -> list[str]:
    """Give names, remembered ones while they are fresh."""
    namespace = "" if not ref.namespaced or ctx.params.get("all_namespaces") else _namespace(ctx)
    chosen = {name: ctx.params.get(name) for name in ("server", "home", "context", "certificate_authority")}
    with _SILENCE():
        memory = memory_of(ref.plural, namespace, *(str(value) for value in chosen.values()))
        known = remembered(memory)
        if known is None:
            known = _ask(chosen, ref.collection(namespace))
            remember(memory, known)
        return known
    return []


def _namespace(ctx: typer.Context) -> str:
    named = ctx.params.get("namespace")
    return named if isinstance(named, str) and named else os.environ.get("ATOLL_NAMESPACE", "default")


def _ask(chosen: dict[str, object], path: str) -> list[str]:
    """Ask the hub that the line means, once, and not for long."""
    from atoll.cli import asking
    from atoll.cli.choosing import HubChoice
    from atoll.cli.hub import find as find_hub

    hub = find_hub(HubChoice(**chosen))  # type: ignore[arg-type] # as the command line parsed them
    return asking.names(hub.server, hub.credentials, f"{path}?limit={_MOST_NAMES}", seconds=_PATIENCE_SECONDS)


def memory_of(*key: str) -> Path:
    """Name the file of an answer. Who asks, and whom, is part of the key: two hubs have other names."""
    told = [os.environ.get(name, "") for name in ("ATOLL_SERVER", "ATOLL_HOME", "ATOLL_TOKEN", "KUBECONFIG")]
    files = os.environ.get("KUBECONFIG", str(Path.home() / ".kube" / "config")).split(os.pathsep)
    changed = [str(Path(name).stat().st_mtime_ns) for name in files if Path(name).is_file()]
    digest = hashlib.sha256("\0".join((*key, *told, *changed)).encode()).hexdigest()
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "atoll" / "names" / digest[:32]


def remembered(memory: Path) -> list[str] | None:
    """Give an answer that is fresh; None if there is none."""
    try:
        if abs(time.time() - memory.stat().st_mtime) > _FRESH_SECONDS:
            return None
        known = json.loads(memory.read_text())
    except (OSError, ValueError):
        return None
    return known if isinstance(known, list) else None


def remember(memory: Path, names: Sequence[str]) -> None:
    """Keep an answer for a moment, for us alone; old ones go."""
    memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for other in memory.parent.iterdir():
        if time.time() - other.stat().st_mtime > _FRESH_SECONDS:
            other.unlink(missing_ok=True)
    part = memory.with_name(f".{memory.name}.{os.getpid()}")
    part.touch(mode=0o600)
    part.write_text(json.dumps(names))
    part.replace(memory)
