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

Completer = Callable[[typer.Context, str], list[str]]
# Shorter, and each Tab of one line asks the hub anew; longer, and what was just made is missed.
_FRESH_SECONDS = 10.0
_PATIENCE_SECONDS = 1.0
# As many as anybody looks through; a namespace may have a hundred thousand jobs.
_MOST_NAMES = 500
# Neither an error nor a line: whoever presses Tab has asked for names, not for what is wrong.
_SILENCE = partial(contextlib.suppress, Exception)

# Kinds by the words that a person may use for them, and whether their objects are in namespaces. A copy of what
# `kinds` knows, for that loads all models; a test holds them together.
NAMESPACED = {
    "clusters": False, "queues": False, "reservations": False, "jobs": True, "runs": True, "datasets": True,
    "transfers": True, "gateways": False, "streams": True, "triggers": True, "policysets": False,
    "rolebindings": False, "namespaces": False, "events": True,
}  # fmt: skip


def of(plural: str) -> Completer:
    """Complete the names of objects of a kind, in the namespace that the line names."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        return _starting(_names(ctx, plural), incomplete)

    return complete


def kinds(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the word for a kind, or KIND/NAME."""
    kind, slash, start = incomplete.partition("/")
    plural = plural_of(kind)
    if slash and plural:
        return [f"{kind}/{name}" for name in _starting(_names(ctx, plural), start)]
    return _starting((*NAMESPACED, *map(_singular, NAMESPACED)), incomplete)


def of_kind(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of an object of the kind that stands before it."""
    plural = plural_of(str(ctx.params.get("kind") or ""))
    return _starting(_names(ctx, plural), incomplete) if plural else []


def mounts(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the dataset of DATASET:PATH."""
    return [] if ":" in incomplete else [f"{name}:" for name in _starting(_names(ctx, "datasets"), incomplete)]


def contexts(_ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the contexts of Atoll's in the user's kubeconfig."""
    with _SILENCE():
        from atoll.local.kubeconfig import Kubeconfig
        from atoll.local.kubeconfig_file import user_files

        return _starting(Kubeconfig.read(user_files()).names, incomplete)
    return []


def plural_of(word: str) -> str:
    """Give the plural by which a kind is served; empty if the word is none of a kind. Pure."""
    wanted = word.lower().removesuffix(".atoll.dev")
    return next((plural for plural in NAMESPACED if wanted in (plural, _singular(plural))), "")


def _singular(plural: str) -> str:
    return plural.removesuffix("s")


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _names(ctx: typer.Context, plural: str) -> list[str]:
    """Give names, remembered ones while they are fresh."""
    namespace = "" if not NAMESPACED[plural] or ctx.params.get("all_namespaces") else _namespace(ctx)
    chosen = {name: ctx.params.get(name) for name in ("server", "home", "context", "certificate_authority")}
    with _SILENCE():
        memory = memory_of(plural, namespace, *(str(value) for value in chosen.values()))
        known = remembered(memory)
        if known is None:
            known = _ask(chosen, plural, namespace)
            remember(memory, known)
        return known
    return []


def _namespace(ctx: typer.Context) -> str:
    named = ctx.params.get("namespace")
    return named if isinstance(named, str) and named else os.environ.get("ATOLL_NAMESPACE", "default")


def _ask(chosen: dict[str, object], plural: str, namespace: str) -> list[str]:
    """Ask the hub that the line means, once, and not for long."""
    from atoll.cli.api import Api
    from atoll.cli.choosing import HubChoice
    from atoll.cli.hub import find

    found = find(HubChoice(**chosen))  # type: ignore[arg-type] # as the command line parsed them
    group = "/api/v1" if plural in ("namespaces", "events") else "/apis/atoll.dev/v1alpha1"
    inside = f"/namespaces/{namespace}" if namespace else ""
    with Api(found.server, found.credentials, timeout_seconds=_PATIENCE_SECONDS) as api:
        items = api.metadata(f"{group}{inside}/{plural}", {"limit": str(_MOST_NAMES)}).get("items", [])
    return [str(each["metadata"]["name"]) for each in items]


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
