"""Ready-made policies and kustomizations, from the command line, with no hub and no cluster."""

import json
from pathlib import Path

import pytest
from clitool import Cli

BASE = {
    "base/kustomization.yaml": "resources: [web.yaml]\n",
    "base/web.yaml": """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: server}}
  ingress: [{from: [{podSelector: {matchLabels: {app: portal}}}], ports: [{port: 443}]}]
""",
    "lab/kustomization.yaml": "resources: [../base]\nnamespace: web\n",
    "web.policytest.yaml": """\
apiVersion: atoll.dev/v1alpha1
kind: PolicyTest
metadata: {name: web}
workloads:
  portal: {namespace: web, labels: {app: portal}}
  server: {namespace: web, labels: {app: server}}
  stranger: {namespace: other}
flows:
  - {from: portal, to: server, port: 443, expect: Allow}
  - {from: stranger, to: server, port: 443, expect: Deny}
""",
}


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    for name, text in BASE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_library_lists_shows_and_writes_what_then_passes_its_own_test(cli: Cli, tmp_path: Path) -> None:
    assert "namespace-isolation" in cli.ok("policy", "library")
    listed = {one["name"]: one for one in json.loads(cli.ok("policy", "library", "list", "-o", "json"))}
    assert listed["namespace-isolation"]["kinds"] == ["NetworkPolicy"]
    assert "metadata.namespace" in listed["namespace-isolation"]["change"]
    assert cli.ok("policy", "library", "show", "namespace-isolation").startswith("# Namespace isolation")
    into = tmp_path / "mine"
    cli.ok("policy", "library", "write", "namespace-isolation", str(into))
    cli.ok("policy", "library", "write", "namespace-isolation", str(into))
    assert "25 of 25 flows as expected" in cli.ok("policy", "test", str(into))
    (into / "namespace-isolation.yaml").write_text("# mine now\n")
    refused = cli("policy", "library", "write", "namespace-isolation", str(into))
    assert refused.returncode == 1 and "is there and says something else" in refused.stderr
    assert (into / "namespace-isolation.yaml").read_text() == "# mine now\n"
    unknown = cli("policy", "library", "show", "nothing")
    assert unknown.returncode == 1 and "there are default-deny-with-dns" in unknown.stderr


def test_kustomizations_are_validated_and_tested_as_the_hub_would_roll_them_out(cli: Cli, folder: Path) -> None:
    assert "1 policy in 3 files is valid, and 1 policy test" in cli.ok("policy", "validate", str(folder))
    assert "2 of 2 flows as expected" in cli.ok("policy", "test", str(folder))
    explained = cli.ok("policy", "explain", "portal", "server", "443", "--in", str(folder))
    assert "base/web.yaml:6 NetworkPolicy web/web" in explained
    (folder / "lab/kustomization.yaml").write_text("resources: [../base, 'https://example.org/x']\n")
    done = cli("policy", "validate", str(folder))
    assert done.returncode == 1
    assert f"{folder}/lab/kustomization.yaml:1: resources[1]: 'https://example.org/x' is remote" in done.stderr
