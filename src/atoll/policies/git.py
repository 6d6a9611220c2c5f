"""The door to the git binary: fetch into a bare mirror, list and read files of a commit.

Nothing of Git leaves this module but plain values and Atoll's errors. It must never run a hook, a helper or a prompt,
never take a name from outside for an option, and go nowhere but where `remotes/` has judged that it may.
"""

import asyncio
import contextlib
import fcntl
import os
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from atoll.federation.errors import Internal, InvalidInput, NotFound, Unavailable
from atoll.policies.programs import Bounds, PrintedTooMuch, ProgramFailed, run
from atoll.policies.remotes.answers import TELL_ANSWERS, cause, fetch_error, is_redirected, redirect_target
from atoll.policies.remotes.pins import pins_for, ssh_command
from atoll.policies.remotes.reach import Reach
from atoll.policies.remotes.url import public_url

# Variables with which a surrounding git command (a hook, say) would redirect ours to another repository.
_FOREIGN = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_CEILING_DIRECTORIES",
)
_VARIABLES = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "file:https:ssh",
    "GIT_PROTOCOL_FROM_USER": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_ASKPASS": "true",
    "SSH_ASKPASS": "true",
    "LC_ALL": "C",
}
# No hook of this user's configuration runs, and no maintenance outlives the command that started it.
_SETTINGS = ("core.hooksPath=/dev/null", "gc.autoDetach=false", "maintenance.autoDetach=false")
_LOCK_RETRY_SECONDS = 0.05
# A repository of policies has some megabytes. A pack is one file: a server that sends without end fills no disk, and
# one whose contents are a thousand times as long when they are unpacked takes git's memory, not the hub's. What git
# prints is kept: the list of a million files has 100 MB, and the folders of one small pack may list any number.
_LARGEST_PACK_BYTES = 1 << 30
_GIT_MEMORY_BYTES = 3 << 30
_MOST_PRINTED_BYTES = 128 << 20
# What a git that was killed leaves of a pack or an object.
_UNFINISHED = ("objects/pack/tmp_*", "objects/??/tmp_obj_*")

# GitLab redirects a URL without ".git", GitHub that of a repository that was renamed: once. More is a loop.
_MOST_REDIRECTS = 3

# Git's modes of what is no plain file.
FOLDER_MODE, LINK_MODE, SUBMODULE_MODE = "040000", "120000", "160000"


@dataclass(frozen=True)
class Entry:
    """One entry of a commit's tree; the path is relative to the repository."""

    mode: str
    object_id: str
    size: int
    path: str

    @property
    def is_link(self) -> bool:
        """Say whether it is a symbolic link."""
        return self.mode == LINK_MODE

    @property
    def is_folder(self) -> bool:
        """Say whether it is a folder; a listing of files has none."""
        return self.mode == FOLDER_MODE

    @property
    def is_submodule(self) -> bool:
        """Say whether it is a reference to another repository's commit."""
        return self.mode == SUBMODULE_MODE


@dataclass(frozen=True)
class Signers:
    """Whose signatures count: SSH public keys as in an authorized_keys file, OpenPGP public keys in armour."""

    ssh_keys: tuple[str, ...] = ()
    gpg_keys: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Say whether a signature is asked for at all."""
        return bool(self.ssh_keys or self.gpg_keys)


# No signature is asked for.
NOBODY = Signers()


@contextlib.asynccontextmanager
async def mirror_lock(mirror: Path, timeout_seconds: float) -> AsyncIterator[None]:
    """Hold a mirror alone, against other tasks and other processes; Unavailable if it stays taken."""
    mirror.parent.mkdir(parents=True, exist_ok=True)
    with mirror.with_suffix(".lock").open("w") as handle:
        try:
            async with asyncio.timeout(timeout_seconds):
                await _wait_for_lock(handle.fileno())
        except TimeoutError as error:
            raise Unavailable(f"policy mirror {mirror.name} was in use for {timeout_seconds:g} s") from error
        yield


async def _wait_for_lock(descriptor: int) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            await asyncio.sleep(_LOCK_RETRY_SECONDS)


class Git:
    """One bare mirror. Every call is bounded by `timeout_seconds` and killed when its task is cancelled."""

    def __init__(self, mirror: Path, timeout_seconds: float, reach: Reach) -> None:
        self._mirror = mirror
        self._timeout_seconds = timeout_seconds
        self._reach = reach

    async def prepare(self) -> None:
        """Create the mirror unless it is there; the caller holds its lock, so what a killed git locked is free."""
        for pattern in ("*.lock", "refs/**/*.lock", *_UNFINISHED):
            for stale in self._mirror.glob(pattern):
                stale.unlink(missing_ok=True)
        if not (self._mirror / "HEAD").exists():
            await self._run("init", "--quiet", "--bare", "--template=", str(self._mirror), inside=False)

    async def fetch(self, repository: str) -> None:
        """Bring all branches and tags; those deleted there vanish here."""
        await self._fetch(repository, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")

    async def fetch_head(self, repository: str) -> str:
        """Bring the default branch and give its commit."""
        await self._fetch(repository, "+HEAD:refs/atoll/head")
        return await self.resolve("refs/atoll/head") or ""

    async def _fetch(self, repository: str, *refspecs: str) -> None:
        """Fetch, and where it is redirected fetch there: each place is judged before git goes to it."""
        at = repository
        for _ in range(_MOST_REDIRECTS + 1):
            redirected_to = await self._fetch_at(at, refspecs)
            if not redirected_to:
                return
            at = redirected_to
        raise InvalidInput(f"source.repository {public_url(repository)} redirects again and again; give another URL")

    async def _fetch_at(self, repository: str, refspecs: Sequence[str]) -> str:
        """Fetch from one place; give where it redirects to, empty if it does not."""
        pins = await pins_for(repository, self._reach, _environment(os.environ), self._timeout_seconds)
        options = ("--quiet", "--prune", "--force", "--no-tags", "--no-recurse-submodules")
        command = ("fetch", *options, "--", repository, *refspecs)
        try:
            await self._run(*command, settings=pins.settings, more=pins.environment)
        except ProgramFailed as error:
            if not is_redirected(error.stderr):
                raise fetch_error(repository, error.stderr) from error
        else:
            return ""
        try:
            await self._run(*command, settings=pins.settings, more={**pins.environment, **TELL_ANSWERS})
        except ProgramFailed as error:
            return redirect_target(repository, error.stderr)
        return ""

    async def resolve(self, name: str) -> str | None:
        """Give the full id of the commit that a name stands for, or None."""
        try:
            found = await self._run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        except ProgramFailed:
            return None
        return found.decode().strip()

    async def describe(self, commit: str) -> tuple[str, int]:
        """Give a commit's author and its commit time in seconds since 1970."""
        fields = await self._run(
            "show", "--no-patch", "--no-show-signature", "--encoding=UTF-8", "--format=%an <%ae>%x00%ct", commit
        )
        author, _, seconds = fields.decode(errors="replace").strip().rpartition("\x00")
        return author, int(seconds)

    async def verify(self, commit: str, allowed: Signers) -> str:
        """Say why a commit's signature does not count; empty if one of those allowed has signed it."""
        with tempfile.TemporaryDirectory(prefix="signers-") as folder:
            home = Path(folder)
            lines = "".join(f'* namespaces="git" {key}\n' for key in allowed.ssh_keys)
            (home / "allowed").write_text(lines)
            environment = {"GNUPGHOME": folder}
            try:
                for number, key in enumerate(allowed.gpg_keys):
                    (home / f"{number}.asc").write_text(key)
                    await _import_key(home, home / f"{number}.asc", self._timeout_seconds)
                settings = (f"gpg.ssh.allowedSignersFile={home / 'allowed'}",)
                await self._run("verify-commit", commit, settings=settings, more=environment)
            except ProgramFailed as error:
                return cause(error.stderr) if error.stderr else "it is not signed"
        return ""

    async def list_files(self, commit: str, folder: str) -> list[Entry]:
        """List all entries below a folder ("" is the root), links and submodules included; NotFound if it is none."""
        tree = f"{commit}:{folder}"
        try:
            listing = await self._run("ls-tree", "-r", "-z", "-l", tree)
        except ProgramFailed as error:
            if isinstance(error, PrintedTooMuch):
                raise InvalidInput(f"source.path {folder!r}: commit {commit[:12]} has too many files there") from error
            raise NotFound(f"source.path {folder!r}: commit {commit[:12]} has no such folder") from error
        prefix = f"{folder}/" if folder else ""
        return [_entry(record, prefix) for record in listing.split(b"\0") if record]

    async def read_files(self, object_ids: Sequence[str]) -> list[bytes]:
        """Give the contents of blobs, in order."""
        if not object_ids:
            return []
        wanted = "".join(f"{object_id}\n" for object_id in object_ids).encode()
        stream = await self._run("cat-file", "--batch", stdin=wanted)
        contents, position = [], 0
        for object_id in object_ids:
            end = stream.index(b"\n", position)
            header = stream[position:end].decode().split()
            if len(header) != 3 or header[0] != object_id:
                raise Internal(f"git cat-file gave {' '.join(header)!r} for {object_id}")
            size = int(header[2])
            contents.append(stream[end + 1 : end + 1 + size])
            position = end + 1 + size + 1
        return contents

    async def _run(
        self,
        *arguments: str,
        stdin: bytes = b"",
        inside: bool = True,
        settings: Sequence[str] = (),
        more: Mapping[str, str] | None = None,
    ) -> bytes:
        configured = [word for setting in (*_SETTINGS, *settings) for word in ("-c", setting)]
        command = ["git", *configured, *(("--git-dir", str(self._mirror)) if inside else ()), *arguments]
        return await _ask(command, f"git {arguments[0]}", self._timeout_seconds, stdin=stdin, more=more)


async def _ask(
    command: Sequence[str],
    name: str,
    timeout_seconds: float,
    *,
    stdin: bytes = b"",
    more: Mapping[str, str] | None = None,
) -> bytes:
    """Run git or gpg to its end and give what it printed."""
    environment = {**_environment(os.environ), **(more or {})}
    bounds = Bounds(
        timeout_seconds, _MOST_PRINTED_BYTES, memory_bytes=_GIT_MEMORY_BYTES, file_bytes=_LARGEST_PACK_BYTES
    )
    return await run(command, name, bounds, environment=environment, stdin=stdin)


async def _import_key(home: Path, key: Path, timeout_seconds: float) -> None:
    """Put an OpenPGP key into a keyring of its own; what is no key is left out, and then signs nothing."""
    command = ("gpg", "--homedir", str(home), "--batch", "--quiet", "--no-autostart", "--import", str(key))
    with contextlib.suppress(ProgramFailed):
        await _ask(command, "gpg", timeout_seconds)


def _environment(outer: Mapping[str, str]) -> dict[str, str]:
    """Take the caller's environment without its repository, and without anything that could ask a person."""
    kept = {name: value for name, value in outer.items() if name not in _FOREIGN}
    return kept | {"GIT_SSH_COMMAND": ssh_command(kept)} | _VARIABLES


def _entry(record: bytes, prefix: str) -> Entry:
    meta, _, path = record.partition(b"\t")
    mode, _kind, object_id, size = meta.decode().split()
    return Entry(mode, object_id, 0 if size == "-" else int(size), prefix + path.decode(errors="backslashreplace"))
