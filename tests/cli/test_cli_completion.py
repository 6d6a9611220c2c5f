"""Tab completes what is there: commands, kinds, names from the hub; quickly, and never with an error."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from clitool import Cli

from atoll.cli import completing, kinds
from atoll.federation.resources import GROUP_VERSION, KINDS

OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {name: tabs}
---
apiVersion: atoll.dev/v1alpha1
kind: Queue
metadata: {name: tab.batch}
---
apiVersion: atoll.dev/v1alpha1
kind: Cluster
metadata: {name: tab-cluster}
---
apiVersion: atoll.dev/v1alpha1
kind: Dataset
metadata: {name: tabbed.2026, namespace: tabs}
spec: {home: tab-cluster}
"""


@pytest.fixture(scope="module")
def shell(hub: Cli, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A shell that asks `atoll` for completions, with a memory of its own."""
    hub.ok("apply", "-f", "-", stdin=OBJECTS)
    memory = tmp_path_factory.mktemp("cache")
    yield replace(hub, more={"XDG_CACHE_HOME": str(memory), "_ATOLL_COMPLETE": "complete_bash"})
    for words in (("dataset", "tabbed.2026", "-n", "tabs"), ("cluster", "tab-cluster"), ("queue", "tab.batch")):
        hub("delete", *words)


def tab(shell: Cli, line: str) -> list[str]:
    """Give what a shell offers at the end of a line."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - (0 if line.endswith(" ") else 1))}
    done = replace(shell, more={**shell.more, **words})()
    assert done.stderr == "", done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("atoll clu", ["cluster"]),
        ("atoll queue usage tab", ["tab.batch"]),
        ("atoll get que", ["queues", "queue"]),
        ("atoll get queue tab", ["tab.batch"]),
        ("atoll get q tab", ["tab.batch"]),
        ("atoll get queue/tab", ["queue/tab.batch"]),
        ("atoll get dataset -n tabs tabb", ["tabbed.2026"]),
        ("atoll dataset ls -n tabs ", ["tabbed.2026"]),
        ("atoll job list -n tab", ["tabs"]),
        ("atoll job run --queue tab", ["tab.batch"]),
        ("atoll get clusters -o y", ["yaml"]),
        ("atoll get nothing ", []),
    ],
)
def test_what_is_there_is_offered(shell: Cli, line: str, offered: list[str]) -> None:
    assert tab(shell, line) == offered


def test_without_a_hub_nothing_is_offered_and_nothing_is_said(cli: Cli, tmp_path: Path) -> None:
    more = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "_ATOLL_COMPLETE": "complete_bash"}
    assert tab(replace(cli, more=more), "atoll cluster cordon ") == []
    named = {**more, "ATOLL_SERVER": "https://127.0.0.1:1"}
    assert tab(replace(cli, more=named), "atoll cluster cordon ") == []
    (tmp_path / "cache").write_text("no folder")
    assert tab(replace(cli, more=more), "atoll cluster cordon ") == []


def test_an_answer_is_remembered_for_a_moment_for_its_asker_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("ATOLL_TOKEN", "one")
    memory = completing.memory_of("clusters", "")
    assert completing.remembered(memory) is None
    completing.remember(memory, ["a", "b"])
    assert completing.remembered(memory) == ["a", "b"]
    assert memory.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("ATOLL_TOKEN", "two")
    assert completing.memory_of("clusters", "") != memory, "another one may see other names"
    long_ago = time.time() - 60
    os.utime(memory, (long_ago, long_ago))
    assert completing.remembered(memory) is None
    memory.write_text(json.dumps({"not": "a list"}))
    assert completing.remembered(memory) is None


def test_the_copy_of_the_kinds_is_right() -> None:
    """The command line knows the kinds without their models: name, plural, short names, and whether in namespaces."""
    ours = [ref for ref in kinds.ALL if ref.is_ours]
    known = [(ref.name, ref.plural, ref.namespaced, ref.short_names, ref.group_version) for ref in ours]
    assert known == [(one.name, one.plural, one.namespaced, one.short_names, GROUP_VERSION) for one in KINDS]
    for ref in kinds.ALL:
        for word in (ref.name, ref.plural, *ref.short_names):
            assert completing.kind_of(word) == ref
    assert completing.kind_of("nothing") is None


def test_neither_a_tab_nor_a_list_waits_for_what_it_does_not_need() -> None:
    """A cold start loads no models of kinds, and for names no HTTP client: they take longer than the answer."""
    code = "import atoll.cli.main, atoll.cli.hub, atoll.cli.asking{more}; import sys; print(*sys.modules)"
    heavy = {"atoll.federation.resources", "rich", "pygments"}
    for more, not_wanted in (("", {*heavy, "httpx"}), (", atoll.cli.listing", heavy)):
        done = subprocess.run(
            [sys.executable, "-c", code.format(more=more)], capture_output=True, text=True, check=True, timeout=60
        )
        assert not_wanted & set(done.stdout.split()) == set()
