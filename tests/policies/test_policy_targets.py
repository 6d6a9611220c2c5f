"""Clusters as the compiler sees them: what their agents told decides what can be enforced there, not what is usual."""

from typing import Any

import pytest

from atoll.federation.resources import Cluster
from atoll.policies.compile import compile_for
from atoll.policies.features import Features
from atoll.policies.manifest import parse_file
from atoll.policies.targets import features_of_any, target_of
from atoll.policies.trials.scenario import parse_scenarios
from atoll.policies.trials.trial import run_trial

KINDS = ["CiliumNetworkPolicy", "ClusterNetworkPolicy", "NetworkPolicy"]
HOSTS = """
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: hosts}
spec: {nodeSelector: {}, ingress: [{fromEntities: [cluster]}]}
"""


def cluster(*, kinds: list[str] | None = None, features: dict[str, bool] | None = None, **inventory: Any) -> Cluster:
    told = {
        "cni": "cilium",
        "cniVersion": "1.20.0",
        **({"policyKinds": kinds} if kinds is not None else {}),
        **inventory,
    }
    mesh = {"policyFeatures": features} if features is not None else {}
    return Cluster.model_validate({"metadata": {"name": "lab"}, "status": {"inventory": told, "mesh": mesh}})


SERVED: dict[str, tuple[Cluster, set[str] | None]] = {
    "an agent that has not told them": (cluster(), None),
    "a Cilium that does not enforce what is stored": (cluster(kinds=KINDS, features={}), {KINDS[0], KINDS[2]}),
    "a Cilium whose options are not known": (cluster(kinds=KINDS), {KINDS[0], KINDS[2]}),
    "a Cilium that enforces them all": (cluster(kinds=KINDS, features={"clusterNetworkPolicies": True}), set(KINDS)),
    "another engine": (cluster(kinds=KINDS[2:], cni="calico"), {KINDS[2]}),
}


@pytest.mark.parametrize("what", SERVED)
def test_kinds_count_as_served_where_they_are_enforced(what: str) -> None:
    one, expected = SERVED[what]
    assert target_of(one, [one]).kinds_served == expected


@pytest.mark.parametrize(
    ("features", "refused"), [({"hostFirewall": True}, []), ({}, ["host firewall"]), (None, ["host"])]
)
def test_a_policy_for_nodes_is_given_only_to_clusters_that_told_of_a_host_firewall(
    features: dict[str, bool] | None, refused: list[str]
) -> None:
    one = cluster(kinds=["CiliumClusterwideNetworkPolicy"], features=features)
    compiled = compile_for(parse_file(HOSTS, "hosts.yaml").manifests, target_of(one, [one]))
    assert len(compiled.manifests) == (0 if refused else 1)
    assert all(word in str(item) for word, item in zip(refused, compiled.unenforceable, strict=True))


def test_policies_may_say_what_any_cluster_has_switched_on() -> None:
    some = [cluster(features={"hostFirewall": True}), cluster(features={"nodeSelectorLabels": True}), cluster()]
    assert features_of_any(some) == Features(node_selector_labels=True, host_firewall=True)
    assert features_of_any([]) == Features()


def test_a_policy_test_states_what_a_clusters_cilium_has_switched_on() -> None:
    text = """
apiVersion: atoll.dev/v1alpha1
kind: PolicyTest
metadata: {name: hosts}
clusters: {lab: {hostFirewall: SWITCH}}
workloads: {web: {namespace: lab}, db: {namespace: lab, labels: {app: db}}}
flows: [{from: web, to: db, port: 443, expect: Allow}]
"""
    manifests = parse_file(HOSTS, "hosts.yaml").manifests
    for switch, passes in (("true", True), ("false", False)):
        (scenario,) = parse_scenarios(text.replace("SWITCH", switch), "hosts.policytest.yaml").scenarios
        assert run_trial(scenario, manifests).passed == passes
