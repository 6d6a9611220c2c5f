"""A bundle is exactly what one commit of a Git repository holds; hostile sources are refused."""

import asyncio
import os
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from atoll.federation.errors import InvalidInput, NotFound, Unavailable
from atoll.policies.bundle import Bundle, GitSource, SignatureRefused, load_bundle
from atoll.policies.features import Features
from atoll.policies.git import Signers
from atoll.policies.remotes.reach import Reach

LOOPBACK = Reach.parse(["127.0.0.0/8"], [])
POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: NAME, namespace: prod}
spec: {podSelector: {}}
"""


def named(name: str) -> str:
    """Give a policy of that name."""
    return POLICY.replace("NAME", name)


def names(bundle: Bundle) -> list[str]:
    """Give the names of a bundle's manifests."""
    return [manifest.name for manifest in bundle.manifests]


async def load(repository: object, tmp_path: Path, revision: str = "main", path: str = ".") -> Bundle:
    """Load a bundle from a test repository."""
    return await load_bundle(GitSource(str(repository.path), revision, path), tmp_path / "mirrors")


async def test_a_branch_gives_its_newest_commit_author_and_time(repository, tmp_path) -> None:
    first = repository.commit({"policies/a.yaml": named("a"), "README.md": "no policy"})
    bundle = await load(repository, tmp_path, path="policies")
    assert (bundle.commit, bundle.author) == (first, "Ada <ada@example.org>")
    assert bundle.committed_at == datetime(2026, 3, 1, 11, 0, tzinfo=UTC)
    assert names(bundle) == ["a"]
    assert str(bundle.manifests[0].origin) == "policies/a.yaml:1"
    assert bundle.is_valid

    second = repository.commit({"policies/deep/b.yml": named("b"), "policies/c.json": "{}"})
    bundle = await load(repository, tmp_path, path="policies")
    assert bundle.commit == second
    assert names(bundle) == ["a", "b"]
    assert [problem.path for problem in bundle.problems] == ["policies/c.json"]


async def test_tags_commits_and_the_default_branch_are_resolved(repository, tmp_path) -> None:
    first = repository.commit({"a.yaml": named("a")})
    repository.git("tag", "-a", "v1", "-m", "one")
    second = repository.commit({"b.yaml": named("b")})
    revisions = {"v1": first, first: first, first[:10]: first, "main": second, "HEAD": second}
    for revision, commit in revisions.items():
        assert (await load(repository, tmp_path, revision)).commit == commit, revision


async def test_a_commit_that_is_already_here_needs_no_repository(repository, tmp_path) -> None:
    commit = repository.commit({"a.yaml": named("a")})
    await load(repository, tmp_path)
    repository.path.rename(tmp_path / "gone")
    assert names(await load(repository, tmp_path, commit)) == ["a"]
    with pytest.raises(NotFound) as caught:
        await load(repository, tmp_path, "main")
    said = f"source.repository {repository.path} is no Git repository, or there is nothing there: check the URL"
    assert str(caught.value) == said


async def test_of_a_new_commit_only_what_changed_is_parsed_and_the_same_commit_is_the_same_bundle(
    repository, tmp_path
) -> None:
    source = GitSource(str(repository.path), "main", ".")
    repository.commit({"a.yaml": named("a"), "b.yaml": named("b")})
    first = await load_bundle(source, tmp_path / "mirrors")
    assert await load_bundle(source, tmp_path / "mirrors", last=first) is first
    repository.commit({"b.yaml": named("b2"), "copy/a.yaml": named("a")})
    second = await load_bundle(source, tmp_path / "mirrors", last=first)
    assert names(second) == ["a", "b2", "a"]
    assert second.manifests[0] is first.manifests[0]
    assert str(second.manifests[2].origin) == "copy/a.yaml:1"
    others = await load_bundle(source, tmp_path / "mirrors", last=first, features=Features(host_firewall=True))
    assert others.manifests[0] is not first.manifests[0], "other features may judge it otherwise"


async def test_a_rewritten_branch_is_followed(repository, tmp_path) -> None:
    repository.commit({"a.yaml": named("a")})
    await load(repository, tmp_path)
    (repository.path / "a.yaml").unlink()
    repository.commit({"z.yaml": named("z")})
    repository.git("commit", "--quiet", "--amend", "-m", "other")
    assert names(await load(repository, tmp_path)) == ["z"]


async def test_a_name_that_is_branch_and_tag_at_once_is_refused(repository, tmp_path) -> None:
    repository.commit({"a.yaml": named("a")})
    repository.git("tag", "release")
    repository.commit({"b.yaml": named("b")})
    repository.git("branch", "release")
    with pytest.raises(InvalidInput, match="both a branch and a tag"):
        await load(repository, tmp_path, "release")


@pytest.mark.parametrize(("revision", "path"), [("nowhere", "."), ("main", "missing"), ("main", "a.yaml")])
async def test_what_is_not_there_is_named(repository, tmp_path, revision: str, path: str) -> None:
    repository.commit({"a.yaml": named("a")})
    with pytest.raises(NotFound, match=revision if revision == "nowhere" else path):
        await load(repository, tmp_path, revision, path)


async def test_a_repository_without_commits_is_named(repository, tmp_path) -> None:
    with pytest.raises(NotFound, match="no commit yet"):
        await load(repository, tmp_path, "HEAD")


async def test_a_folder_without_policies_is_a_problem_because_it_would_remove_all(repository, tmp_path) -> None:
    repository.commit({"docs/readme.md": "x"})
    bundle = await load(repository, tmp_path, path="docs")
    assert [(problem.path, problem.reason) for problem in bundle.problems] == [("docs", "FieldValueRequired")]


async def test_links_submodules_and_large_files_are_problems_not_gaps(repository, tmp_path) -> None:
    inner = repository.commit({"a.yaml": named("a")})
    (repository.path / "link.yaml").symlink_to("/etc/passwd")
    (repository.path / "folder").symlink_to("/etc")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{inner},module")
    repository.commit({"large.yaml": named("l") + "#" * (1 << 20), "latin.yaml": named("x")})
    (repository.path / "latin.yaml").write_bytes(named("y").encode() + b"# \xe9\n")
    repository.commit({"expected.policytest.yaml": "tests: []"})
    bundle = await load(repository, tmp_path)
    found = {problem.path: problem.message for problem in bundle.problems}
    assert names(bundle) == ["a"]
    assert "symbolic link" in found["link.yaml"] and "symbolic link" in found["folder"]
    assert "at most 1048576" in found["large.yaml"]
    assert "not UTF-8" in found["latin.yaml"]
    assert set(found) == {"link.yaml", "folder", "large.yaml", "latin.yaml"}
    assert bundle.policy_tests == ("expected.policytest.yaml",)


async def test_a_submodule_is_a_problem(repository, tmp_path) -> None:
    inner = repository.commit({"a.yaml": named("a")})
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{inner},module")
    repository.git("commit", "--quiet", "-m", "module")
    bundle = await load(repository, tmp_path)
    assert [problem.message.split(";")[0] for problem in bundle.problems] == ["is a submodule"]


async def test_odd_file_names_are_read_as_they_are(repository, tmp_path) -> None:
    repository.commit(
        {"über :(top) *.yaml": named("a"), "new\nline.yaml": named("b"), "--upload-pack=x.yaml": named("c")}
    )
    assert sorted(names(await load(repository, tmp_path))) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "source",
    [
        GitSource("--upload-pack=touch hacked"),
        GitSource("-oProxyCommand=x"),
        GitSource("ext::sh -c touch% hacked"),
        GitSource("http://example.org/plain.git"),
        GitSource("ssh://-oProxyCommand=x/path"),
        GitSource("relative/path"),
        GitSource("fd::17"),
        GitSource("/a b"),
        GitSource("/r", revision="--output=x"),
        GitSource("/r", revision="a..b"),
        GitSource("/r", revision="main:path"),
        GitSource("/r", revision="@{-1}"),
        GitSource("/r", revision=""),
        GitSource("/r", path="/etc"),
        GitSource("/r", path="a/../../b"),
        GitSource("/r", path="a\x00b"),
    ],
    ids=repr,
)
async def test_a_source_that_git_could_misread_is_refused_before_git_runs(source: GitSource, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"source\.(repository|revision|path)"):
        await load_bundle(source, tmp_path / "mirrors")
    assert not (tmp_path / "mirrors").exists()


async def test_an_unreachable_host_is_unavailable_and_the_password_stays_secret(tmp_path: Path) -> None:
    source = GitSource("https://ada:secret@127.0.0.1:9/policies.git")
    with pytest.raises(Unavailable) as caught:
        await load_bundle(source, tmp_path, timeout_seconds=30, reach=LOOPBACK)
    assert caught.value.retryable
    assert "secret" not in str(caught.value)


@pytest.fixture
def slow_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program named git on PATH that hangs in fetch and says so by a file with its process id."""
    tools = tmp_path / "tools"
    tools.mkdir()
    script = tools / "git"
    script.write_text(f'#!/bin/sh\ncase "$*" in *fetch*) echo $$ > {tools}/pid; sleep 60;; esac\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return tools / "pid"


def is_alive(pid: int) -> bool:
    """Say whether a process is there and no zombie."""
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").exists() else not os.kill(pid, 0)
        )
    except (OSError, ProcessLookupError):
        return False


async def test_a_fetch_that_hangs_is_killed_when_time_is_over(slow_git: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(Unavailable, match="took longer than 1 s"):
        source = GitSource("https://127.0.0.1/x.git")
        await load_bundle(source, tmp_path / "mirrors", timeout_seconds=1, reach=LOOPBACK)
    assert time.monotonic() - started < 60, "git was not waited for"
    assert not is_alive(int(slow_git.read_text()))


async def test_a_cancelled_load_leaves_no_process_and_no_lock(slow_git: Path, tmp_path: Path) -> None:
    source = GitSource("https://127.0.0.1/x.git")
    task = asyncio.create_task(load_bundle(source, tmp_path / "mirrors", timeout_seconds=50, reach=LOOPBACK))
    async with asyncio.timeout(20):
        while not (slow_git.exists() and slow_git.read_text().strip()):
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_alive(int(slow_git.read_text()))
    with pytest.raises(Unavailable, match="git fetch"):
        await load_bundle(source, tmp_path / "mirrors", timeout_seconds=0.5, reach=LOOPBACK)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
async def test_a_load_cancelled_while_git_starts_ends_at_once(
    slow_git: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """What git has started by then holds its pipes open: asyncio alone would wait for that, here a minute."""
    start, is_starting = asyncio.create_subprocess_exec, asyncio.Event()

    async def starting(*command: Any, **options: Any) -> asyncio.subprocess.Process:
        if "fetch" in command:
            is_starting.set()
        return await start(*command, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", starting)
    source = GitSource("https://127.0.0.1/x.git")
    task = asyncio.create_task(load_bundle(source, tmp_path / "mirrors", timeout_seconds=50, reach=LOOPBACK))
    await is_starting.wait()
    for _ in range(steps):
        await asyncio.sleep(0)
        time.sleep(0.05)  # a busy loop: git is further than we know
    task.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_many_loads_at_once_share_one_mirror(repository, tmp_path) -> None:
    repository.commit({f"p{number}.yaml": named(f"p{number}") for number in range(20)})
    bundles = await asyncio.gather(*(load(repository, tmp_path) for _ in range(6)))
    assert {len(bundle.manifests) for bundle in bundles} == {20}
    assert len(list((tmp_path / "mirrors").glob("*.git"))) == 1


async def test_locks_left_by_a_killed_git_do_not_stop_the_next_load(repository, tmp_path) -> None:
    repository.commit({"a.yaml": named("a")})
    await load(repository, tmp_path)
    (mirror,) = (tmp_path / "mirrors").glob("*.git")
    (mirror / "packed-refs.lock").write_text("")
    (mirror / "refs" / "heads" / "main.lock").write_text("")
    commit = repository.commit({"b.yaml": named("b")})
    assert (await load(repository, tmp_path)).commit == commit


async def test_a_git_command_around_us_cannot_redirect_ours(repository, tmp_path, monkeypatch) -> None:
    repository.commit({"a.yaml": named("a")})
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert names(await load(repository, tmp_path)) == ["a"]


async def test_hooks_of_the_users_configuration_do_not_run(repository, tmp_path, monkeypatch) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    hook = hooks / "reference-transaction"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hacked\n")
    hook.chmod(0o755)
    (tmp_path / "gitconfig").write_text(f"[core]\n\thooksPath = {hooks}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    repository.commit({"a.yaml": named("a")})
    assert names(await load(repository, tmp_path)) == ["a"]
    assert not (tmp_path / "hacked").exists()


class SshSigner:
    """Somebody with an SSH key who signs commits."""

    def __init__(self, folder: Path, name: str) -> None:
        self.key = folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.key)], check=True)

    @property
    def public(self) -> str:
        return self.key.with_suffix(".pub").read_text().strip()

    def sign(self, repository: Any) -> str:
        """Sign the newest commit; give its id."""
        repository.git("config", "gpg.format", "ssh")
        repository.git("config", "user.signingKey", str(self.key))
        repository.git("commit", "--amend", "--quiet", "--no-edit", "--gpg-sign")
        return str(repository.git("rev-parse", "HEAD"))


async def load_signed(repository: Any, tmp_path: Path, *keys: str, gpg: tuple[str, ...] = ()) -> Bundle:
    source = GitSource(str(repository.path), "main", signers=Signers(keys, gpg))
    return await load_bundle(source, tmp_path / "mirrors")


async def test_a_commit_counts_if_one_of_the_signers_has_signed_it(repository: Any, tmp_path: Path) -> None:
    ada, eve = SshSigner(tmp_path, "ada"), SshSigner(tmp_path, "eve")
    repository.commit({"a.yaml": named("a")})
    with pytest.raises(SignatureRefused, match="its signature does not count"):
        await load_signed(repository, tmp_path, ada.public)
    signed = ada.sign(repository)
    assert (await load_signed(repository, tmp_path, eve.public, ada.public)).commit == signed
    with pytest.raises(SignatureRefused):
        await load_signed(repository, tmp_path, eve.public)
    repository.commit({"b.yaml": named("b")})  # unsigned again, on top of a signed one
    with pytest.raises(SignatureRefused):
        await load_signed(repository, tmp_path, ada.public)


async def test_a_commit_signed_by_pgp_counts_and_a_key_that_is_none_signs_nothing(
    repository: Any, tmp_path: Path
) -> None:
    home = tmp_path / "g"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-generate-key", "ada@example.org", "ed25519", "sign", "never"], check=True)
    try:
        key = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True, text=True).stdout
        repository.commit({"a.yaml": named("a")})
        repository.git("config", "user.signingKey", "ada@example.org")
        environment = {**os.environ, "GNUPGHOME": str(home)}
        amend = ["git", "commit", "--amend", "--quiet", "--no-edit", "--gpg-sign"]
        subprocess.run(amend, cwd=repository.path, check=True, env=environment)
        bundle = await load_signed(repository, tmp_path, gpg=(key,))
        assert names(bundle) == ["a"]
        with pytest.raises(SignatureRefused):
            await load_signed(repository, tmp_path, gpg=("-----BEGIN PGP PUBLIC KEY BLOCK-----\nnonsense",))
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


async def test_policy_tests_that_fail_keep_a_commit_from_being_valid(repository: Any, tmp_path: Path) -> None:
    expected = """\
apiVersion: atoll.dev/v1alpha1
kind: PolicyTest
metadata: {name: prod}
workloads: {a: {namespace: prod}, b: {namespace: prod}}
flows:
  - {from: a, to: b, port: 80, expect: WORD, why: as agreed}
"""
    # A policy without policyTypes closes ingress.
    repository.commit({"a.yaml": named("a"), "prod.policytest.yaml": expected.replace("WORD", "Deny")})
    bundle = await load(repository, tmp_path)
    assert bundle.is_valid and bundle.policy_tests == ("prod.policytest.yaml",)
    repository.commit({"prod.policytest.yaml": expected.replace("WORD", "Allow")})
    (problem,) = (await load(repository, tmp_path)).problems
    assert str(problem) == "prod.policytest.yaml:6: a -> b 80/TCP is denied (as agreed)"
    repository.commit({"prod.policytest.yaml": expected.replace("WORD", "Perhaps")})
    (problem,) = (await load(repository, tmp_path)).problems
    assert problem.field == "flows[0].expect"
