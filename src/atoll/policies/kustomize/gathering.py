"""Which kustomizations of a folder are rendered, and every file that rendering them reads. Pure.

Whatever a folder holds that no rendering uses is a problem: it would be passed over, and it may be the policy that
forbids. It must not read: who calls it gives it the contents that it says are missing, and calls again.
"""

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from atoll.policies.git import Entry
from atoll.policies.kustomize.kustomization import (
    FILE_NAMES,
    Kustomization,
    Reference,
    Role,
    parse_kustomization,
)
from atoll.policies.manifest import LARGEST_FILE_BYTES, Problem
from atoll.policies.validation.shapes import DUPLICATE, FORBIDDEN, INVALID, NOT_SUPPORTED, REQUIRED, TOO_MANY

# Each rendering starts kubectl, a tenth of a second; a folder with more of them has another purpose than policies.
MOST_ROOTS = 200
# Bases upon bases; people use three.
_DEEPEST = 50
Find = Callable[[str], Entry | None]


@dataclass(frozen=True)
class Gathered:
    """What a folder's kustomizations come to.

    Attributes:
        roots: folders to render, none of which another one uses.
        files: all files that rendering reads.
        kustomizations: those that were read, by path.
        tops: folders whose files belong to kustomizations.
        missing: kustomization files whose contents must be known before anything else is sure.
        problems: what is wrong; then nothing must be rendered.
    """

    roots: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()
    kustomizations: Mapping[str, Kustomization] = field(default_factory=dict)
    tops: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()

    def file_of(self, root: str) -> str:
        """Give the kustomization file of a folder."""
        return next(path for path in self.kustomizations if posixpath.dirname(path) == root)

    def owns(self, path: str) -> bool:
        """Say whether a file lies in the folder of a kustomization, or below: then it is no policy by itself."""
        return any(_is_within(path, top) for top in self.tops)


def gather(inside: Sequence[str], find: Find, contents: Mapping[str, bytes]) -> Gathered:
    """Find out what is to be rendered of a folder.

    Args:
        inside: the YAML and JSON files of the folder that are no policy tests, and its kustomization files.
        find: gives the entry of a path of the repository, folders included; None if there is none.
        contents: what is known of kustomization files.
    """
    by_folder = {posixpath.dirname(path): path for path in inside if posixpath.basename(path) in FILE_NAMES}
    tops = frozenset(
        folder for folder in by_folder if not any(folder != other and _is_within(folder, other) for other in by_folder)
    )
    walk = _Walk(find, contents)
    for top in sorted(tops):
        walk.visit(by_folder[top], ())
    if walk.missing:
        return Gathered(tops=tops, missing=frozenset(walk.missing))
    roots = tuple(sorted(top for top in tops if top not in walk.used and not walk.is_component(by_folder[top])))
    problems = [*walk.problems, *_passed_over(inside, by_folder, tops, walk), *_doubled(inside)]
    if len(roots) > MOST_ROOTS:
        message = f"{len(roots)} kustomizations are too many to render, at most {MOST_ROOTS}; make one that names them"
        problems.append(Problem(by_folder[roots[0]], 1, "", TOO_MANY, message))
    return Gathered(roots, frozenset(walk.files), walk.known, tops, problems=tuple(sorted(set(problems))))


def _is_within(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")


@dataclass
class _Walk:
    """Follows references from kustomization to kustomization."""

    find: Find
    contents: Mapping[str, bytes]
    known: dict[str, Kustomization] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def visit(self, path: str, above: tuple[str, ...]) -> None:
        """Take a kustomization and all that it refers to; `above` are those that led here."""
        if path in self.known:
            return
        if path not in self.contents:
            self.missing.add(path)
            return
        found = self.known[path] = parse_kustomization(self.contents[path], path)
        self.files.add(path)
        self.problems += found.problems
        for reference in found.references:
            self._follow(found, reference, (*above, path))

    def is_component(self, path: str) -> bool:
        """Say whether a kustomization is a component, which is nothing by itself."""
        return path in self.known and self.known[path].is_component

    def _follow(self, origin: Kustomization, reference: Reference, above: tuple[str, ...]) -> None:
        entry = self._entry(reference.path)
        if isinstance(entry, str):
            self._blame(origin, reference, NOT_SUPPORTED, entry)
        elif entry is None:
            self._blame(origin, reference, INVALID, f"there is no {reference.path or '.'} in the repository")
        elif not entry.is_folder and reference.role in (Role.FILE, Role.EITHER):
            self._take(origin, reference)
        elif entry.is_folder and reference.role is not Role.FILE:
            self._enter(origin, reference, above)
        else:
            self._blame(origin, reference, INVALID, f"{reference.path} is no {reference.role.value}")

    def _take(self, origin: Kustomization, reference: Reference) -> None:
        if _is_within(reference.path, origin.folder):
            self.files.add(reference.path)
            return
        message = f"{reference.path} lies outside of {origin.folder}; kustomize reads files from there only"
        self._blame(origin, reference, FORBIDDEN, message)

    def _enter(self, origin: Kustomization, reference: Reference, above: tuple[str, ...]) -> None:
        path = next((p for name in FILE_NAMES if self.find(p := posixpath.join(reference.path, name))), None)
        if path is None:
            self._blame(origin, reference, INVALID, f"{reference.path or '.'} has no {FILE_NAMES[0]}")
            return
        if path in above or len(above) > _DEEPEST:
            why = "leads back to itself" if path in above else f"lies more than {_DEEPEST} kustomizations deep"
            self._blame(origin, reference, FORBIDDEN, f"{reference.path or '.'} {why}")
            return
        entry = self._entry(path)
        if isinstance(entry, str):
            self._blame(origin, reference, NOT_SUPPORTED, entry)
            return
        self.visit(path, above)
        self.used.add(reference.path)
        if path in self.known and self.known[path].is_component is not (reference.role is Role.COMPONENT):
            named = "under components" if self.known[path].is_component else "under resources"
            self._blame(origin, reference, INVALID, f"{path} is a {self._kind(path)}; name it {named}")

    def _kind(self, path: str) -> str:
        return "Component" if self.known[path].is_component else "Kustomization"

    def _entry(self, path: str) -> Entry | str | None:
        """Give what is at a path, or why it is not read: on the way to it is no link and no other repository."""
        parts = path.split("/") if path else []
        for end in range(1, len(parts) + 1):
            step = self.find("/".join(parts[:end]))
            if step is not None and (step.is_link or step.is_submodule):
                what = "symbolic link" if step.is_link else "submodule"
                return f"{step.path} is a {what}; put the files themselves here"
        found = self.find(path)
        if found is not None and found.size > LARGEST_FILE_BYTES:
            return f"{path} has {found.size} bytes, at most {LARGEST_FILE_BYTES} are read; split it"
        return found

    def _blame(self, origin: Kustomization, reference: Reference, reason: str, message: str) -> None:
        self.problems.append(Problem(origin.path, reference.line, reference.field, reason, message))


def _passed_over(
    inside: Sequence[str], by_folder: Mapping[str, str], tops: frozenset[str], walk: _Walk
) -> Iterator[Problem]:
    """Report what lies in the folder of a kustomization and is used by none."""
    unused = {folder for folder, path in by_folder.items() if path not in walk.files}
    for folder in sorted(unused):
        if not any(folder != other and _is_within(folder, other) for other in unused):
            message = "no kustomization uses this one, so it would be passed over: refer to it, or move it away"
            yield Problem(by_folder[folder], 1, "", REQUIRED, message)
    for top in sorted(tops):
        if top not in walk.used and walk.is_component(by_folder[top]):
            message = "a Component is nothing by itself; name it under components of a kustomization"
            yield Problem(by_folder[top], 1, "kind", REQUIRED, message)
    for path in inside:
        is_beneath = any(_is_within(path, top) for top in tops)
        if is_beneath and path not in walk.files and not any(_is_within(path, folder) for folder in unused):
            message = (
                "no kustomization uses this file, so it would be passed over: add it to resources, or move it away"
            )
            yield Problem(path, 1, "", REQUIRED, message)


def _doubled(inside: Sequence[str]) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for path in inside:
        if posixpath.basename(path) in FILE_NAMES:
            first = seen.setdefault(posixpath.dirname(path), path)
            if first != path:
                yield Problem(path, 1, "", DUPLICATE, f"{posixpath.basename(first)} is here as well; keep one")
