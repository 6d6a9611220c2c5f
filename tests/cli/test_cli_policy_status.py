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

    def __init__(self, *clusters: dict[str, Any], uniform: bool, **status: Any) -> None:
        self._clusters, self._uniform, self._status = list(clusters), uniform, status

    def get(self, _path: str) -> Any:
        source = {"source": {"repository": "https://git.example.org/p.git"}}
        status = {"commit": COMMIT, "clusters": self._clusters, "uniform": self._uniform, **self._status}
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


def test_a_set_by_name_shows_its_plan_its_traffic_and_who_changed_what_by_hand(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What whoever approves a wave reads, and whoever asks whether it is really enforced."""
    seen = cluster("lab", "Resolved", 2, resolved=ago(days=17.5))
    seen["proof"] |= {"observedObjects": 2, "lastObservedAt": ago(days=3.5)}
    seen |= {"traffic": {"dropsPerSecond": 4.25, "dropsPerSecondBefore": 0.5, "nodes": 2}}
    drift = {"object": "NetworkPolicy lab/web", "paths": ["spec.ingress"], "managers": ["kubectl-edit"]}
    seen |= {"drifts": [drift | {"at": ago(days=2.5), "healed": True}]}
    blind = cluster("far", "Resolved", 2, resolved=ago(days=17.5))
    blind["proof"] |= {"hubble": "not on 2 of 2 nodes; n1: no such command"}
    flow = {"source": "lab/portal@lab", "destination": "lab/web@lab", "before": "nothing", "after": "443/TCP"}
    plan = {
        "commit": COMMIT,
        "madeAt": ago(days=1.5),
        "clusters": [{"cluster": "lab", "added": 1, "opens": 3, "closes": 12, "labelSets": 40}],
        "flows": [flow | {"opens": True, "pods": 7}],
    }
    held = show_status(Hub(seen, blind, uniform=True, plan=plan), "seismology", Output.TABLE)  # type: ignore[arg-type]
    out = re.sub(r"\b(\d+d)\w*", r"\1", capsys.readouterr().out)
    lines = [line.split() for line in out.splitlines()]
    assert held
    assert ["lab", "1", "0", "0", "3", "12", "40"] in lines
    assert ["opens", "nothing", "443/TCP", "7", "lab/portal@lab", "->", "lab/web@lab"] in lines
    assert ["lab", "2/3", "3d", "4.25", "0.5", "-"] in lines
    assert next(line for line in lines if line[:2] == ["far", "0/3"])[:5] == ["far", "0/3", "never", "-", "-"]
    assert "Hubble is not reachable: not on 2 of 2 nodes" in out
    assert ["lab", "2d", "put", "back", "kubectl-edit", "NetworkPolicy", "lab/web", "spec.ingress"] in lines


@pytest.mark.parametrize(("phase", "is_told"), [("AwaitingApproval", True), ("Complete", False)])
def test_a_commit_that_is_under_way_is_told_in_numbers(
    phase: str, is_told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = {"commit": COMMIT, "clusters": [{"cluster": "lab", "opens": 3, "closes": 12}]}
    rollout = {"commit": COMMIT, "phase": phase, "message": "wave labs waits"}
    one = cluster("lab", "Resolved", 2, resolved=ago(days=1))
    _, _, err = shown(Hub(one, uniform=True, plan=plan, rollout=rollout), capsys)
    assert ("opens 3 pairs and closes 12" in err) == is_told
