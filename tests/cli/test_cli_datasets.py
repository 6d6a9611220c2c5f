"""The dataset commands, as a person uses them: files are registered, listed, fetched, pinned, deleted."""

from pathlib import Path

import pytest
from clitool import Cli

from atoll.datasets import open_dataset

NAMESPACE = "archive"


@pytest.fixture
def volume(cluster: Cli) -> Path:
    """A namespace, and where its volume will be."""
    manifest = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n"
    cluster.ok("apply", "-f", "-", stdin=manifest)
    return cluster.root / "clusters" / "local" / "storage" / NAMESPACE / "atoll-datasets"


def test_files_on_a_volume_become_a_dataset_that_lives_and_goes(cluster: Cli, volume: Path, tmp_path: Path) -> None:
    here = ("-n", NAMESPACE)
    volume.mkdir(parents=True, exist_ok=True)
    folder = volume / "imports" / "2019"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("hello")
    (folder / "deep" / "b.txt").write_text("world")
    told = cluster.ok("dataset", "register", "old", *here, "--cluster", "local", "--path", "imports/2019")
    assert told == "dataset.atoll.dev/old version 1 registered: 2 files, 10 bytes\n"
    assert not folder.exists()
    assert "deep/b.txt" in cluster.ok("dataset", "ls", "old", *here)
    versions = cluster.ok("dataset", "ls", "old", *here, "--versions")
    assert versions.split("\n")[1].split()[:5] == ["1", "Complete", "2", "10", "local"]
    cluster.ok("dataset", "get", "old", str(tmp_path / "got"), *here, "--version", "1", "--cluster", "local")
    assert (tmp_path / "got/deep/b.txt").read_text() == "world"
    copy = open_dataset(tmp_path / "got")
    assert (copy.is_complete, [path.name for path in copy.paths()]) == (True, ["a.txt", "b.txt"])
    again = cluster("dataset", "get", "old", str(tmp_path / "got"), *here)
    assert (again.returncode, "is there already: choose another folder" in again.stderr) == (1, True)
    assert "agrees with its ledger" in cluster.ok("dataset", "verify", "old", *here, "--version", "1")
    assert cluster.ok("dataset", "pin", "old", *here) == "dataset.atoll.dev/old pinned\n"
    refused = cluster("dataset", "delete", "old", *here, "--yes")
    assert refused.returncode == 1
    assert f"is pinned: atoll dataset unpin old -n {NAMESPACE}" in refused.stderr
    cluster.ok("dataset", "unpin", "old", *here)
    asked = cluster("dataset", "delete", "old", *here, stdin="n\n")
    assert asked.returncode == 1
    assert "version 1: 2 files, 10 bytes at local" in asked.stderr
    assert (volume / "old/v1/a.txt").exists()
    assert cluster.ok("dataset", "delete", "old", *here, "--yes") == "dataset.atoll.dev/old deleted\n"
    assert not (volume / "old").exists()


def test_what_cannot_be_done_is_said_with_the_field_and_what_to_do(cluster: Cli, volume: Path) -> None:
    here = ("-n", NAMESPACE)
    cases = {
        ("replicate", "nobody", "--to", "local"): 'datasets.atoll.dev "nobody" not found',
        (
            "register",
            "x",
            "--cluster",
            "local",
            "--path",
            "../etc",
        ): "spec.origin.path: '../etc': must name a folder below",
        ("ls", "nobody", "--versions"): 'datasets.atoll.dev "nobody" not found',
    }
    for arguments, message in cases.items():
        done = cluster("dataset", *arguments, *here)
        assert done.returncode == 1
        assert message in done.stderr
    assert volume.name == "atoll-datasets"
