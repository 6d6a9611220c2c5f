"""Contexts of other clusters than hubs in the user's kubeconfig: put there by us, known again, and taken away.

Owns the extension by which they are known again. Whose entry it is not, it does not touch.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atoll.federation.errors import Conflict
from atoll.local.kubeconfig_file import file_to_write, parse, rewrite
from atoll.local.kubeconfig_text import LISTS, KubeconfigText

_EXTENSION = "sandbox.atoll.dev"


def add_context(files: Sequence[Path], name: str, server: str) -> Path:
    """Put a context without credentials into the file that kubectl would write; the current one stays current.

    Raises:
        Conflict: the name belongs to somebody else, or a file is locked.
        InvalidInput: a file is malformed. Unavailable: it cannot be written.
    """
    for path in files:
        if _is_taken(parse(path).values(), name):
            raise Conflict(f"{path} has a context, a cluster or a user {name} of somebody else's")
    target = file_to_write(files)
    rewrite(target, lambda text: _put(text, name, server))
    return target


def remove_context(files: Sequence[Path], name: str) -> bool:
    """Take a context away if it is one of ours; tell whether it was there.

    Raises:
        Conflict, InvalidInput, Unavailable: as add_context().
    """
    is_there = False
    for path in files:
        if _is_ours(_entry(parse(path).values(), "contexts", name)):
            is_there = True
            rewrite(path, lambda text: _drop(text, name))
    return is_there


def _put(text: KubeconfigText, name: str, server: str) -> None:
    mark = [{"name": _EXTENSION, "extension": {}}]
    text.put("clusters", {"name": name, "cluster": {"server": server}})
    text.put("users", {"name": name, "user": {}})
    context = {"cluster": name, "user": name, "namespace": "default", "extensions": mark}
    text.put("contexts", {"name": name, "context": context})


def _drop(text: KubeconfigText, name: str) -> None:
    for kind in LISTS:
        text.drop(kind, name)


def _is_taken(values: dict[str, Any], name: str) -> bool:
    is_there = any(_entry(values, kind, name) is not None for kind in LISTS)
    return is_there and not _is_ours(_entry(values, "contexts", name))


def _entry(values: dict[str, Any], kind: str, name: str) -> dict[str, Any] | None:
    return next((entry for entry in values[kind] if entry["name"] == name), None)


def _is_ours(entry: dict[str, Any] | None) -> bool:
    context = (entry or {}).get("context")
    extensions = context.get("extensions") if isinstance(context, dict) else None
    return any(each.get("name") == _EXTENSION for each in extensions or () if isinstance(each, dict))
