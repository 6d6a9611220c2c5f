"""Policies from Git: the only I/O of this room.

Keeps a bare mirror per repository and reads files out of a commit; nothing is ever checked out, so no hook, filter or
link of a foreign repository touches this machine. It must not judge policies: `manifest.py` does.
"""

import asyncio
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from atoll.federation.errors import InvalidInput, NotFound
from atoll.policies.features import DEFAULT_FEATURES, Features
from atoll.policies.git import NOBODY, Entry, Git, Signers, mirror_lock, public_url
from atoll.policies.manifest import Manifest, Parsed, Problem, parse_file
from atoll.policies.trials.scenario import TEST_SUFFIXES, parse_scenarios
from atoll.policies.trials.trial import problems_of
from atoll.policies.validation.shapes import INVALID, NOT_SUPPORTED, REQUIRED, TOO_LONG, TOO_MANY, show

# A policy file that a person can review is far below this; above it the parser would hold the event loop for seconds.
LARGEST_FILE_BYTES = 1024 * 1024
# 6,300 policies, one per file, are the largest set reported by users (karmada#5978).
MOST_FILES = 20_000
LARGEST_BUNDLE_BYTES = 64 * 1024 * 1024
_POLICY_SUFFIXES = (".yaml", ".yml", ".json")
_KUSTOMIZATIONS = frozenset({"kustomization.yaml", "kustomization.yml", "Kustomization"})

_SCHEMES = ("https://", "ssh://", "file:///")
_SCP_LIKE = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^\s:][^\s]*")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True)
class GitSource:
    """Where policies are: a repository (https, ssh, file URL or absolute path), a branch, tag or commit, a folder.

    The revision HEAD means the repository's default branch; the path "." the whole repository. With `signers` the
    commit must be signed by one of them.
    """

    repository: str
    revision: str = "HEAD"
    path: str = "."
    signers: Signers = NOBODY


class SignatureRefused(InvalidInput):
    """The commit is not signed by anybody whose signature counts."""

    reason = "SignatureRefused"


@dataclass(frozen=True)
class Bundle:
    """The policies of one commit.

    With any problem, a bundle must not be rolled out: a policy that cannot be read may be the one that forbids, and a
    policy test that fails says that the policies are not what they are meant to be. `policy_tests` names the tests.
    """

    commit: str
    author: str
    committed_at: datetime
    manifests: tuple[Manifest, ...]
    problems: tuple[Problem, ...]
    policy_tests: tuple[str, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Say whether every file could be read in full."""
        return not self.problems


async def load_bundle(
    source: GitSource, workdir: Path, *, timeout_seconds: float = 60.0, features: Features = DEFAULT_FEATURES
) -> Bundle:
    """Fetch a repository and read the policies of one commit.

    Args:
        source: what to read.
        workdir: where mirrors are kept between calls; created if missing.
        timeout_seconds: for everything together; fetching is killed when it is over.
        features: what the agents of some target clusters have switched on.

    Raises:
        InvalidInput: the source itself is malformed.
        NotFound: the repository has no such revision or folder.
        SignatureRefused: the commit is not signed by one of the signers.
        Unavailable: the repository cannot be reached now (retryable).
    """
    check_source(source)
    mirror = workdir / f"{hashlib.sha256(source.repository.encode()).hexdigest()[:24]}.git"
    async with mirror_lock(mirror, timeout_seconds):
        git = Git(mirror, timeout_seconds)
        await git.prepare()
        commit = await _commit(git, source)
        if source.signers and (why := await git.verify(commit, source.signers)):
            raise SignatureRefused(f"commit {commit[:12]} is not rolled out: its signature does not count: {why}")
        entries = await git.list_files(commit, _folder(source.path))
        chosen, problems, tests = _choose(entries, source.path)
        contents = await git.read_files([entry.object_id for entry in (*chosen, *tests)])
        author, seconds = await git.describe(commit)
    paths = [entry.path for entry in chosen]
    # In a thread: thousands of files take seconds, and the caller's loop serves others meanwhile.
    manifests, wrong = await asyncio.to_thread(_read_all, paths, contents[: len(chosen)], features)
    problems += wrong
    if not problems:
        stated = zip(tests, contents[len(chosen) :], strict=True)
        problems += await asyncio.to_thread(_failures, {entry.path: text for entry, text in stated}, manifests)
    committed_at = datetime.fromtimestamp(seconds, UTC)
    names = tuple(entry.path for entry in tests)
    return Bundle(commit, author, committed_at, manifests, tuple(sorted(problems)), names)


def check_source(source: GitSource) -> None:
    """Refuse a source that Git could take for an option, a helper program or a path outside. InvalidInput."""
    repository = source.repository
    is_path = repository.startswith("/")
    if not is_path and not repository.startswith(_SCHEMES) and not _SCP_LIKE.fullmatch(repository):
        raise InvalidInput(
            f"source.repository {show(public_url(repository))}: write an https://, ssh:// or file:/// URL, "
            "user@host:path or an absolute path"
        )
    if re.search(r"[\s\x00-\x1f\x7f]", repository) or re.match(r"(ssh|https)://-", repository):
        raise InvalidInput(
            f"source.repository {show(public_url(repository))}: blanks and a host beginning with '-' are refused"
        )
    revision = source.revision
    if not _REVISION.fullmatch(revision) or ".." in revision or revision.endswith((".lock", "/", ".")):
        raise InvalidInput(f"source.revision {show(revision)}: write a branch, a tag or a commit")
    parts = PurePosixPath(source.path).parts
    if source.path.startswith("/") or ".." in parts or "\x00" in source.path or "\\" in source.path:
        raise InvalidInput(f"source.path {show(source.path)}: write a folder inside the repository, such as policies")


def _folder(path: str) -> str:
    return "" if path in ("", ".") else str(PurePosixPath(path))


async def _commit(git: Git, source: GitSource) -> str:
    """Find the commit that a revision names now. A full commit id that is already here needs no network."""
    revision = source.revision
    if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", revision) and (known := await git.resolve(revision)):
        return known
    if revision == "HEAD":
        return await git.fetch_head(source.repository)
    await git.fetch(source.repository)
    branch, tag = await git.resolve(f"refs/heads/{revision}"), await git.resolve(f"refs/tags/{revision}")
    if branch and tag and branch != tag:
        raise InvalidInput(f"source.revision {revision!r} is both a branch and a tag; give the commit or rename one")
    found = branch or tag or (await git.resolve(revision) if _COMMIT.fullmatch(revision) else None)
    if not found:
        raise NotFound(
            f"source.revision {revision!r}: {public_url(source.repository)} has no such branch, tag or commit"
        )
    return found


def _choose(entries: Iterable[Entry], folder: str) -> tuple[list[Entry], list[Problem], list[Entry]]:
    """Pick policies and policy tests; whatever would be passed over although it may hold policies is a problem."""
    chosen: list[Entry] = []
    problems: list[Problem] = []
    tests: list[Entry] = []
    total = 0
    for entry in entries:
        name = PurePosixPath(entry.path).name
        if wrong := _unreadable(entry, name):
            problems.append(Problem(entry.path, 1, "", *wrong))
        elif name.endswith(TEST_SUFFIXES):
            tests.append(entry)
        elif name.endswith(_POLICY_SUFFIXES):
            total += entry.size
            chosen.append(entry)
    if len(chosen) > MOST_FILES or total > LARGEST_BUNDLE_BYTES:
        message = f"{len(chosen)} policy files with {total} bytes are too many; split the folder into policy sets"
        return [], [Problem(folder, 1, "", TOO_MANY, message)], []
    if not chosen and not problems:
        # An empty folder is more likely a slip of the path than the wish to remove every policy.
        problems.append(Problem(folder, 1, "", REQUIRED, "holds no policy file (*.yaml, *.yml, *.json)"))
    return chosen, problems, tests


def _unreadable(entry: Entry, name: str) -> tuple[str, str] | None:
    if entry.is_link:
        return NOT_SUPPORTED, "is a symbolic link; put the file itself here"
    if entry.is_submodule:
        return NOT_SUPPORTED, "is a submodule; name its repository in a policy set of its own"
    if name in _KUSTOMIZATIONS:
        return NOT_SUPPORTED, "kustomizations are not supported yet; commit what `kubectl kustomize` prints"
    if name.endswith(_POLICY_SUFFIXES) and entry.size > LARGEST_FILE_BYTES:
        return TOO_LONG, f"has {entry.size} bytes, at most {LARGEST_FILE_BYTES} are read; split it"
    return None


def _read_all(
    paths: Sequence[str], contents: Sequence[bytes], features: Features
) -> tuple[tuple[Manifest, ...], tuple[Problem, ...]]:
    parsed = [_read(path, content, features) for path, content in zip(paths, contents, strict=True)]
    manifests = tuple(manifest for file in parsed for manifest in file.manifests)
    return manifests, tuple(problem for file in parsed for problem in file.problems)


def _failures(tests: Mapping[str, bytes], manifests: Sequence[Manifest]) -> list[Problem]:
    """Run the policy tests; give what is wrong with them, and each expectation that does not hold."""
    found: list[Problem] = []
    for path, content in tests.items():
        parsed = parse_scenarios(content.decode(errors="replace"), path)
        found += parsed.problems
        found += [problem for scenario in parsed.scenarios for problem in problems_of(scenario, manifests)]
    return found


def _read(path: str, content: bytes, features: Features) -> Parsed:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return Parsed(problems=(Problem(path, line, "", INVALID, "is not UTF-8 text"),))
    return parse_file(text, path, features)
