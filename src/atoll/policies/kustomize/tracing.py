"""From rendered objects back to the lines that people wrote. Pure.

An object is traced to the document that it was written in, a field to the patch that wrote it, else to that document.
It must not render.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from atoll.policies.features import Features
from atoll.policies.kustomize.kustomization import Kustomization, Patch
from atoll.policies.kustomize.rendering import ORIGIN_ANNOTATION, origin_of
from atoll.policies.manifest import CLUSTER_SCOPED, Parsed, Problem, parse_document
from atoll.policies.validation.shapes import INVALID, join
from atoll.policies.yamldoc import Document, YamlError, line_of, read_documents

_AT_START: Mapping[str, int] = {"": 1}


@dataclass(frozen=True)
class _Writing:
    """What one patch wrote: the fields of a rendered object, each with its line in a file."""

    path: str
    kind: str | None
    name: str | None
    lines: Mapping[str, int]

    def is_for(self, body: Mapping[str, Any], name: str) -> bool:
        """Say whether it may have changed an object; names are compared with what prefixes made of them."""
        return self.kind in (None, body.get("kind")) and (self.name is None or self.name in name)


@dataclass
class Sources:
    """The files of a repository that were rendered."""

    contents: Mapping[str, bytes]
    kustomizations: Iterable[Kustomization]
    _documents: dict[str, list[Document]] = field(default_factory=dict)
    _writings: list[_Writing] | None = None

    def document(self, path: str, body: Mapping[str, Any], name: str) -> Document:
        """Give the document of a file that an object was made from: of its kind, the longest name within its own."""
        found = [one for one in self._read(path) if isinstance(one.value, dict)]
        alike = [one for one in found if _word(one, "kind") == body.get("kind") and _name(one) in name]
        best = max(alike, key=lambda one: len(_name(one)), default=found[0] if len(found) == 1 else None)
        return best if best is not None else Document(None, _AT_START)

    def writings(self, body: Mapping[str, Any], name: str) -> list[_Writing]:
        """Give what patches may have written into an object, the last one first."""
        if self._writings is None:
            self._writings = [
                writing for one in self.kustomizations for patch in one.patches for writing in self._written(one, patch)
            ]
        return [writing for writing in reversed(self._writings) if writing.is_for(body, name)]

    def _read(self, path: str) -> list[Document]:
        if path not in self._documents:
            text = self.contents.get(path, b"").decode(errors="replace")
            self._documents[path] = [one for one in read_documents(text) if isinstance(one, Document)]
        return self._documents[path]

    def _written(self, owner: Kustomization, patch: Patch) -> Iterator[_Writing]:
        if patch.path is not None:
            path, documents, before = patch.path, self._read(patch.path), 0
        else:
            path, before = owner.path, patch.line
            documents = [one for one in read_documents(patch.text) if isinstance(one, Document)]
        for document in documents:
            value = document.value
            lines = _of_merge(document) if isinstance(value, dict) else _of_operations(document)
            moved = {name: line + before for name, line in lines.items()}
            own_kind, own_name = (_word(document, "kind"), _name(document)) if isinstance(value, dict) else ("", "")
            yield _Writing(path, patch.kind or own_kind or None, None if patch.kind else own_name or None, moved)


def read_rendered(text: str, root: str, sources: Sources, features: Features) -> Parsed:
    """Read what a kustomization came to: its policies, and each problem where a person can mend it.

    Args:
        text: what kubectl printed.
        root: the kustomization file that was rendered.
        sources: the files that it was rendered from.
        features: what the agents of some target clusters have switched on.
    """
    found = [_read_one(document, root, sources, features) for document in read_documents(text)]
    manifests = tuple(manifest for one in found for manifest in one.manifests)
    return Parsed(manifests, tuple(sorted(problem for one in found for problem in one.problems)))


def _read_one(document: Document | YamlError, root: str, sources: Sources, features: Features) -> Parsed:
    if isinstance(document, YamlError) or not isinstance(document.value, dict):
        why = document.message if isinstance(document, YamlError) else "it is no object"
        return Parsed(problems=(Problem(root, 1, "", INVALID, f"renders to what is no policy: {why}"),))
    body, path = _cleaned(document.value)
    name = str(body.get("metadata", {}).get("name", ""))
    source = sources.document(path, body, name) if path else Document(None, _AT_START)
    parsed = parse_document(Document(body, source.lines), path or root, features)
    writings = sources.writings(body, name) if parsed.problems else []
    return Parsed(parsed.manifests, tuple(_placed(problem, root, source, writings) for problem in parsed.problems))


def _cleaned(body: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Take off what rendering added: where an object comes from, and the namespace of what has none.

    kustomize knows no custom kind and gives every one a namespace; the API server drops it where there is none.
    """
    metadata = dict(body.get("metadata") or {})
    annotations = dict(metadata.pop("annotations", None) or {})
    path = origin_of(str(annotations.pop(ORIGIN_ANNOTATION, "")))
    if annotations:
        metadata["annotations"] = annotations
    if body.get("kind") in CLUSTER_SCOPED:
        metadata.pop("namespace", None)
    return {**body, "metadata": metadata}, path


def _placed(problem: Problem, root: str, source: Document, writings: Iterable[_Writing]) -> Problem:
    """Move a problem to whoever wrote the field, or the nearest field around it."""
    best, path, line = len(_nearest(source.lines, problem.field)), problem.path, problem.line
    for writing in writings:
        near = _nearest(writing.lines, problem.field)
        if near and len(near) >= best:
            best, path, line = len(near) + 1, writing.path, writing.lines[near]
    said = problem.message if path == root else f"{problem.message} (rendered by {root})"
    return replace(problem, path=path, line=line, message=said)


def _nearest(lines: Mapping[str, int], path: str) -> str:
    """Give the field itself or the nearest around it that is written; "" if none is."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return path


def _of_merge(document: Document) -> dict[str, int]:
    """Give what a strategic merge patch writes: its texts, numbers and lists; mappings are merged, not written."""
    roots = set(_leaves(document.value, ""))
    return {
        name: line
        for name, line in document.lines.items()
        if any(name == root or name.startswith((f"{root}.", f"{root}[")) for root in roots)
    }


def _leaves(value: object, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _leaves(member, join(path, name))
    elif path not in ("apiVersion", "kind", "metadata.name"):
        yield path


def _of_operations(document: Document) -> dict[str, int]:
    """Give what the operations of a JSON patch write."""
    found: dict[str, int] = {}
    for index, operation in enumerate(document.value if isinstance(document.value, list) else ()):
        pointer = operation.get("path") if isinstance(operation, dict) else None
        if not isinstance(pointer, str):
            continue
        target, value = _field(pointer), f"[{index}].value"
        found[target] = line_of(document.lines, f"[{index}].path")
        for name, line in document.lines.items():
            if name.startswith((f"{value}.", f"{value}[")) and not pointer.endswith("/-"):
                found[target + name.removeprefix(value)] = line
    return found


def _field(pointer: str) -> str:
    """Write a JSON pointer as a field: /spec/ingress/0 is spec.ingress[0]; what is appended belongs to its list."""
    path = ""
    for token in pointer.removesuffix("/-").split("/")[1:]:
        word = token.replace("~1", "/").replace("~0", "~")
        path = f"{path}[{word}]" if re.fullmatch(r"\d+", word) else join(path, word)
    return path


def _word(document: Document, name: str) -> str:
    return str(document.value.get(name) or "") if isinstance(document.value, dict) else ""


def _name(document: Document) -> str:
    metadata = document.value.get("metadata") if isinstance(document.value, dict) else None
    return str(metadata.get("name") or "") if isinstance(metadata, dict) else ""
