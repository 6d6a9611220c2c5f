"""`atoll policy status`: the lowest rung, on how many nodes, how old, and why no higher."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atoll.cli.options import Output
from atoll.cli.policies import show_status

COMMIT = "b" * 40


class Hub:
    """A hub that has one policy set."""

    def __init__(self, *clusters: dict[str, Any], uniform: bool) -> None:
        self._clusters, self._uniform = list(clusters), uniform

    def get(self, _path: str) -> Any:
        source = {"source": {"repository": "https://git.example.org/p.git"}}
        status = {"commit": COMMIT, "clusters": self._clusters, "uniform": self._uniform}
        return {"items": [{"metadata": {"name": "seismology"}, "spec": source, "status": status}]}


def ago(**how: float) -> str:
    return (datetime.now(UTC) - timedelta(**how)).isoformat()


def cluster(name: str, rung: str, nodes: int, reason: str = "", **times: str) -> dict[str, Any]:
    proof = {"rung": rung, "nodes": 2, "realizedNodes": nodes, "reason": reason, "provenAt": times}
    return {"cluster": name, "phase": "Applied", "commit": COMMIT, "objects": 3, "proof": proof}


def shown(hub: Hub, capsys: pytest.CaptureFixture[str], output: Output = Output.TABLE) -> tuple[bool, str, str]:
    held = show_status(hub, None, output)  # type: ignore[arg-type]  # a hub that only answers
    captured = capsys.readouterr()
    # Ages are cut to their days: how long the test takes is nobody's business.
    return held, re.sub(r"\b(\d+d)\w*", r"\1", captured.out), captured.err


def test_the_lowest_rung_is_shown_with_its_age_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    """k of n nodes, the age of that rung's proof, and the endpoint that does not follow."""
    low = cluster(
        "lab", "Valid", 1, "lab-1: lab/web-0 has not realized it", valid=ago(days=20.5), realized=ago(days=30.5)
    )
    high = cluster("cloud", "Resolved", 2, resolved=ago(days=17.5))
    held, out, err = shown(Hub(low, high, uniform=False), capsys)
    first, second = out.splitlines()[1:]
    assert held
    assert first.split()[:7] == ["seismology", "lab", "Applied", COMMIT[:12], "Valid", "1/2", "20d"]
    assert "lab-1: lab/web-0" in first
    assert second.split()[4:7] == ["Resolved", "2/2", "17d"]
    assert "not uniform" in err


def test_wide_shows_the_age_of_every_rung(capsys: pytest.CaptureFixture[str]) -> None:
    """Also that of a rung that is lost."""
    low = cluster("lab", "Valid", 1, valid=ago(days=20.5), applied=ago(days=10.5), realized=ago(days=30.5))
    _, out, _ = shown(Hub(low, uniform=False), capsys, Output.WIDE)
    header, first = out.splitlines()
    assert header.split()[5:10] == ["NODES", "APPLIED", "VALID", "REALIZED", "RESOLVED"]
    assert first.split()[5:9] == ["1/2", "10d", "20d", "30d"]


def test_uniform_is_said_with_the_rung_and_the_commit(capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence for whoever asks whether the policy is the same everywhere."""
    both = [cluster(name, "Realized", 2, realized=ago(days=17.5)) for name in ("cloud", "lab")]
    _, _, err = shown(Hub(*both, uniform=True), capsys)
    assert f"uniform: every cluster is Realized at {COMMIT[:12]}" in err


def test_a_cluster_whose_agent_proves_nothing_has_no_rung(capsys: pytest.CaptureFixture[str]) -> None:
    """As one of an older agent, which is shown as before."""
    old = {"cluster": "lab", "phase": "Applied", "commit": COMMIT, "lastProvenAt": ago(days=19.5)}
    held, out, _ = shown(Hub(old, uniform=False), capsys)
    assert held
    assert out.splitlines()[1].split() == ["seismology", "lab", "Applied", COMMIT[:12], "-", "-", "19d", "-"]
