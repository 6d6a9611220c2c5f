"""Lint finds what is valid and hardly meant, and is silent about policies that are well made."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Any

import pytest
import yaml

from atoll.federation.resources.labelsets import ClusterWorkloads, LabelSet
from atoll.policies.compile import Target
from atoll.policies.identity import Endpoint, Party
from atoll.policies.lint import LintFinding, lint, lint_live, lint_on
from atoll.policies.manifest import Manifest, parse_file
from atoll.policies.trials.fleet import Fleet
from atoll.policies.trials.parties import namespaces_of

Json = dict[str, Any]


def policy(name: str, spec: Json, *, namespace: str | None = "web", **annotations: str) -> Json:
    metadata: Json = {"name": name, **({"namespace": namespace} if namespace else {})}
    kind = "CiliumNetworkPolicy" if namespace else "CiliumClusterwideNetworkPolicy"
    noted = {key.replace("_", "-"): value for key, value in annotations.items()}
    metadata |= {"annotations": {f"atoll.dev/{key}": value for key, value in noted.items()}} if noted else {}
    return {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": metadata, "spec": spec}


def read(*bodies: Json) -> tuple[Manifest, ...]:
    parsed = parse_file(yaml.safe_dump_all(bodies), "policies.yaml")
    assert parsed.problems == ()
    return parsed.manifests


def checks(found: Sequence[LintFinding]) -> set[str]:
    return {finding.check for finding in found}


WEB: Json = {"endpointSelector": {"matchLabels": {"app": "web"}}}
PORTAL: Json = {"matchLabels": {"app": "portal"}}
TLS: Json = {"toPorts": [{"ports": [{"port": "443", "protocol": "TCP"}]}]}


@pytest.mark.parametrize(
    ("spec", "check"),
    [
        ({"endpointSelector": {"matchLabels": {"pod-template-hash": "x"}}, "ingress": [{}]}, "DroppedLabel"),
        ({**WEB, "ingress": [{"fromEndpoints": [{"matchLabels": {"controller-uid": "x"}}]}]}, "DroppedLabel"),
        (
            {**WEB, "ingress": [{"fromEndpoints": [{"matchLabels": {"a": "b"}, "matchExpressions": [
                {"key": "a", "operator": "DoesNotExist"}]}]}]},
            "SelectsNothing",
        ),
        (
            {**WEB, "ingress": [{"fromEndpoints": [{"matchExpressions": [
                {"key": "a", "operator": "In", "values": ["x"]}, {"key": "a", "operator": "In", "values": ["y"]}]}]}]},
            "SelectsNothing",
        ),
        (
            {**WEB, "ingress": [{"fromEndpoints": [{"matchExpressions": [
                {"key": "io.cilium.k8s.policy.cluster", "operator": "Exists"},
                {"key": "io.kubernetes.pod.namespace", "operator": "Exists"}]}]}]},
            "WideAcrossMesh",
        ),
        (
            {**WEB, "ingress": [{"fromEndpoints": [PORTAL], **TLS}], "ingressDeny": [{"fromEndpoints": [PORTAL]}]},
            "ShadowedByDeny",
        ),
        (
            {**WEB, "ingress": [{"fromCIDR": ["10.1.0.0/16"]}], "ingressDeny": [{"fromCIDR": ["10.0.0.0/8"]}]},
            "ShadowedByDeny",
        ),
    ],
)  # fmt: skip
def test_each_slip_is_found(spec: Json, check: str) -> None:
    assert check in checks(lint(read(policy("p", spec))))


@pytest.mark.parametrize(
    "spec",
    [
        {**WEB, "ingress": [{"fromEndpoints": [PORTAL], **TLS}]},
        # A deny of one port leaves the others; one of other peers leaves these.
        {**WEB, "ingress": [{"fromEndpoints": [PORTAL]}], "ingressDeny": [{"fromEndpoints": [PORTAL], **TLS}]},
        {**WEB, "ingress": [{"fromCIDR": ["10.0.0.0/8"]}], "ingressDeny": [{"fromCIDR": ["10.1.0.0/16"]}]},
        {**WEB, "egress": [{"toEndpoints": [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "kube-system"}}]}]},
    ],
)
def test_what_is_well_made_is_left_in_peace(spec: Json) -> None:
    assert lint(read(policy("p", spec))) == ()


def test_a_peer_that_only_excludes_is_told_as_what_no_cluster_could_enforce() -> None:
    spec = {**WEB, "ingress": [{"fromEndpoints": [{"matchExpressions": [
        {"key": "io.cilium.k8s.policy.cluster", "operator": "NotIn", "values": ["a"]},
        {"key": "k8s:io.kubernetes.pod.namespace", "operator": "NotIn", "values": ["b"]}]}]}]}  # fmt: skip
    found = lint(read(policy("p", spec)))
    assert any(finding.check == "Unenforceable" and "only excludes" in finding.message for finding in found)


def fleet_findings(
    *bodies: Json, clusters: Sequence[str] = ("a", "b"), parties: Mapping[str, Party] | None = None, **networks: str
) -> tuple[LintFinding, ...]:
    policies = read(*bodies)
    targets = {
        name: Target(name, cilium_version="1.19.0", peers={other: {} for other in clusters if other != name})
        for name in clusters
    }
    pods: dict[str, Party] = {
        f"{app}@{c}": Endpoint(f"{app}@{c}", c, "web", {"app": app}) for c in clusters for app in ("web", "portal")
    }
    known = {name: [ip_network(text)] for name, text in networks.items()}
    return lint_on(policies, Fleet(policies, targets), parties or pods, namespaces={}, pod_networks=known)


def test_a_policy_that_selects_none_of_the_workloads_is_told() -> None:
    spec = {"endpointSelector": {"matchLabels": {"app": "ghost"}}, "ingress": [{}]}
    assert checks(fleet_findings(policy("p", spec))) == {"SelectsNothing"}


def test_an_address_range_over_pods_is_told_and_any_address_is_not() -> None:
    inside = {**WEB, "ingress": [{"fromCIDR": ["10.20.5.0/24"]}]}
    assert checks(fleet_findings(policy("p", inside), a="10.20.0.0/16")) == {"CidrMeansPods"}
    anywhere = {**WEB, "ingress": [{"fromCIDR": ["0.0.0.0/0"]}]}
    assert fleet_findings(policy("p", anywhere), a="10.20.0.0/16") == ()


def test_an_allow_across_clusters_without_its_other_side_is_told_until_it_is_written() -> None:
    serve = policy(
        "serve", {**WEB, "ingress": [{"fromEndpoints": [PORTAL], **TLS}]}, cluster_group="atoll.dev/cluster in (a,b)"
    )
    shut = policy("shut", {"endpointSelector": PORTAL, "egress": [{}]})
    found = fleet_findings(serve, shut)
    assert checks(found) == {"OneSideMissing"}
    assert any("portal@a -> web@b" in finding.message and "port 443" in finding.message for finding in found)
    call = policy(
        "call",
        {"endpointSelector": PORTAL, "egress": [{"toEndpoints": [WEB["endpointSelector"]], **TLS}]},
        cluster_group="atoll.dev/cluster in (a,b)",
    )
    assert fleet_findings(serve, shut, call) == ()


def test_a_rule_that_overflows_the_policy_map_is_told() -> None:
    crowd: dict[str, Party] = {f"p{n}": Endpoint(f"p{n}", "a", "web", {"app": "web", "n": str(n)}) for n in range(600)}
    ports = {"toPorts": [{"ports": [{"port": "1025", "endPort": 65534, "protocol": "TCP"}]}]}
    spec = {**WEB, "ingress": [{"fromEndpoints": [{}], **ports}]}
    found = fleet_findings(policy("p", spec), clusters=("a",), parties=crowd)
    assert checks(found) == {"PolicyMapSize"}


def test_what_engines_take_differently_is_told() -> None:
    plain = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p"}}
    sections = {"podSelector": {}, "policyTypes": ["Ingress"], "egress": [{}]}
    (finding,) = lint(read({**plain, "spec": sections}))
    assert (finding.check, finding.field) == ("EngineDependent", "spec.egress")
    body = {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "p"},
    }
    rule = {"action": "Deny", "from": [{"namespaces": {"matchLabels": {"team": "x"}}}]}
    spec = {"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, "ingress": [rule]}
    (finding,) = lint(read({**body, "spec": spec}))
    assert (finding.check, finding.field) == ("EngineDependent", "spec.ingress[0].from")
    pods = {"pods": {"podSelector": {}, "namespaceSelector": {"matchLabels": {"team": "x"}}}}
    assert lint(read({**body, "spec": {**spec, "ingress": [{"action": "Deny", "from": [pods]}]}})) == ()


def test_a_subject_by_a_label_for_which_cilium_holds_no_policy_is_told() -> None:
    odd = {"endpointSelector": {"matchLabels": {"host": "a"}}, "ingress": [{"fromEndpoints": [PORTAL]}]}
    assert checks(lint(read(policy("p", odd)))) == {"UnpolicedLabel"}


def live(*labels: dict[str, str], omitted: int = 0) -> dict[str, ClusterWorkloads]:
    """Give a cluster with these sets of labels."""
    sets = tuple(LabelSet(namespace="web", labels=one) for one in labels)
    return {"a": ClusterWorkloads(namespaces={"web": {}}, sets=sets, omitted_sets=omitted)}


def costs(body: Json, running: dict[str, ClusterWorkloads], cni: str = "cilium") -> tuple[LintFinding, ...]:
    """Lint one policy on what runs."""
    policies = read(body)
    targets = {"a": Target("a", cni=cni, cilium_version="1.19.4" if cni == "cilium" else "")}
    return lint_live(policies, Fleet(policies, targets, namespaces_of(running)), running)


def test_what_overflows_a_policy_map_among_what_runs_is_told_of_the_rule_that_takes_most() -> None:
    crowd = [{"app": "web", "n": str(n)} for n in range(900)]
    ports = {"toPorts": [{"ports": [{"port": "1025", "endPort": 65534, "protocol": "TCP"}]}]}
    narrow = {"fromEndpoints": [PORTAL], **TLS}
    wide = {"fromEndpoints": [{"matchExpressions": [{"key": "n", "operator": "Exists"}]}], **ports}
    spec = {**WEB, "ingress": [narrow, wide]}
    (finding,) = costs(policy("p", spec), live(*crowd))
    assert (finding.check, finding.field) == ("PolicyMapSize", "spec.ingress[1]")
    assert "web/web@a" in finding.message
    assert costs(policy("p", {**WEB, "ingress": [narrow]}), live(*crowd)) == ()


def test_a_cluster_that_comes_near_its_most_identities_is_told_and_so_is_a_label_of_single_objects() -> None:
    body = policy("p", {**WEB, "ingress": [{"fromEndpoints": [PORTAL]}]})
    (finding,) = costs(body, live({"app": "web"}, omitted=40_000))
    assert str(finding).startswith("cluster/a: identities: has 40001 identities of at most 65535")
    (finding,) = costs(body, live(*({"app": "web", "build": str(n)} for n in range(1500))))
    assert (finding.check, finding.field) == ("IdentityExplosion", "label build")


def test_engines_without_policy_maps_are_told_of_none() -> None:
    crowd = live(*({"app": "web", "n": str(n)} for n in range(900)))
    rule = {"from": [{"podSelector": {}}], "ports": [{"port": 1025, "endPort": 65534}]}
    body = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "web"},
    }
    wide = {**body, "spec": {"podSelector": {}, "ingress": [rule]}}
    assert checks(costs(wide, crowd)) == {"PolicyMapSize"}
    assert costs(wide, crowd, "calico") == ()
