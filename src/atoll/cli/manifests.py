"""Reads manifests: files, folders and standard input, every document with the line of each of its fields.

Checks what can be known without the hub. It sends nothing.
"""

import difflib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atoll.cli import kinds
from atoll.cli.kinds import KindRef
from atoll.federation.errors import InvalidInput, NotFound
from atoll.federation.resources import BY_NAME, validation
from atoll.policies.yamldoc import Document, YamlError, line_of, read_documents

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
# What `kubectl apply -k` reads: it lists manifests and is none.
_KUSTOMIZATIONS = frozenset({"kustomization.yaml", "kustomization.yml"})


@dataclass(frozen=True)
class Manifest:
    """One document: what it says, which file it is from, what kind it is, and the line of each of its fields."""

    file: str
    body: dict[str, Any]
    ref: KindRef
    lines: Mapping[str, int] = field(repr=False)

    @property
    def name(self) -> str:
        """The object's name; empty if it has none."""
        return str(_metadata(self.body).get("name") or "")

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.file}:{self.lines.get('', 1)}"

    def namespace(self, default: str) -> str | None:
        """The namespace it belongs in: its own, else the default; None where the kind has none."""
        return str(_metadata(self.body).get("namespace") or default) if self.ref.namespaced else None


def load(sources: Iterable[str], *, recursive: bool) -> list[Manifest]:
    """Read and check every document of every source.

    Raises:
        NotFound: a file is not there.
        InvalidInput: something is wrong somewhere; `problems` names file, line, field and reason of everything found.
    """
    manifests: list[Manifest] = []
    problems: list[str] = []
    for name, text in _texts(sources, recursive=recursive):
        for found in _read(name, text):
            if isinstance(found, Manifest):
                manifests.append(found)
            else:
                problems.append(found)
    if problems:
        raise InvalidInput("nothing was applied, because:", problems)
    if not manifests:
        raise InvalidInput("no manifest found: give files or folders with .yaml, .yml or .json, or - and its text")
    return manifests


def _texts(sources: Iterable[str], *, recursive: bool) -> Iterator[tuple[str, str]]:
    for source in sources:
        if source == "-":
            yield "standard input", sys.stdin.read()
            continue
        path = Path(source)
        if not path.exists():
            raise NotFound(f"{source}: no such file or folder")
        for file in _files(path, recursive=recursive):
            yield str(file), _text(file)


def _files(path: Path, *, recursive: bool) -> list[Path]:
    if path.is_file():
        return [path]
    found = path.rglob("*") if recursive else path.glob("*")
    return sorted(file for file in found if _is_manifest(file))


def _is_manifest(file: Path) -> bool:
    return file.is_file() and file.suffix in _SUFFIXES and file.name not in _KUSTOMIZATIONS


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: is no UTF-8 text") from error


def _read(file: str, text: str) -> Iterator[Manifest | str]:
    """Give each good manifest of a file, and each problem of the others."""
    for document in read_documents(text):
        if isinstance(document, YamlError):
            yield f"{file}:{document.line}: {document.message}"
            continue
        for body, lines in _bodies(document):
            yield from _checked(file, body, lines)
        for path in document.repeated_keys:
            yield f"{file}:{line_of(document.lines, path)}: {path}: is given twice"


def _bodies(document: Document) -> Iterator[tuple[object, Mapping[str, int]]]:
    """Give the document, or the items of a `kind: List`."""
    body = document.value
    if not (isinstance(body, dict) and body.get("kind") == "List" and isinstance(body.get("items"), list)):
        yield body, document.lines
        return
    for index, item in enumerate(body["items"]):
        prefix = f"items[{index}]"
        within = {path: line for path, line in document.lines.items() if path.startswith(prefix)}
        yield item, {path.removeprefix(prefix).removeprefix("."): line for path, line in within.items()}


def _remedy(kind: str) -> str:
    if kind == "Kustomization":
        return ": apply its folder with 'kubectl apply -k'"
    near = difflib.get_close_matches(kind, [ref.name for ref in kinds.ALL], n=1, cutoff=0.75)
    return f": did you mean {near[0]}?" if near and near[0] != kind else ""


def _checked(file: str, body: object, lines: Mapping[str, int]) -> Iterator[Manifest | str]:
    if not isinstance(body, dict):
        yield f"{file}:{lines.get('', 1)}: a manifest is a mapping with apiVersion, kind and metadata"
        return
    ref = kinds.of_manifest(body)
    if ref is None:
        wanted = f"{body.get('apiVersion', '(no apiVersion)')} {body.get('kind', '(no kind)')}"
        yield f"{file}:{lines.get('', 1)}: the hub serves no kind {wanted}{_remedy(str(body.get('kind', '')))}"
        return
    manifest = Manifest(file, body, ref, lines)
    problems = sorted((line_of(lines, path), path, message) for path, message in _problems(manifest))
    if not problems:
        yield manifest
    who = f"{ref.name}/{manifest.name or '(no name)'}"
    yield from (f"{file}:{line}: {who} {path}: {message}" for line, path, message in problems)


def _problems(manifest: Manifest) -> Iterator[tuple[str, str]]:
    if not manifest.name and not _metadata(manifest.body).get("generateName"):
        yield "metadata.name", "is required"
    if manifest.ref.is_ours:
        _, problems = validation.parse(BY_NAME[manifest.ref.name], manifest.body)
        yield from ((problem.field, problem.message) for problem in problems)


def _metadata(body: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = body.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}
