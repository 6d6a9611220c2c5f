"""A folder of policies, of a commit or on disk: which files count, what they hold, and everything wrong with them.

It is the same reading for the hub, which rolls a commit out, and for whoever checks a folder before committing it. It
must not judge flows: `trials/` runs the policy tests that are found here.
"""

import asyncio
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from atoll.policies.features import Features
from atoll.policies.git import Entry
from atoll.policies.kustomize.gathering import Find, Gathered, gather
from atoll.policies.kustomize.kustomization import FILE_NAMES
from atoll.policies.kustomize.rendering import RenderingFailed, Workshop
from atoll.policies.kustomize.tracing import Sources, read_rendered
from atoll.policies.manifest import LARGEST_FILE_BYTES, Manifest, Parsed, Problem, parse_file
from atoll.policies.trials.scenario import TEST_SUFFIXES
from atoll.policies.validation.shapes import INVALID, NOT_SUPPORTED, TOO_LONG, TOO_MANY

# 6,300 policies, one per file, are the largest set reported by users (karmada#5978).
MOST_FILES = 20_000
LARGEST_BUNDLE_BYTES = 64 * 1024 * 1024
_POLICY_SUFFIXES = (".yaml", ".yml", ".json")


class Tree(Protocol):
    """Where files are: a commit of a repository, or a checkout. All paths are relative to its root."""

    async def list_files(self, folder: str) -> list[Entry]:
        """List all files below a folder, links and submodules included."""

    async def finder(self) -> Find:
        """Give what finds the entry of a path anywhere in the tree."""

    async def read_files(self, entries: Sequence[Entry]) -> list[bytes]:
        """Give the contents of files, in order."""


# A file as a commit has it: its path and the id of its content.
FileId = tuple[str, str]
_NOTHING: Mapping[FileId, Parsed] = {}


@dataclass(frozen=True)
class Folder:
    """What a folder holds.

    Attributes:
        manifests: the policies that could be read.
        problems: everything wrong; with any, the policies are not all.
        tests: the policy tests, by path.
        files: how many files were read for the policies.
        parsed: what each file was parsed to, by its path and content's id.
    """

    manifests: tuple[Manifest, ...]
    problems: tuple[Problem, ...]
    tests: Mapping[str, bytes]
    files: int
    parsed: Mapping[FileId, Parsed]


@dataclass(frozen=True)
class _Chosen:
    """The entries that count, and what would be passed over although it may hold policies."""

    policies: tuple[Entry, ...] = ()
    kustomizations: tuple[Entry, ...] = ()
    tests: tuple[Entry, ...] = ()
    problems: tuple[Problem, ...] = ()


async def read_folder(
    tree: Tree, folder: str, features: Features, *, timeout_seconds: float, known: Mapping[FileId, Parsed] = _NOTHING
) -> Folder:
    """Read every policy of a folder, those that kustomizations make included.

    Args:
        tree: where it is.
        folder: its path; "" is the root.
        features: what the agents of some target clusters have switched on.
        timeout_seconds: for each rendering of a kustomization.
        known: what files were parsed to before, under the same features; those are not read again.

    Raises:
        Unavailable: kubectl is needed and not installed, or takes longer than `timeout_seconds`.
    """
    chosen = _choose(await tree.list_files(folder), folder)
    gathered = Gathered()
    find: Find = _find_nothing
    if chosen.kustomizations:
        find = await tree.finder()
        gathered = await _gather(tree, chosen, find)
    plain = [entry for entry in chosen.policies if not gathered.owns(entry.path)]
    new = [entry for entry in plain if _id(entry) not in known]
    contents = await tree.read_files((*new, *chosen.tests))
    # In a thread: thousands of files take seconds, and the caller's loop serves others meanwhile.
    fresh = await asyncio.to_thread(_read_all, new, contents, features)
    parsed = {_id(entry): fresh.get(_id(entry)) or known[_id(entry)] for entry in plain}
    found = list(parsed.values())
    problems = [*chosen.problems, *gathered.problems]
    if gathered.roots and not problems:
        found.append(await _render(tree, gathered, find, features, timeout_seconds=timeout_seconds))
    manifests = tuple(manifest for one in found for manifest in one.manifests)
    problems += [problem for one in found for problem in one.problems]
    tests = dict(zip([entry.path for entry in chosen.tests], contents[len(new) :], strict=True))
    return Folder(manifests, tuple(sorted(set(problems))), tests, len(plain) + len(gathered.files), parsed)


def _id(entry: Entry) -> FileId:
    return entry.path, entry.object_id


def _find_nothing(_path: str) -> Entry | None:
    return None


# --- choosing


def _choose(entries: Iterable[Entry], folder: str) -> _Chosen:
    """Sort entries; whatever would be passed over although it may hold policies is a problem."""
    policies: list[Entry] = []
    kustomizations: list[Entry] = []
    tests: list[Entry] = []
    problems: list[Problem] = []
    for entry in entries:
        name = posixpath.basename(entry.path)
        if wrong := _unreadable(entry, name):
            problems.append(Problem(entry.path, 1, "", *wrong))
        elif name in FILE_NAMES:
            kustomizations.append(entry)
        elif name.endswith(TEST_SUFFIXES):
            tests.append(entry)
        elif name.endswith(_POLICY_SUFFIXES):
            policies.append(entry)
    if too_much := _too_much((*policies, *kustomizations, *tests)):
        return _Chosen(problems=(Problem(folder, 1, "", TOO_MANY, too_much),))
    return _Chosen(tuple(policies), tuple(kustomizations), tuple(tests), tuple(problems))


def _unreadable(entry: Entry, name: str) -> tuple[str, str] | None:
    if entry.is_link:
        return NOT_SUPPORTED, "is a symbolic link; put the file itself here"
    if entry.is_submodule:
        return NOT_SUPPORTED, "is a submodule; name its repository in a policy set of its own"
    if (name.endswith(_POLICY_SUFFIXES) or name in FILE_NAMES) and entry.size > LARGEST_FILE_BYTES:
        return TOO_LONG, f"has {entry.size} bytes, at most {LARGEST_FILE_BYTES} are read; split it"
    return None


def _too_much(entries: Sequence[Entry]) -> str:
    total = sum(entry.size for entry in entries)
    if len(entries) <= MOST_FILES and total <= LARGEST_BUNDLE_BYTES:
        return ""
    return f"{len(entries)} policy files with {total} bytes are too many; split the folder into policy sets"


# --- plain files


def _read_all(entries: Sequence[Entry], contents: Sequence[bytes], features: Features) -> dict[FileId, Parsed]:
    pairs = zip(entries, contents[: len(entries)], strict=True)
    return {_id(entry): _read(entry.path, content, features) for entry, content in pairs}


def _read(path: str, content: bytes, features: Features) -> Parsed:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Parsed(problems=(Problem(path, line, "", INVALID, "is not UTF-8 text"),))
    return parse_file(text, path, features)


# --- kustomizations


async def _gather(tree: Tree, chosen: _Chosen, find: Find) -> Gathered:
    """Follow kustomizations, reading each as it is met."""
    inside = [entry.path for entry in (*chosen.policies, *chosen.kustomizations)]
    known: dict[str, bytes] = {}
    while True:
        gathered = gather(inside, find, known)
        if not gathered.missing:
            return gathered
        wanted = [entry for path in sorted(gathered.missing) if (entry := find(path)) is not None]
        known |= dict(zip([entry.path for entry in wanted], await tree.read_files(wanted), strict=True))


async def _render(tree: Tree, gathered: Gathered, find: Find, features: Features, *, timeout_seconds: float) -> Parsed:
    """Render every root and read what comes out."""
    entries = [entry for path in sorted(gathered.files) if (entry := find(path)) is not None]
    if too_much := _too_much(entries):
        return Parsed(problems=(Problem(gathered.roots[0], 1, "", TOO_MANY, too_much),))
    contents = dict(zip([entry.path for entry in entries], await tree.read_files(entries), strict=True))
    sources = Sources(contents, tuple(gathered.kustomizations.values()))
    manifests: list[Manifest] = []
    problems: list[Problem] = []
    async with Workshop(contents) as workshop:
        for root in gathered.roots:
            file = gathered.file_of(root)
            try:
                text = await workshop.render(root, timeout_seconds)
            except RenderingFailed as error:
                problems.append(Problem(file, 1, "", INVALID, f"cannot be rendered: {error}"))
                continue
            parsed = await asyncio.to_thread(read_rendered, text, file, sources, features)
            manifests += parsed.manifests
            problems += parsed.problems
    return Parsed(tuple(manifests), tuple(problems))
