"""Policies from Git: a commit of a repository, as one bundle.

Keeps a bare mirror per repository and reads files out of a commit; nothing is ever checked out, so no hook, filter or
link of a foreign repository touches this machine. It must not judge policies: `folder.py` reads them.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from atoll.federation.errors import InvalidInput, NotFound
from atoll.policies.features import DEFAULT_FEATURES, Features
from atoll.policies.folder import FileId, Folder, read_folder
from atoll.policies.git import FOLDER_MODE, NOBODY, Entry, Git, Signers, mirror_lock
from atoll.policies.kustomize.gathering import Find
from atoll.policies.manifest import Manifest, Parsed, Problem
from atoll.policies.remotes.reach import DEFAULT_REACH, Reach
from atoll.policies.remotes.url import parse_remote, public_url
from atoll.policies.trials.scenario import Scenario, parse_scenarios
from atoll.policies.trials.trial import problems_of
from atoll.policies.validation.shapes import REQUIRED, show

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
    policy test that fails says that the policies are not what they are meant to be. `policy_tests` names the tests'
    files, `scenarios` is what they state.
    """

    commit: str
    author: str
    committed_at: datetime
    manifests: tuple[Manifest, ...]
    problems: tuple[Problem, ...]
    policy_tests: tuple[str, ...] = ()
    scenarios: tuple[Scenario, ...] = ()
    known: "Known | None" = field(default=None, repr=False, compare=False)

    @property
    def is_valid(self) -> bool:
        """Say whether every file could be read in full."""
        return not self.problems


@dataclass(frozen=True)
class Known:
    """What a bundle was read from, and what its files were parsed to: a later bundle parses only what changed."""

    source: tuple[str, str]
    features: Features
    parsed: Mapping[FileId, Parsed]


async def load_bundle(
    source: GitSource,
    workdir: Path,
    *,
    timeout_seconds: float = 60.0,
    reach: Reach = DEFAULT_REACH,
    features: Features = DEFAULT_FEATURES,
    last: Bundle | None = None,
) -> Bundle:
    """Fetch a repository and read the policies of one commit.

    Args:
        source: what to read.
        workdir: where mirrors are kept between calls; created if missing.
        timeout_seconds: for everything together; fetching is killed when it is over.
        reach: where git may go.
        features: what the agents of some target clusters have switched on.
        last: a bundle that was read before. If it is of the same source and commit it is given again; else of its
            files those that have not changed are not parsed again, and their manifests are the same objects.

    Raises:
        InvalidInput: the source itself is malformed.
        AddressRefused: the repository, or where it redirects to, is out of reach.
        NotFound: the repository has no such revision or folder.
        SignatureRefused: the commit is not signed by one of the signers.
        Unavailable: the repository cannot be reached now (retryable).
    """
    check_source(source)
    mirror = workdir / f"{hashlib.sha256(source.repository.encode()).hexdigest()[:24]}.git"
    async with mirror_lock(mirror, timeout_seconds):
        git = Git(mirror, timeout_seconds, reach)
        await git.prepare()
        commit = await _commit(git, source)
        if source.signers and (why := await git.verify(commit, source.signers)):
            raise SignatureRefused(f"commit {commit[:12]} is not rolled out: its signature does not count: {why}")
        known = _usable(last, source, features)
        if last is not None and known is not None and last.commit == commit:
            return last
        folder = await read_folder(
            _Commit(git, commit),
            _folder(source.path),
            features,
            timeout_seconds=timeout_seconds,
            known=known.parsed if known is not None else {},
        )
        author, seconds = await git.describe(commit)
    scenarios, problems = await _checked(folder, source)
    return Bundle(
        commit,
        author,
        datetime.fromtimestamp(seconds, UTC),
        folder.manifests,
        problems,
        tuple(folder.tests),
        scenarios,
        Known((source.repository, source.path), features, folder.parsed),
    )


async def _checked(folder: Folder, source: GitSource) -> tuple[tuple[Scenario, ...], tuple[Problem, ...]]:
    """Read and run the policy tests of a folder; give them, and all that is wrong with it."""
    problems = list(folder.problems)
    if not folder.files and not problems:
        # An empty folder is more likely a slip of the path than the wish to remove every policy.
        problems.append(Problem(source.path, 1, "", REQUIRED, "holds no policy file (*.yaml, *.yml, *.json)"))
    stated = [parse_scenarios(content.decode(errors="replace"), path) for path, content in folder.tests.items()]
    scenarios = tuple(scenario for one in stated for scenario in one.scenarios)
    if not problems:
        problems += [problem for one in stated for problem in one.problems]
        problems += await asyncio.to_thread(_failures, scenarios, folder.manifests)
    return scenarios, tuple(sorted(problems))


def _usable(last: Bundle | None, source: GitSource, features: Features) -> Known | None:
    """Give what is known of an earlier bundle, if it would be read the same way now."""
    known = last.known if last is not None else None
    is_alike = known is not None and (known.source, known.features) == ((source.repository, source.path), features)
    return known if is_alike else None


@dataclass(frozen=True)
class _Commit:
    """The tree of one commit."""

    git: Git
    commit: str

    async def list_files(self, folder: str) -> list[Entry]:
        """List all files below a folder."""
        return await self.git.list_files(self.commit, folder)

    async def finder(self) -> Find:
        """Give what finds an entry: the whole tree is listed once, its folders are those that hold something."""
        entries = {entry.path: entry for entry in await self.git.list_files(self.commit, "")}
        folders = {str(parent) for path in entries for parent in PurePosixPath(path).parents}

        def find(path: str) -> Entry | None:
            if (path or ".") in folders:
                return Entry(FOLDER_MODE, "", 0, path)
            return entries.get(path)

        return find

    async def read_files(self, entries: Sequence[Entry]) -> list[bytes]:
        """Give the contents of files."""
        return await self.git.read_files([entry.object_id for entry in entries])


def check_source(source: GitSource) -> None:
    """Refuse a source that Git could take for an option, a helper program or a path outside. InvalidInput."""
    parse_remote(source.repository)
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


def _failures(scenarios: Sequence[Scenario], manifests: Sequence[Manifest]) -> list[Problem]:
    """Run the policy tests; give each expectation that does not hold."""
    return [problem for scenario in scenarios for problem in problems_of(scenario, manifests)]
