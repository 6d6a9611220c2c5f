"""A small repository, or a server, that asks for much: the hub's memory and disk are bounded whatever comes."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from atoll.federation.errors import InvalidInput, Unavailable
from atoll.policies import git
from atoll.policies.bundle import Bundle, GitSource, load_bundle
from atoll.policies.remotes.reach import Reach

LOOPBACK = Reach.parse(["127.0.0.0/8"], [])


async def load(repository: str, tmp_path: Path) -> Bundle:
    return await load_bundle(GitSource(repository, "main"), tmp_path / "mirrors", timeout_seconds=30, reach=LOOPBACK)


def make_tree(repository: Any, entries: list[tuple[str, str, str]]) -> str:
    """Write a folder of (mode and type, object, name); give its id."""
    lines = "".join(f"{kind} {found}\t{name}\n" for kind, found, name in entries)
    done = subprocess.run(
        ["git", "mktree"], cwd=repository.path, input=lines, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit_tree(repository: Any, tree: str) -> None:
    repository.git("update-ref", "refs/heads/main", repository.git("commit-tree", tree, "-m", "bomb"))


async def test_folders_of_folders_without_end_are_not_listed_to_their_end(
    repository: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten folders that each hold the next ten times are ten objects, and ten thousand million files."""
    monkeypatch.setattr(git, "_MOST_PRINTED_BYTES", 1 << 20)
    repository.commit({"a.yaml": "x"})
    found, kind = repository.git("rev-parse", "HEAD:a.yaml"), "100644 blob"
    for _ in range(10):
        found, kind = make_tree(repository, [(kind, found, f"{number}.yaml") for number in range(10)]), "040000 tree"
    commit_tree(repository, found)
    with pytest.raises(InvalidInput, match="has too many files there"):
        await load(str(repository.path), tmp_path)


async def test_one_test_file_under_a_hundred_names_is_not_read_a_hundred_times(repository: Any, tmp_path: Path) -> None:
    repository.commit({"a.yaml": "#" * (1 << 20)})
    blob = repository.git("rev-parse", "HEAD:a.yaml")
    commit_tree(repository, make_tree(repository, [("100644 blob", blob, f"{n}.policytest.yaml") for n in range(100)]))
    (problem,) = (await load(str(repository.path), tmp_path)).problems
    assert problem.reason == "FieldValueTooMany"
    assert "100 policy files" in problem.message


async def test_more_than_the_hub_takes_is_refused_and_nothing_of_it_stays(
    repository: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit({"a.yaml": "x"})
    await load(str(repository.path), tmp_path)
    (repository.path / "large.bin").write_bytes(os.urandom(3 << 20))
    repository.commit({"a.yaml": "y"})
    with monkeypatch.context() as patch:
        patch.setattr(git, "_LARGEST_PACK_BYTES", 1 << 20)
        for _ in range(2):
            with pytest.raises(InvalidInput, match="sends more than the hub takes"):
                await load(str(repository.path), tmp_path)
    assert (await load(str(repository.path), tmp_path)).problems
    assert not list((tmp_path / "mirrors").rglob("tmp_*"))


async def test_a_server_that_says_messages_without_end_is_not_listened_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").write_text('#!/bin/sh\ncase "$*" in *fetch*) yes "remote: more to come" >&2;; esac\n')
    (tools / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    with pytest.raises(Unavailable, match="it printed more than"):
        await load("https://127.0.0.1/x.git", tmp_path)
