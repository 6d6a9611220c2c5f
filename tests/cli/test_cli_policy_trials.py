"""`atoll policy test|explain|graph|lint`: a pull request is checked with no hub and no cluster."""

import json
import time
from pathlib import Path

import pytest
from clitool import Cli

from git_repository import begin, commit

POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: web}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress: [{from: [{podSelector: {matchLabels: {app: portal}}}], ports: [{port: 443}]}]
"""
TEST = """
apiVersion: atoll.dev/v1alpha1
kind: PolicyTest
metadata: {name: web}
workloads:
  portal: {namespace: web, labels: {app: portal}}
  server: {namespace: web, labels: {app: server}}
  stranger: {namespace: other}
flows:
  - {from: portal, to: server, port: 443, expect: Allow}
  - {from: stranger, to: server, port: [443, 80], expect: Deny, why: only the portal may call}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "web.yaml").write_text(POLICY)
    (folder / "web.policytest.yaml").write_text(TEST)
    return folder


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home")


def test_tests_that_pass_exit_0_and_show_what_was_asked(cli: Cli, folder: Path) -> None:
    out = cli.ok("policy", "test", str(folder))
    assert out.startswith("ok  web") and "3 of 3 flows as expected" in out
    assert [line.split() for line in out.splitlines() if line.startswith("  stranger")] == [
        ["stranger", "443/TCP", "-"],
        ["stranger", "80/TCP", "-"],
    ]
    assert "1 policy in 1 file is valid, and 1 policy test can be run" in cli.ok("policy", "validate", str(folder))


def test_a_broken_promise_exits_3_and_names_the_line_the_reason_and_the_rule(cli: Cli, folder: Path) -> None:
    (folder / "web.yaml").write_text(POLICY.replace("app: portal", "app: nobody"))
    done = cli("policy", "test", str(folder))
    assert done.returncode == 3
    assert "web.policytest.yaml:10: portal -> server 443/TCP is denied" in done.stdout
    assert "ingress: denied, policies select it" in done.stdout
    told = json.loads(cli("policy", "test", str(folder), "-o", "json").stdout)
    assert [flow["got"] for flow in told[0]["flows"]] == ["Deny", "Deny", "Deny"] and told[0]["passed"] is False


def test_explain_names_the_rules_of_both_sides_and_exits_by_the_verdict(cli: Cli, folder: Path) -> None:
    out = cli.ok("policy", "explain", "portal", "server", "443", "--in", str(folder))
    assert out.startswith("allowed: portal -> server 443/TCP") and "web.yaml:7 NetworkPolicy web/web" in out
    assert cli("policy", "explain", "stranger", "server", "443", "--in", str(folder)).returncode == 3
    unknown = cli("policy", "explain", "ghost", "server", "443", "--in", str(folder))
    assert unknown.returncode == 1 and "'ghost'" in unknown.stderr and "portal, server, stranger" in unknown.stderr


def test_the_graph_is_a_table_mermaid_or_svg(cli: Cli, folder: Path) -> None:
    table = cli.ok("policy", "graph", str(folder))
    assert ["portal", "server", "443/TCP"] in [line.split() for line in table.splitlines()]
    assert cli.ok("policy", "graph", str(folder), "-o", "mermaid").startswith("flowchart LR")
    assert cli.ok("policy", "graph", str(folder), "-o", "svg").startswith("<svg")


def test_lint_exits_3_with_findings_and_0_without(cli: Cli, folder: Path) -> None:
    assert cli.ok("policy", "lint", str(folder)) == ""
    (folder / "ghost.yaml").write_text(POLICY.replace("name: web", "name: ghost").replace("app: server", "app: ghost"))
    done = cli("policy", "lint", str(folder))
    assert done.returncode == 3 and "ghost.yaml:7" in done.stdout and "SelectsNothing" in done.stdout


def test_a_folder_without_tests_says_what_a_test_is_called(cli: Cli, folder: Path) -> None:
    (folder / "web.policytest.yaml").unlink()
    done = cli("policy", "test", str(folder))
    assert done.returncode == 1 and "training.policytest.yaml" in done.stderr


def test_a_plan_compares_the_folder_with_a_commit_and_writes_markdown(cli: Cli, folder: Path) -> None:
    begin(folder)
    commit(folder)
    unchanged = cli("policy", "plan", str(folder))
    assert (unchanged.returncode, unchanged.stdout) == (0, "nothing changes\n")
    (folder / "web.yaml").write_text(POLICY.replace("port: 443", "port: 8443"))
    done = cli("policy", "plan", str(folder))
    assert done.returncode == 3
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["CLUSTER", "WHAT", "OBJECT"],
        ["local", "change", "NetworkPolicy", "web/web"],
        [],
        ["FROM", "TO", "BEFORE", "AFTER"],
        ["portal", "server", "443/TCP", "8443/TCP"],
    ]
    markdown = cli("policy", "plan", str(folder), "--against", "HEAD", "-o", "markdown").stdout
    assert "| opens | portal | server | 443/TCP | 8443/TCP |" in markdown
    diff = cli("policy", "diff", str(folder))
    assert diff.returncode == 3 and "-    - port: 443\n+    - port: 8443" in diff.stdout
    assert "--- a/local/NetworkPolicy/web/web" in diff.stdout
    assert cli("policy", "diff", str(folder), "--cluster", "far").returncode == 1
    unknown = cli("policy", "plan", str(folder), "--against", "--upload-pack=x")
    assert unknown.returncode == 1 and "no --upload-pack=x" in unknown.stderr


WORKLOADS = {
    "apiVersion": "atoll.dev/v1alpha1",
    "kind": "SavedWorkloads",
    "takenAt": "2026-11-23T12:00:00Z",
    "clusters": [
        {
            "metadata": {"name": "lab"},
            "spec": {},
            "status": {"inventory": {"cni": "cilium", "cniVersion": "1.19.4", "policyKinds": ["NetworkPolicy"]}},
        }
    ],
    "workloads": {
        "lab": {
            "sets": [
                {"namespace": "web", "labels": {"app": "portal", "version": "7"}, "pods": 2},
                {"namespace": "web", "labels": {"app": "server"}, "pods": 3},
            ],
            "seenAt": "2026-11-23T12:00:00Z",
        }
    },
}


def test_a_plan_among_what_runs_takes_a_saved_file_and_asks_no_hub(cli: Cli, folder: Path, tmp_path: Path) -> None:
    begin(folder)
    commit(folder)
    (folder / "web.yaml").write_text(POLICY.replace("port: 443", "port: 8443"))
    saved = tmp_path / "workloads.json"
    saved.write_text(json.dumps(WORKLOADS))
    plan = ("policy", "plan", str(folder), "--workloads", str(saved))
    done = cli(*plan)
    assert done.returncode == 3
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["lab", "1", "0"] in lines
    assert ["opens", "443/TCP", "8443/TCP", "5", "web/portal@lab", "->", "web/server@lab"] in lines
    assert "1 of 20 pairs would change among 2 label sets that run now" in done.stderr
    markdown = cli(*plan, "-o", "markdown").stdout
    assert "| **opens** | web/portal@lab | web/server@lab | 443/TCP | 8443/TCP | 5 |" in markdown
    told = json.loads(cli(*plan, "-o", "json").stdout)["live"]
    assert (told["labelSets"], told["flows"][0]["from"], told["flows"][0]["opens"]) == (2, ["web/portal@lab"], True)
    saved.write_text('{"kind": "SavedWorkloads"}')
    wrong = cli(*plan)
    assert wrong.returncode == 1 and "takenAt" in wrong.stderr and "policy workloads" in wrong.stderr


def test_a_plan_outside_a_repository_says_so(cli: Cli, folder: Path) -> None:
    done = cli("policy", "plan", str(folder))
    assert done.returncode == 1 and "not a git repository" in done.stderr


def test_a_set_without_clusters_completes_is_rolled_back_and_follows_git_again(hub: Cli, folder: Path) -> None:
    """With targets that match nothing every commit is complete at once, so the commands are all that is tested."""
    begin(folder)
    commits = [commit(folder)]
    source = {"repository": str(folder), "interval": "1s"}
    spec = {"source": source, "targets": {"clusters": {"matchLabels": {"no": "cluster"}}}}
    policyset = {"apiVersion": "atoll.dev/v1alpha1", "kind": "PolicySet", "metadata": {"name": "rolled"}, "spec": spec}
    hub.ok("apply", "-f", "-", stdin=json.dumps(policyset))
    wait_for_complete(hub, commits[0])
    none = hub("policy", "rollback", "rolled")
    assert none.returncode == 1 and "no other commit was complete before" in none.stderr
    (folder / "web.yaml").write_text(POLICY.replace("port: 443", "port: 8443"))
    (folder / "web.policytest.yaml").unlink()
    commits.append(commit(folder))
    wait_for_complete(hub, commits[1])
    refused = hub("policy", "approve", "rolled")
    assert refused.returncode == 1 and "does not wait for anybody" in refused.stderr
    assert hub("policy", "rollback", "rolled", "--to", "abc").returncode == 1
    assert commits[0][:12] in hub.ok("policy", "rollback", "rolled")
    wait_for_complete(hub, commits[0])
    assert "is pinned" in hub("policy", "status", "rolled").stderr
    assert hub.ok("policy", "resume", "rolled") == "policyset/rolled: follows main again\n"
    wait_for_complete(hub, commits[1])
    assert hub("policy", "resume", "rolled").returncode == 1
    hub.ok("delete", "policyset", "rolled")


def wait_for_complete(hub: Cli, commit: str) -> None:
    """Wait until a commit is what the set's rollout has completed."""
    end = time.monotonic() + 30
    while True:
        rollout = json.loads(hub.ok("get", "policyset", "rolled", "-o", "json")).get("status", {}).get("rollout", {})
        if (rollout.get("phase"), rollout.get("commit")) == ("Complete", commit):
            return
        assert time.monotonic() < end, rollout
        time.sleep(0.1)
