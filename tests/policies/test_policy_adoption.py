"""The pull request of docs/adopt-policies.md: its steps are run as they are written there, in a repository."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from git_repository import begin, commit, git

ROOT = Path(__file__).parents[2]
STEPS = ("validate", "test", "lint", "plan")


def workflow() -> dict[str, Any]:
    """Read the workflow that the guide shows."""
    guide = (ROOT / "docs" / "adopt-policies.md").read_text()
    (text,) = [
        block.partition("```")[0] for block in guide.split("```yaml\n")[1:] if block.startswith("name: policies")
    ]
    found = yaml.load(text, yaml.BaseLoader)  # BaseLoader: to YAML 1.1 `on` is a boolean
    assert isinstance(found, dict)
    return found


@pytest.fixture
def pull_request(tmp_path: Path) -> Path:
    """A repository with the library's policy on main, and a branch that opens something."""
    origin, copy = tmp_path / "origin", tmp_path / "copy"
    (origin / "policies").mkdir(parents=True)
    library = ROOT / "src" / "atoll" / "policies" / "library"
    for name in ("namespace-default-deny.yaml", "namespace-default-deny.policytest.yaml"):
        (origin / "policies" / name).write_text((library / name).read_text())
    begin(origin)
    commit(origin)
    git(tmp_path, "clone", "-q", str(origin), str(copy))
    git(copy, "switch", "-qc", "change")
    return copy


def run_step(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one step as a runner does: by bash, which stops at the first command that fails."""
    steps = workflow()["jobs"]["policies"]["steps"]
    script = next(step["run"] for step in steps if step.get("name") == name)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {"PATH": path, "HOME": str(folder), "BASE": "main", "GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


def test_the_guides_workflow_passes_a_good_pull_request_and_tells_what_it_changes(pull_request: Path) -> None:
    (pull_request / "policies" / "more.yaml").write_text(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: lab}\n"
        "spec: {podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 443}]}]}\n"
    )
    for step in STEPS[:2]:
        done = run_step(step, pull_request)
        assert done.returncode == 0, (step, done.stdout, done.stderr)
    assert run_step("plan", pull_request).returncode == 0
    assert "NetworkPolicy lab/web" in (pull_request / "summary.md").read_text()
    assert (pull_request / "plan.md").read_text() == (pull_request / "summary.md").read_text()


def test_the_guides_workflow_stops_a_bad_pull_request(pull_request: Path) -> None:
    file = pull_request / "policies" / "namespace-default-deny.yaml"
    file.write_text(file.read_text().replace("podSelector", "podselector"))
    done = run_step("validate", pull_request)
    assert done.returncode != 0 and "did you mean podSelector" in done.stdout + done.stderr


def test_the_guides_workflow_gives_a_strangers_pull_request_no_words_to_run() -> None:
    """Names of branches and such are anybody's: they come into a script only as values of the environment."""
    job = workflow()["jobs"]["policies"]
    assert [step["name"] for step in job["steps"] if "run" in step] == ["install", *STEPS, "comment"]
    assert not any("${{" in step.get("run", "") for step in job["steps"])
    assert workflow()["permissions"] == {"contents": "read", "pull-requests": "write"}
