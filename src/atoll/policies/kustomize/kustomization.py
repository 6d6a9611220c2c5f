"""One kustomization file: which fields of it are taken, and what it refers to. Pure.

Owns the refusals: nothing that could reach a network, run a program or leave the repository gets as far as kubectl.
It must not know which files exist: `gathering.py` does.
"""

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from atoll.policies.manifest import Problem
from atoll.policies.validation.shapes import (
    DUPLICATE,
    FORBIDDEN,
    INVALID,
    NOT_SUPPORTED,
    UNKNOWN,
    WRONG_TYPE,
    show,
    suggest,
)
from atoll.policies.yamldoc import Document, YamlError, line_of, read_documents

FILE_NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")


class Role(Enum):
    """What a reference may lead to."""

    FILE = "file"
    FOLDER = "folder"
    EITHER = "file or folder"
    COMPONENT = "component"


@dataclass(frozen=True)
class Reference:
    """One path that a kustomization names: where it leads in the repository, and where it is written."""

    path: str
    role: Role
    field: str
    line: int


@dataclass(frozen=True)
class Patch:
    """A patch: the file that it is in, or its text and the line of the kustomization after which that begins.

    `kind` is what it says that it is for; None if it does not say.
    """

    path: str | None = None
    text: str = ""
    line: int = 0
    kind: str | None = None


@dataclass(frozen=True)
class Kustomization:
    """A kustomization as it is written. With problems, it must not be rendered."""

    path: str
    is_component: bool = False
    references: tuple[Reference, ...] = ()
    patches: tuple[Patch, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def folder(self) -> str:
        """The folder that it makes a kustomization of; "" is the repository's root."""
        return posixpath.dirname(self.path)


def parse_kustomization(content: bytes, path: str) -> Kustomization:
    """Read one kustomization file; its path is relative to the repository."""
    documents = list(read_documents(content.decode(errors="replace")))
    wrong = [
        Problem(path, one.line, one.field, INVALID, one.message) for one in documents if isinstance(one, YamlError)
    ]
    if wrong:
        return Kustomization(path, problems=tuple(wrong))
    document = documents[0] if len(documents) == 1 else None
    if not isinstance(document, Document) or not isinstance(document.value, dict):
        return Kustomization(path, problems=(Problem(path, 1, "", INVALID, "is no single YAML mapping"),))
    return _Reader(path, document.value, document.lines, document.repeated_keys).read()


# Fields that rewrite what is there, from the file alone.
_PLAIN = frozenset(
    {
        "apiVersion",
        "kind",
        "metadata",
        "namePrefix",
        "nameSuffix",
        "namespace",
        "labels",
        "commonLabels",
        "commonAnnotations",
        "sortOptions",
        "buildMetadata",
    }
)
_REFERRING: Mapping[str, Role] = {
    "resources": Role.EITHER,
    "bases": Role.FOLDER,
    "components": Role.COMPONENT,
    "configurations": Role.FILE,
}
_PATCHING = frozenset({"patches", "patchesJson6902", "replacements"})
_PROGRAMS = "runs plugins, and nothing of a repository is run; commit what it makes"
_CHARTS = "renders Helm charts, which is not done here; commit what the chart makes"
_GENERATED = "makes ConfigMaps and Secrets; a policy folder holds policies only"
_WORKLOADS = "is about workloads; a policy folder holds policies only"
_REFUSED: Mapping[str, str] = {
    **dict.fromkeys(("generators", "transformers", "validators"), _PROGRAMS),
    **dict.fromkeys(("helmCharts", "helmChartInflationGenerator", "helmGlobals"), _CHARTS),
    **dict.fromkeys(("configMapGenerator", "secretGenerator", "generatorOptions"), _GENERATED),
    **dict.fromkeys(("images", "imageTags", "replicas"), _WORKLOADS),
    **dict.fromkeys(("openapi", "crds"), "changes how patches are merged; leave it out"),
    "vars": "is not supported (kustomize gives it up); write replacements",
}
_MERGING = "patchesStrategicMerge"
_KNOWN = sorted({*_PLAIN, *_REFERRING, *_PATCHING, _MERGING})
# What kustomize would take for a URL or a Git host; it tries that before it looks for a file.
_REMOTE = re.compile(r".*:|.*[?]ref=|(www\.)?(github|gitlab|bitbucket)\.(com|org)/|.*\.git(/|$)|.*_git/|[^/]+//")


@dataclass
class _Reader:
    """Goes over the fields of one kustomization."""

    path: str
    body: Mapping[str, Any]
    lines: Mapping[str, int]
    repeated: tuple[str, ...]

    def __post_init__(self) -> None:
        self._folder = posixpath.dirname(self.path)
        self._problems = [self._problem(field, DUPLICATE, "is given twice") for field in self.repeated]
        self._references: list[Reference] = []
        self._patches: list[Patch] = []

    def read(self) -> Kustomization:
        """Go over all fields."""
        kind = self.body.get("kind", "Kustomization")
        if kind not in ("Kustomization", "Component"):
            self._refuse("kind", NOT_SUPPORTED, f"{show(kind)} is neither Kustomization nor Component")
        for name, value in self.body.items():
            self._field(str(name), value)
        problems = tuple(sorted(self._problems))
        return Kustomization(self.path, kind == "Component", tuple(self._references), tuple(self._patches), problems)

    def _field(self, name: str, value: object) -> None:
        if name in _PLAIN:
            return
        if name == _MERGING:
            self._each(name, value, self._merge_patch)
        elif name in _REFERRING:
            self._each(name, value, lambda item, field: self._refer(item, field, _REFERRING[name]))
        elif name in _PATCHING:
            self._each(name, value, self._patch)
        elif name in _REFUSED:
            self._refuse(name, NOT_SUPPORTED, _REFUSED[name])
        else:
            self._refuse(name, UNKNOWN, f"unknown field; {suggest(name, _KNOWN)}")

    def _each(self, name: str, value: object, take: Callable[[Any, str], object]) -> None:
        if value is None:
            return
        if not isinstance(value, list):
            self._refuse(name, WRONG_TYPE, f"{show(value)} is not a list; start each item with '- '")
            return
        for index, item in enumerate(value):
            take(item, f"{name}[{index}]")

    def _merge_patch(self, item: object, field: str) -> None:
        """Take one of patchesStrategicMerge: a file, or the patch itself."""
        if isinstance(item, str) and "\n" in item.strip():
            self._patches.append(Patch(text=item, line=self._line(field)))
        elif (path := self._refer(item, field, Role.FILE)) is not None:
            self._patches.append(Patch(path))

    def _patch(self, item: object, field: str) -> None:
        if not isinstance(item, dict):
            self._refuse(field, WRONG_TYPE, f"{show(item)} is not a mapping")
            return
        target = item.get("target")
        kind = target.get("kind") if isinstance(target, dict) else None
        if "path" in item and (path := self._refer(item["path"], f"{field}.path", Role.FILE)) is not None:
            self._patches.append(Patch(path, kind=kind))
        if isinstance(item.get("patch"), str):
            self._patches.append(Patch(text=item["patch"], line=self._line(f"{field}.patch"), kind=kind))

    def _refer(self, item: object, field: str, role: Role) -> str | None:
        """Note where a reference leads and give it; None if it is refused."""
        if not isinstance(item, str) or not item.strip():
            self._refuse(field, WRONG_TYPE, f"{show(item)} is not a path")
            return None
        if (why := next(self._why_not(item), None)) is not None:
            self._refuse(field, FORBIDDEN, why)
            return None
        target = posixpath.normpath(posixpath.join(self._folder, item))
        reference = Reference("" if target == "." else target, role, field, self._line(field))
        self._references.append(reference)
        return reference.path

    def _why_not(self, item: str) -> Iterator[str]:
        """Say why a reference is refused, if it is."""
        if _REMOTE.match(item):
            yield f"{show(item)} is remote; only this repository is read: copy it here and name the folder"
        if item.startswith("/") or "\\" in item or any(not character.isprintable() for character in item):
            yield f"{show(item)} is no path inside the repository; write one relative to this file, with '/'"
        target = posixpath.normpath(posixpath.join(self._folder, item))
        if target == ".." or target.startswith("../"):
            yield f"{show(item)} leads out of the repository"

    def _refuse(self, field: str, reason: str, message: str) -> None:
        self._problems.append(self._problem(field, reason, message))

    def _problem(self, field: str, reason: str, message: str) -> Problem:
        return Problem(self.path, self._line(field), field, reason, message)

    def _line(self, field: str) -> int:
        return line_of(self.lines, field)
