"""Server-side apply as a plain model: an object is a map of paths to values, a manager is a set of paths.

The object of the model has what KEP-555 tells apart: fields, granular and atomic maps, atomic lists, sets, and lists
of maps that are identified by a key. A path of the model names one thing that can be owned: a field, an entry of a map,
an item of a set, an item of a list (its key and each of its fields have paths of their own), or an atomic value whole.
"""

from dataclasses import dataclass, field
from typing import Any

import orjson

Json = dict[str, Any]
Path = tuple[str, ...]
Flat = dict[Path, Any]

_TEXT = {"type": "string"}
_MAP = {"type": "object", "additionalProperties": _TEXT}
SCHEMA: Json = {
    "type": "object",
    "properties": {
        "size": {"type": "integer"},
        "color": _TEXT,
        "options": _MAP,
        "nested": {"type": "object", "properties": {"mode": _TEXT, "flags": _MAP}},
        "selector": {**_MAP, "x-kubernetes-map-type": "atomic"},
        "steps": {"type": "array", "items": _TEXT, "x-kubernetes-list-type": "atomic"},
        "tags": {"type": "array", "items": _TEXT, "x-kubernetes-list-type": "set"},
        "parts": {
            "type": "array",
            "items": {"type": "object", "properties": {"name": _TEXT, "count": {"type": "integer"}, "color": _TEXT}},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    },
}
_WHOLE = ("size", "color", "selector", "steps")


def flat(obj: Json) -> Flat:
    """Take an object apart."""
    paths: Flat = {(name,): obj[name] for name in _WHOLE if name in obj}
    paths |= {("options", key): value for key, value in obj.get("options", {}).items()}
    nested = obj.get("nested", {})
    paths |= {("nested", "mode"): nested["mode"]} if "mode" in nested else {}
    paths |= {("nested", "flags", key): value for key, value in nested.get("flags", {}).items()}
    paths |= {("tags", tag): True for tag in obj.get("tags", ())}
    for part in obj.get("parts", ()):
        item = ("parts", part["name"])
        paths |= {item: True, **{(*item, name): value for name, value in part.items()}}
    return paths


def whole(paths: Flat) -> Json:
    """Put an object together again; lists are in the order of their paths."""
    obj: Json = {}
    for path, value in sorted(paths.items()):
        match path:
            case (name,):
                obj[name] = value
            case ("options", key):
                obj.setdefault("options", {})[key] = value
            case ("nested", "mode"):
                obj.setdefault("nested", {})["mode"] = value
            case ("nested", "flags", key):
                obj.setdefault("nested", {}).setdefault("flags", {})[key] = value
            case ("tags", tag):
                obj.setdefault("tags", []).append(tag)
            case ("parts", name):
                obj.setdefault("parts", []).append({})
            case ("parts", _, name):
                obj["parts"][-1][name] = value
    return obj


def owned(paths: set[Path]) -> set[Path]:
    """Translate the paths of managedFields; containers, which the model does not know, are left out."""
    return {path for path in (tuple(_element(each) for each in path) for path in paths) if _is_of_the_model(path)}


def _element(element: str) -> str:
    form, _, body = element.partition(":")
    if form == "k":
        return str(orjson.loads(body)["name"])
    return str(orjson.loads(body)) if form == "v" else body


def _is_of_the_model(path: Path) -> bool:
    head, depth = path[0], len(path)
    if head in _WHOLE:
        return depth == 1
    if head == "nested":
        return path == ("nested", "mode") or depth == 3
    return depth in (2, 3) if head == "parts" else depth == 2


@dataclass
class Model:
    """The object, and what each manager owns of it."""

    live: Flat = field(default_factory=dict)
    owners: dict[str, set[Path]] = field(default_factory=dict)

    def apply(self, manager: str, config: Flat, *, force: bool) -> set[tuple[str, Path]]:
        """Apply a configuration; give the conflicts, of which any leaves everything as it was."""
        changed = {path for path, value in config.items() if self.live.get(path) != value}
        others = {name: paths for name, paths in self.owners.items() if name != manager}
        conflicts = {(name, path) for name, paths in others.items() for path in paths & changed}
        if conflicts and not force:
            return conflicts
        self._take(changed)
        dropped = self.owners.get(manager, set()) - config.keys()
        self.owners[manager] = set(config)
        stated = set().union(*self.owners.values())
        self._remove(dropped - stated)
        self.live |= config
        return set()

    def write(self, manager: str, new: Flat) -> None:
        """Replace the object by a plain write: its writer owns what it changed, and nobody owns what it removed."""
        changed = {path for path, value in new.items() if self.live.get(path) != value}
        self._take(changed)
        self.owners[manager] = self.owners.get(manager, set()) | changed
        self._remove(self.live.keys() - new.keys())
        self.live = dict(new)

    def _take(self, paths: set[Path]) -> None:
        for stated in self.owners.values():
            stated.difference_update(paths)

    def _remove(self, paths: set[Path]) -> None:
        """Remove paths with all that is below them."""
        gone = {path for path in self.live if any(path[: len(each)] == each for each in paths)}
        self.live = {path: value for path, value in self.live.items() if path not in gone}
        self._take(gone)
