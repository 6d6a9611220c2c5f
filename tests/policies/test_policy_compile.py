"""One cluster gets exactly what the files say for it, or a reason why it cannot."""

from pathlib import Path

import pytest
import yaml

from atoll.policies.compile import Compiled, Target, compile_for
from atoll.policies.features import Features
from atoll.policies.manifest import Manifest, parse_file
from atoll.policies.stamp import manifest_hash, policyset_label, stamp

PEERS = {"c2": {"region": "eu", "tier": "lab"}, "c3": {"region": "us"}}
CILIUM = Target("c1", {"region": "eu"}, "cilium", "1.19.2", peers=PEERS)
CLUSTER = "k8s:io.cilium.k8s.policy.cluster"


def manifests(text: str, path: str = "p.yaml") -> tuple[Manifest, ...]:
    """Parse valid policies."""
    parsed = parse_file(text, path)
    assert parsed.problems == ()
    return parsed.manifests


def policy(spec: str, kind: str = "CiliumNetworkPolicy", annotations: str = "{}", name: str = "p") -> str:
    """Write one policy."""
    group = {"NetworkPolicy": "networking.k8s.io/v1", "ClusterNetworkPolicy": "policy.networking.k8s.io/v1alpha2"}
    return (
        f"apiVersion: {group.get(kind, 'cilium.io/v2')}\nkind: {kind}\n"
        f"metadata: {{name: {name}, annotations: {annotations}}}\nspec: {spec}\n"
    )


def compile_spec(text: str, target: Target = CILIUM) -> dict:
    """Compile one policy that must be enforceable and give its spec."""
    compiled = compile_for(manifests(text), target)
    assert compiled.unenforceable == ()
    (manifest,) = compiled.manifests
    return manifest.body["spec"]


def reasons(compiled: Compiled) -> str:
    """Give all reasons as one text."""
    return "\n".join(map(str, compiled.unenforceable))


PEER_CASES = {
    "empty selector": ("{}", {"matchLabels": {CLUSTER: "c1"}}),
    "labels": ("{matchLabels: {app: web}}", {"matchLabels": {"app": "web", CLUSTER: "c1"}}),
    "terms": (
        "{matchExpressions: [{key: app, operator: Exists}]}",
        {"matchExpressions": [{"key": "app", "operator": "Exists"}], "matchLabels": {CLUSTER: "c1"}},
    ),
    "own cluster key": (
        "{matchLabels: {io.cilium.k8s.policy.cluster: c2}}",
        {"matchLabels": {"io.cilium.k8s.policy.cluster": "c2"}},
    ),
    "own cluster term": (
        f"{{matchExpressions: [{{key: '{CLUSTER}', operator: Exists}}]}}",
        {"matchExpressions": [{"key": CLUSTER, "operator": "Exists"}]},
    ),
    "reserved identity": ("{matchLabels: {'reserved:host': ''}}", {"matchLabels": {"reserved:host": ""}}),
}


@pytest.mark.parametrize(("selector", "expected"), PEER_CASES.values(), ids=PEER_CASES)
@pytest.mark.parametrize("direction", ["ingress", "ingressDeny", "egress", "egressDeny"])
def test_every_pod_peer_names_its_clusters(direction: str, selector: str, expected: dict) -> None:
    side = "from" if direction.startswith("ingress") else "to"
    spec = compile_spec(policy(f"{{endpointSelector: {{}}, {direction}: [{{{side}Endpoints: [{selector}]}}]}}"))
    assert spec == {"endpointSelector": {}, direction: [{f"{side}Endpoints": [expected]}]}


def test_what_is_no_pod_peer_stays_as_written() -> None:
    text = """\
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: p}
specs:
  - endpointSelector: {matchLabels: {app: x}}
    ingress: [{}, {fromEndpoints: []}, {fromEntities: [cluster]}]
    egress:
      - toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]
      - toFQDNs: [{matchName: example.org}]
        toPorts: [{ports: [{port: "443", protocol: TCP}]}]
"""
    (manifest,) = compile_for(manifests(text), CILIUM).manifests
    assert manifest.body == yaml.safe_load(text)


GROUPS = {
    "by label": ("region=eu", ["c1", "c2"]),
    "by set": ("'region in (us, eu),tier!=lab'", ["c1", "c3"]),
    "by name": ("atoll.dev/cluster=c3", ["c3"]),
    "nobody": ("region=moon", ["atoll.dev.no-cluster"]),
}


@pytest.mark.parametrize(("group", "names"), GROUPS.values(), ids=GROUPS)
def test_a_cluster_group_becomes_the_list_of_its_clusters(group: str, names: list[str]) -> None:
    text = policy(
        "{endpointSelector: {}, ingress: [{fromEndpoints: [{matchLabels: {app: web}}]}]}",
        annotations=f"{{atoll.dev/cluster-group: {group}}}",
    )
    (peer,) = compile_spec(text)["ingress"][0]["fromEndpoints"]
    assert peer["matchExpressions"] == [{"key": CLUSTER, "operator": "In", "values": names}]
    assert peer["matchLabels"] == {"app": "web"}


def test_the_clusters_annotation_chooses_where_a_manifest_goes() -> None:
    text = policy("{endpointSelector: {}, ingress: [{}]}", annotations="{atoll.dev/clusters: 'region=eu,tier'}")
    assert compile_for(manifests(text), CILIUM) == Compiled((), ())
    lab = Target("c2", PEERS["c2"], "cilium", "1.19.2")
    assert [manifest.name for manifest in compile_for(manifests(text), lab).manifests] == ["p"]


NETWORK_POLICY = (
    "{podSelector: {}, policyTypes: [Ingress], ingress: [{from: ["
    "{podSelector: {matchLabels: {app: web}}}, {namespaceSelector: {}}, {ipBlock: {cidr: 10.0.0.0/8}}]}], egress: [{}]}"
)


def test_a_network_policy_on_cilium_means_this_cluster_under_every_setting() -> None:
    spec = compile_spec(policy(NETWORK_POLICY, "NetworkPolicy"))
    key = "io.cilium.k8s.policy.cluster"
    assert spec == {
        "podSelector": {},
        "policyTypes": ["Ingress"],
        "ingress": [
            {
                "from": [
                    {"podSelector": {"matchLabels": {"app": "web", key: "c1"}}},
                    {"namespaceSelector": {}, "podSelector": {"matchLabels": {key: "c1"}}},
                    {"ipBlock": {"cidr": "10.0.0.0/8"}},
                ]
            }
        ],
    }


def test_a_network_policy_stays_as_it_is_where_cilium_is_known_to_keep_peers_local() -> None:
    target = Target("c1", cilium_version="1.19.2", default_local_cluster=True)
    written = "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}"
    assert compile_spec(policy(written, "NetworkPolicy"), target) == yaml.safe_load(written)
    grouped = policy(written, "NetworkPolicy", "{atoll.dev/cluster-group: region=eu}")
    (peer,) = compile_spec(grouped, Target("c1", {"region": "eu"}, default_local_cluster=True))["ingress"][0]["from"]
    assert peer["podSelector"]["matchExpressions"][0]["values"] == ["c1"]


@pytest.mark.parametrize("cni", ["kube-router", "calico", "antrea"])
def test_a_plain_network_policy_passes_unchanged_on_other_enforcing_cnis(cni: str) -> None:
    spec = compile_spec(policy(NETWORK_POLICY, "NetworkPolicy"), Target("k3s", cni=cni))
    assert spec == yaml.safe_load(NETWORK_POLICY)


REFUSED = {
    "Cilium's policy on another CNI": (
        policy("{endpointSelector: {}, ingress: [{}]}"),
        Target("k3s", cni="kube-router"),
        "only Cilium enforces CiliumNetworkPolicy, k3s runs kube-router; write a NetworkPolicy",
    ),
    "a CNI that enforces nothing": (
        policy("{podSelector: {}}", "NetworkPolicy"),
        Target("k3s", cni="flannel"),
        "flannel",
    ),
    "a CNI that is unknown": (
        policy("{podSelector: {}}", "NetworkPolicy"),
        Target("k3s", cni=""),
        "not known to enforce",
    ),
    "cluster label on another CNI": (
        policy(
            "{podSelector: {}, egress: [{}, {to: [{podSelector: {matchLabels: {io.cilium.k8s.policy.cluster: c2}}}]}]}",
            "NetworkPolicy",
        ),
        Target("k3s", cni="calico"),
        "p.yaml:4: NetworkPolicy default/p spec.egress[1].to[0]: names clusters",
    ),
    "cluster group on another CNI": (
        policy(
            "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}",
            "NetworkPolicy",
            "{atoll.dev/cluster-group: region=eu}",
        ),
        Target("k3s", {"region": "eu"}, cni="calico", peers=PEERS),
        "means pods of other clusters (region=eu)",
    ),
    "kind without CRD": (
        policy("{endpointSelector: {}, ingress: [{}]}"),
        Target("c1", cilium_version="1.19.0", kinds_served=frozenset({"CiliumClusterwideNetworkPolicy"})),
        "has no CiliumNetworkPolicy; install its CRD",
    ),
    "field of a later version": (
        policy("{endpointSelector: {}, ingress: [{}], log: {value: x}}"),
        Target("c1", cilium_version="1.17.9"),
        "spec.log: needs Cilium 1.18, this cluster runs 1.17",
    ),
    "field that depends on an unknown version": (
        policy("{endpointSelector: {}, ingress: [{}], enableDefaultDeny: {ingress: false}}"),
        Target("c1"),
        "spec.enableDefaultDeny: needs Cilium 1.16, and this cluster's version is unknown",
    ),
    "CIDR group and unknown version": (
        policy("{externalCIDRs: [10.0.0.0/8]}", "CiliumCIDRGroup"),
        Target("c1"),
        "version is unknown",
    ),
    "ClusterNetworkPolicy before 1.20": (
        policy("{tier: Admin, priority: 1, subject: {namespaces: {}}}", "ClusterNetworkPolicy"),
        CILIUM,
        "from 1.20 on, this cluster runs 1.19",
    ),
    "ClusterNetworkPolicy that may not be served": (
        policy("{tier: Admin, priority: 1, subject: {namespaces: {}}}", "ClusterNetworkPolicy"),
        Target("c1", cilium_version="1.20.1"),
        "not known whether",
    ),
    "a host policy without host firewall": (
        policy("{nodeSelector: {}, ingress: [{}]}", "CiliumClusterwideNetworkPolicy"),
        CILIUM,
        "spec.nodeSelector: does nothing without Cilium's host firewall",
    ),
    "a peer that only excludes": (
        policy(
            "{endpointSelector: {}, ingress: [{fromEndpoints: [{matchExpressions: ["
            f"{{key: '{CLUSTER}', operator: NotIn, values: [c2]}}, "
            "{key: 'k8s:io.kubernetes.pod.namespace', operator: NotIn, values: [x]}]}]}]}"
        ),
        CILIUM,
        "only excludes",
    ),
    "a NetworkPolicy peer that only excludes": (
        policy(
            "{podSelector: {}, ingress: [{from: [{"
            "namespaceSelector: {matchExpressions: [{key: a, operator: DoesNotExist}]}, "
            "podSelector: {matchExpressions: [{key: io.cilium.k8s.policy.cluster, operator: NotIn, values: [c2]}]}"
            "}]}]}",
            "NetworkPolicy",
        ),
        CILIUM,
        "only excludes",
    ),
    "namespaces of a ClusterNetworkPolicy that only exclude": (
        policy(
            "{tier: Admin, priority: 1, subject: {namespaces: {}}, ingress: [{action: Accept, from: ["
            "{namespaces: {matchExpressions: [{key: team, operator: NotIn, values: [x]}]}}]}]}",
            "ClusterNetworkPolicy",
        ),
        Target("c1", cilium_version="1.20.0", kinds_served=frozenset({"ClusterNetworkPolicy"})),
        "only excludes",
    ),
    "namespace in a podSelector": (
        policy(
            "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {io.kubernetes.pod.namespace: x}}}]}]}",
            "NetworkPolicy",
        ),
        CILIUM,
        "use a namespaceSelector",
    ),
}


@pytest.mark.parametrize(("text", "target", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_enforced_exactly_is_reported_and_not_emitted(text: str, target: Target, says: str) -> None:
    compiled = compile_for(manifests(text), target)
    assert says in reasons(compiled)
    assert compiled.manifests == ()
    assert {item.origin.path for item in compiled.unenforceable} == {"p.yaml"}


def test_nothing_of_a_file_is_emitted_when_one_of_its_manifests_cannot_be_enforced() -> None:
    good, bad = (
        policy("{podSelector: {}}", "NetworkPolicy", name="good"),
        policy("{endpointSelector: {}, ingress: [{}]}"),
    )
    other = manifests(policy("{podSelector: {}}", "NetworkPolicy", name="other"), "q.yaml")
    compiled = compile_for((*manifests(f"{good}---\n{bad}"), *other), Target("k3s", cni="calico"))
    assert [manifest.name for manifest in compiled.manifests] == ["other"]
    assert [(item.origin.path, item.origin.line) for item in compiled.unenforceable] == [("p.yaml", 6)]


CIDR_GROUP = policy(
    "{externalCIDRs: [10.0.0.0/8]}", "CiliumCIDRGroup", "{atoll.dev/clusters: region=eu}", "instruments"
).replace("metadata: {", "metadata: {labels: {kind: lab}, ")


@pytest.mark.parametrize(
    "block",
    ["{cidrGroupRef: instruments}", "{cidrGroupSelector: {matchExpressions: [{key: kind, operator: Exists}]}}"],
)
def test_a_policy_is_refused_where_its_cidr_group_does_not_come_along(block: str) -> None:
    deny = manifests(policy(f"{{endpointSelector: {{}}, ingressDeny: [{{fromCIDRSet: [{block}]}}]}}"), "deny.yaml")
    both = (*manifests(CIDR_GROUP, "group.yaml"), *deny)
    assert len(compile_for(both, CILIUM).manifests) == 2
    american = Target("c3", {"region": "us"}, "cilium", "1.19.2")
    for bundle, target in ((deny, CILIUM), (both, american)):
        compiled = compile_for(bundle, target)
        assert compiled.manifests == ()
        assert "deny.yaml:4: CiliumNetworkPolicy default/p spec.ingressDeny[0].fromCIDRSet[0]" in reasons(compiled)


def test_a_policy_goes_down_with_the_file_of_its_cidr_group() -> None:
    bad = policy("{endpointSelector: {}, ingress: [{fromNodes: []}]}", "CiliumClusterwideNetworkPolicy", name="bad")
    on = Features(node_selector_labels=True)
    group_file = parse_file(f"{CIDR_GROUP}---\n{bad}", "group.yaml", on).manifests
    deny = policy("{endpointSelector: {}, ingressDeny: [{fromCIDRSet: [{cidrGroupRef: instruments}]}]}")
    compiled = compile_for((*group_file, *manifests(deny, "deny.yaml")), CILIUM)
    assert compiled.manifests == ()
    assert {item.origin.path for item in compiled.unenforceable} == {"group.yaml", "deny.yaml"}


def test_an_object_written_twice_for_one_cluster_is_refused_but_variants_by_cluster_are_not() -> None:
    one = manifests(policy("{podSelector: {}}", "NetworkPolicy", "{atoll.dev/clusters: region=eu}"), "eu.yaml")
    two = manifests(policy("{podSelector: {}}", "NetworkPolicy", "{atoll.dev/clusters: region=us}"), "us.yaml")
    assert len(compile_for((*one, *two), CILIUM).manifests) == 1
    three = manifests(policy("{podSelector: {}}", "NetworkPolicy"), "all.yaml")
    compiled = compile_for((*one, *two, *three), CILIUM)
    assert compiled.manifests == ()
    assert "also written in eu.yaml:1" in reasons(compiled) and "also written in all.yaml:1" in reasons(compiled)


def test_cidr_groups_are_written_in_the_api_version_of_the_cluster() -> None:
    text = policy("{externalCIDRs: [10.0.0.0/8]}", "CiliumCIDRGroup")
    versions = {"1.16.4": "cilium.io/v2alpha1", "v1.18.0": "cilium.io/v2", "1.20.0-rc.1": "cilium.io/v2"}
    for version, expected in versions.items():
        (manifest,) = compile_for(manifests(text), Target("c1", cilium_version=version)).manifests
        assert manifest.body["apiVersion"] == expected


CLUSTER_POLICY = (
    "{tier: Admin, priority: 1, subject: {namespaces: {}}, "
    "ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: a}}}]}], "
    "egress: [{action: Accept, to: [{networks: [10.0.0.0/8]}, {pods: {podSelector: {}}}]}]}"
)
SERVES_ALL = Target("c1", {"region": "eu"}, "cilium", "1.20.0", frozenset({"ClusterNetworkPolicy"}), PEERS)


def test_pods_peers_of_a_cluster_network_policy_name_the_cluster_and_namespaces_peers_stay() -> None:
    spec = compile_spec(policy(CLUSTER_POLICY, "ClusterNetworkPolicy"), SERVES_ALL)
    assert spec["ingress"][0]["from"] == [{"namespaces": {"matchLabels": {"team": "a"}}}]
    local = {"matchLabels": {"io.cilium.k8s.policy.cluster": "c1"}}
    assert spec["egress"][0]["to"] == [{"networks": ["10.0.0.0/8"]}, {"pods": {"podSelector": local}}]


def test_a_group_narrows_the_namespaces_peers_of_a_cluster_network_policy() -> None:
    text = policy(CLUSTER_POLICY, "ClusterNetworkPolicy", "{atoll.dev/cluster-group: region=eu}")
    group = [{"key": "io.cilium.k8s.policy.cluster", "operator": "In", "values": ["c1", "c2"]}]
    assert compile_spec(text, SERVES_ALL)["ingress"][0]["from"] == [
        {"pods": {"namespaceSelector": {"matchLabels": {"team": "a"}}, "podSelector": {"matchExpressions": group}}}
    ]


def test_the_output_is_in_one_order_whatever_the_input_order() -> None:
    texts = [policy("{podSelector: {}}", "NetworkPolicy", name=name) for name in ("b", "a", "c")]
    parsed = [manifests(text, f"{index}.yaml") for index, text in enumerate(texts)]
    orders = (parsed, parsed[::-1])
    results = [compile_for([m for part in order for m in part], CILIUM).manifests for order in orders]
    assert results[0] == results[1]
    assert [manifest.name for manifest in results[0]] == ["a", "b", "c"]


def test_compiling_leaves_the_source_untouched_and_its_result_is_valid_again(corpus: Path) -> None:
    checked = 0
    on = Features(node_selector_labels=True, extended_ip_protocols=True, host_firewall=True)
    target = Target("c1", cilium_version="1.20.0", peers=PEERS, features=on)
    for file in sorted((corpus / "policies" / "cilium-examples" / "policies").rglob("*.yaml")):
        for manifest in parse_file(file.read_text(), file.name, on).manifests:
            before = yaml.safe_dump(manifest.body)
            compiled = compile_for([manifest], target)
            assert yaml.safe_dump(manifest.body) == before
            assert compiled.unenforceable == (), file
            (result,) = stamp(compiled.manifests, "set", "0" * 40)
            assert parse_file(yaml.safe_dump(result.body), file.name, on).problems == ()
            checked += 1
    assert checked > 40


def test_a_stamp_says_whose_an_object_is_and_where_it_comes_from() -> None:
    (manifest,) = manifests(policy("{podSelector: {}}", "NetworkPolicy", "{team: a}"), "dir/p.yaml")
    (stamped,) = stamp([manifest], "baseline", "abc123")
    assert stamped.body["metadata"]["labels"] == {"atoll.dev/policyset": "baseline"}
    assert stamped.body["metadata"]["annotations"] == {
        "team": "a",
        "atoll.dev/commit": "abc123",
        "atoll.dev/origin": "dir/p.yaml:1",
        "atoll.dev/content-hash": manifest_hash(manifest),
    }


def test_the_hash_follows_what_a_policy_says_and_nothing_else() -> None:
    (one,) = manifests(policy("{podSelector: {}, ingress: []}", "NetworkPolicy"))
    (same,) = manifests(policy("{ingress: [], podSelector: {}}", "NetworkPolicy"), "moved.yaml")
    (other,) = manifests(policy("{podSelector: {}, ingress: [{}]}", "NetworkPolicy"))
    assert manifest_hash(one) == manifest_hash(same) != manifest_hash(other)
    for commit in ("1", "2"):
        (stamped,) = stamp([one], "set", commit)
        assert manifest_hash(stamped) == manifest_hash(one)


def test_long_names_of_policy_sets_become_distinct_valid_labels() -> None:
    long, longer = "a" * 100, "a" * 101
    assert policyset_label("short") == "short"
    assert len(policyset_label(long)) == 63
    assert policyset_label(long) != policyset_label(longer)
