"""Corners of Cilium's engine that the public corpus does not reach, from its source and documentation."""

import dataclasses
from typing import Any

import pytest
import yaml

from atoll.policies.compile import Target, compile_for
from atoll.policies.features import Features
from atoll.policies.identity import PortName
from atoll.policies.manifest import Manifest, parse_file
from atoll.policies.verdict import Address, Endpoint, Entity, Flow, Options, Party, Protocol, World, verdict

WEB = Endpoint("web", "lab", "shop", {"app": "web"}, port_names=(PortName("http", 8080),))
API = Endpoint("api", "lab", "shop", {"app": "api", "tier": "back"})
AWAY = Endpoint("away", "cloud", "shop", {"app": "web"})
GROUPS = """
apiVersion: cilium.io/v2
kind: CiliumCIDRGroup
metadata: {name: all, labels: {env: prod, site: hq}}
spec: {externalCIDRs: [10.0.0.0/8, "fd00::/16"]}
---
apiVersion: cilium.io/v2
kind: CiliumCIDRGroup
metadata: {name: part, labels: {env: dev}}
spec: {externalCIDRs: [10.1.0.0/16]}
"""


def cilium(rule: str, *more: str) -> tuple[Manifest, ...]:
    """Give one policy for every pod of the namespace `shop`, and what else stands beside it."""
    body = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"endpointSelector": {}, **yaml.safe_load(rule)},
    }
    parsed = parse_file("---\n".join([yaml.safe_dump(body), *more]), "p.yaml")
    assert parsed.problems == ()
    return parsed.manifests


def allowed(
    policies: tuple[Manifest, ...], source: Party, to: Party, port: int = 80, protocol: Protocol = "TCP", **how: Any
) -> bool:
    """Judge a connection where both clusters hold the policies."""
    world = World({"lab": policies, "cloud": policies}, options=Options(**how))
    return verdict(world, Flow(source, to, port, protocol)).allowed


@pytest.mark.parametrize(
    ("selector", "address", "expected"),
    [
        ("{matchLabels: {env: prod}}", "10.2.0.1", True),
        ("{matchLabels: {env: prod}}", "fd00::7", True),
        ("{matchLabels: {env: prod}}", "10.1.0.1", False),
        ("{matchLabels: {env: dev}}", "10.1.0.1", True),
        ("{matchLabels: {site: hq, env: dev}}", "10.1.0.1", True),
        ("{matchExpressions: [{key: env, operator: NotIn, values: [dev]}]}", "10.2.0.1", True),
        ("{matchExpressions: [{key: env, operator: NotIn, values: [dev]}]}", "10.1.0.1", False),
        ("{matchExpressions: [{key: env, operator: NotIn, values: [dev]}]}", "8.8.8.8", True),
        ("{matchLabels: {env: other}}", "10.2.0.1", False),
    ],
)
def test_an_address_has_the_labels_of_all_groups_around_it_and_the_narrowest_says_each(
    selector: str, address: str, expected: bool
) -> None:
    policies = cilium(f"egress: [{{toCIDRSet: [{{cidrGroupSelector: {selector}}}]}}]", GROUPS)
    assert allowed(policies, WEB, Address(address)) is expected


def test_a_group_selector_that_only_excludes_means_pods_too_and_is_never_emitted() -> None:
    policies = cilium(
        "egress: [{toCIDRSet: [{cidrGroupSelector: {matchExpressions: [{key: env, operator: DoesNotExist}]}}]}]", GROUPS
    )
    assert allowed(policies, WEB, Address("8.8.8.8")) and not allowed(policies, WEB, Address("10.2.0.1"))
    open_to_pods = World({"lab": policies})
    assert verdict(open_to_pods, Flow(WEB, API, 80)).allowed
    refused = compile_for(policies, Target("lab", cilium_version="1.19.0"))
    assert [item.rule for item in refused.unenforceable] == [
        "CiliumNetworkPolicy shop/p spec.egress[0].toCIDRSet[0].cidrGroupSelector"
    ]


def test_exceptions_hold_within_selected_groups() -> None:
    block = "{cidrGroupSelector: {matchLabels: {site: hq}}, except: [10.2.0.0/16]}"
    policies = cilium(f"egress: [{{toCIDRSet: [{block}]}}]", GROUPS)
    assert allowed(policies, WEB, Address("10.3.0.1"))
    assert not allowed(policies, WEB, Address("10.2.0.1"))


@pytest.mark.parametrize(("port", "cilium_says", "kubernetes_says"), [(8080, False, True), (9090, True, True)])
def test_of_ports_with_one_name_cilium_keeps_the_last_and_kubernetes_means_all(
    port: int, cilium_says: bool, kubernetes_says: bool
) -> None:
    pod = Endpoint("two", "lab", "shop", port_names=(PortName("http", 8080), PortName("HTTP", 9090)))
    (policy,) = parse_file(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\n"
        "spec: {podSelector: {}, ingress: [{ports: [{port: http}]}]}",
        "p.yaml",
    ).manifests
    for engine, says in (("Cilium", cilium_says), ("Kubernetes", kubernetes_says)):
        world = World({"lab": (policy,)}, options=Options(engine=engine))
        assert verdict(world, Flow(Address("8.8.8.8"), pod, port)).allowed is says


INGRESS_CASES: list[tuple[str, Party, int, Protocol, bool]] = [
    # A range ends where it says, and protocol ANY is TCP, UDP and SCTP, never ICMP.
    ("ingress: [{toPorts: [{ports: [{port: '8000', endPort: 8100}]}]}]", API, 8100, "UDP", True),
    ("ingress: [{toPorts: [{ports: [{port: '8000', endPort: 8100}]}]}]", API, 8101, "TCP", False),
    ("ingress: [{toPorts: [{ports: [{port: '8000', endPort: 8100}]}]}]", API, 8, "ICMP", False),
    ("ingress: [{icmps: [{fields: [{type: 8}]}]}]", API, 8, "ICMP", True),
    ("ingress: [{icmps: [{fields: [{type: 8}]}]}]", API, 8, "ICMPv6", False),
    ("ingress: [{icmps: [{fields: [{type: EchoRequest, family: IPv6}]}]}]", API, 128, "ICMPv6", True),
    # A deny takes back what any allow gives, and closes the direction by itself.
    ("{ingress: [{fromEndpoints: [{}]}], ingressDeny: [{toPorts: [{ports: [{port: '22'}]}]}]}", API, 80, "TCP", True),
    ("{ingress: [{fromEndpoints: [{}]}], ingressDeny: [{toPorts: [{ports: [{port: '22'}]}]}]}", API, 22, "TCP", False),
    ("ingressDeny: [{toPorts: [{ports: [{port: '22'}]}]}]", API, 80, "TCP", False),
    (
        "{enableDefaultDeny: {ingress: false}, ingressDeny: [{toPorts: [{ports: [{port: '22'}]}]}]}",
        API,
        80,
        "TCP",
        True,
    ),
    # Operators where the key is absent.
    (
        "ingress: [{fromEndpoints: [{matchExpressions: [{key: tier, operator: NotIn, values: [back]}]}]}]",
        WEB,
        80,
        "TCP",
        True,
    ),
    (
        "ingress: [{fromEndpoints: [{matchExpressions: [{key: tier, operator: NotIn, values: [back]}]}]}]",
        API,
        80,
        "TCP",
        False,
    ),
    ("ingress: [{fromEndpoints: [{matchExpressions: [{key: tier, operator: Exists}]}]}]", WEB, 80, "TCP", False),
    # Entities: `cluster` is this cluster's pods and every cluster's nodes, `world` is neither.
    ("ingress: [{fromEntities: [cluster]}]", API, 80, "TCP", True),
    ("ingress: [{fromEntities: [cluster]}]", AWAY, 80, "TCP", False),
    ("ingress: [{fromEntities: [cluster]}]", Entity("remote-node"), 80, "TCP", True),
    ("ingress: [{fromEntities: [cluster]}]", Entity("unmanaged"), 80, "TCP", True),
    ("ingress: [{fromEntities: [world]}]", AWAY, 80, "TCP", False),
    ("ingress: [{fromEntities: [world]}]", Address("2001:db8::1"), 80, "TCP", True),
    ("ingress: [{fromEntities: [kube-apiserver]}]", Address("8.8.8.8", is_kube_apiserver=True), 80, "TCP", True),
    ("ingress: [{fromEntities: [remote-node]}]", Entity("kube-apiserver"), 80, "TCP", True),
    ("ingress: [{fromEntities: [health]}]", Entity("health"), 4240, "TCP", True),
    ("ingress: [{fromEntities: [none]}]", API, 80, "TCP", False),
    ("ingress: [{fromEntities: [all]}]", AWAY, 80, "TCP", True),
    # Reserved labels by selector are taken as they are; a CIDR is never a pod or a node.
    ("ingress: [{fromEndpoints: [{matchLabels: {'reserved:ingress': ''}}]}]", Entity("ingress"), 80, "TCP", True),
    ("ingress: [{fromCIDR: [0.0.0.0/0]}]", API, 80, "TCP", False),
    ("ingress: [{fromCIDR: ['::/0']}]", Address("2001:db8::1"), 80, "TCP", True),
    ("ingress: [{fromCIDR: [0.0.0.0/0]}]", Address("2001:db8::1"), 80, "TCP", False),
    # Peers of other clusters are meant only where a cluster is named.
    ("ingress: [{fromEndpoints: [{matchLabels: {app: web}}]}]", AWAY, 80, "TCP", False),
    (
        "ingress: [{fromEndpoints: [{matchLabels: {app: web, io.cilium.k8s.policy.cluster: cloud}}]}]",
        AWAY,
        80,
        "TCP",
        True,
    ),
]


@pytest.mark.parametrize(("rule", "source", "port", "protocol", "expected"), INGRESS_CASES)
def test_ingress_says_what_ciliums_documentation_says(
    rule: str, source: Party, port: int, protocol: Protocol, expected: bool
) -> None:
    world = World({"lab": cilium(rule)})
    target = Endpoint("target", "lab", "shop", {"app": "target"})
    assert verdict(world, Flow(source, target, port, protocol)).allowed is expected


def test_names_of_dns_are_matched_by_label_and_only_for_the_ports_that_are_said() -> None:
    ports = "toPorts: [{ports: [{port: '443', protocol: TCP}]}]"
    policies = cilium(f"egress: [{{toFQDNs: [{{matchPattern: '*.example.org'}}], {ports}}}]")
    known = Address("93.184.216.34", domain_names=("api.example.org",))
    assert allowed(policies, WEB, known, 443) and not allowed(policies, WEB, known, 80)
    deep = Address("93.184.216.34", domain_names=("a.b.example.org",))
    assert not allowed(policies, WEB, deep, 443), "* ends at a dot"
    assert not allowed(policies, WEB, Address("93.184.216.34", domain_names=("example.org",)), 443)


def clusterwide(rule: str, selector: str = "{}") -> tuple[Manifest, ...]:
    """Give one clusterwide policy."""
    body = {"endpointSelector": yaml.safe_load(selector), **yaml.safe_load(rule)}
    policy = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": "p"},
        "spec": body,
    }
    parsed = parse_file(yaml.safe_dump(policy), "p.yaml")
    assert parsed.problems == ()
    return parsed.manifests


NOT_TEAM_A = "{matchExpressions: [{key: io.cilium.k8s.namespace.labels.team, operator: NotIn, values: [a]}]}"


@pytest.mark.parametrize(("source", "expected"), [(API, True), (Address("8.8.8.8"), False), (Entity("host"), False)])
def test_a_clusterwide_peer_by_namespace_labels_alone_means_pods_and_nothing_else(
    source: Party, expected: bool
) -> None:
    policies = clusterwide(f"ingress: [{{fromEndpoints: [{NOT_TEAM_A}]}}]")
    how = {"default_local_cluster": False, "allow_localhost": False}
    assert allowed(policies, source, WEB, **how) is expected


def test_a_peer_by_namespace_labels_in_a_namespaced_policy_is_not_held_to_pods() -> None:
    policies = cilium(f"ingress: [{{fromEndpoints: [{NOT_TEAM_A}]}}]")
    assert allowed(policies, Address("8.8.8.8"), WEB, default_local_cluster=False)
    assert not allowed(policies, Address("8.8.8.8"), WEB, default_local_cluster=True)


NOT_INIT = "{matchExpressions: [{key: 'reserved:init', operator: DoesNotExist}]}"


def test_naming_init_in_the_subject_opens_peers_of_clusterwide_policies_only() -> None:
    rule, away = "ingress: [{fromEndpoints: [{}]}]", {"default_local_cluster": False}
    assert allowed(clusterwide(rule, NOT_INIT), Address("8.8.8.8"), WEB, **away)
    namespaced = cilium(f"{{endpointSelector: {NOT_INIT}, {rule}}}")
    assert not allowed(namespaced, Address("8.8.8.8"), WEB, **away)
    assert allowed(namespaced, API, WEB, **away)


def raw(rule: str) -> tuple[Manifest, ...]:
    """Give a policy that `validate` refuses, as an engine may hold it."""
    (policy,) = cilium("ingress: [{}]")
    body = {**policy.body, "spec": {"endpointSelector": {}, **yaml.safe_load(rule)}}
    return (dataclasses.replace(policy, body=body),)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("{toFQDNs: [], toPorts: [{ports: [{port: '80'}]}]}", True),
        ("{toGroups: [], toPorts: [{ports: [{port: '80'}]}]}", True),
        ("{toServices: [], toPorts: [{ports: [{port: '80'}]}]}", True),
        ("{toFQDNs: []}", False),
        ("{toEndpoints: [], toPorts: [{ports: [{port: '80'}]}]}", False),
        ("{toNodes: [], toPorts: [{ports: [{port: '80'}]}]}", False),
        ("{toEndpoints: [], toEntities: [all]}", False),
        ("{toEndpoints: null, toEntities: [all]}", True),
    ],
)
def test_an_empty_list_of_peers_is_nobody_or_no_list_at_all_as_in_ciliums_engine(item: str, expected: bool) -> None:
    assert allowed(raw(f"egress: [{item}]"), WEB, Address("8.8.8.8")) is expected


@pytest.mark.parametrize("field", ["toFQDNs", "toGroups", "toServices"])
def test_an_empty_list_that_cilium_takes_for_everybody_is_refused(field: str) -> None:
    rule = f"egress: [{{{field}: [], toPorts: [{{ports: [{{port: '80'}}]}}]}}]"
    (problem,) = parse_file(yaml.safe_dump(dict(raw(rule)[0].body)), "p.yaml").problems
    assert problem.field == f"spec.egress[0].{field}"
    assert "everybody" in problem.message


def test_l7_rules_of_which_there_are_none_are_no_l7_rules() -> None:
    policies = cilium("egress: [{toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: []}}]}]")
    side = verdict(World({"lab": policies}), Flow(WEB, Address("8.8.8.8"), 80)).egress
    assert side is not None and side.allowed and not side.is_l7


@pytest.mark.parametrize(
    ("label", "rule", "expected"),
    [
        ("host", "ingress: [{}]", True),
        ("hosts", "ingress: [{}]", False),
        ("init", "egress: [{toEntities: [all]}]", False),
    ],
)
def test_a_pods_own_label_of_a_reserved_name_frees_or_closes_it_on_cilium(
    label: str, rule: str, expected: bool
) -> None:
    assert allowed(cilium(rule), API, Endpoint("odd", "lab", "shop", {label: ""})) is expected


def test_the_same_label_means_nothing_to_other_engines() -> None:
    text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\n"
    policies = parse_file(text + "spec: {podSelector: {}}", "p.yaml").manifests
    pod = Endpoint("odd", "lab", "shop", {"host": "a"})
    assert allowed(policies, API, pod) and not allowed(policies, API, pod, engine="Kubernetes")
    assert not allowed(policies, API, pod, host_firewall=True), "then the node's policies are looked at, and the pod's"


NAMES = """
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: names}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {}}
  egress:
    - {action: Accept, to: [{domainNames: ["*.example.org"]}]}
    - {action: Deny, to: [{networks: [0.0.0.0/0]}, {namespaces: {}}]}
"""


def test_whoever_may_open_connections_to_names_may_ask_kube_dns_for_them() -> None:
    policies = parse_file(NAMES, "p.yaml").manifests
    ports = (PortName("dns", 53, "UDP"), PortName("dns-tcp", 53, "TCP"), PortName("metrics", 9153))
    dns = Endpoint("dns", "lab", "kube-system", {"k8s-app": "kube-dns"}, port_names=ports)
    assert allowed(policies, WEB, dns, 53, "UDP") and allowed(policies, WEB, dns, 53, "TCP")
    assert not allowed(policies, WEB, dns, 9153)
    assert not allowed(policies, WEB, API, 53, "UDP")
    assert allowed(policies, WEB, Address("93.184.216.34", domain_names=("a.b.example.org",)), 443)
    side = verdict(World({"lab": policies}), Flow(WEB, dns, 53, "UDP")).egress
    assert side is not None and side.is_l7, "a proxy answers for these names alone"


def test_nodes_as_peers_need_the_agents_option() -> None:
    text = NAMES.replace('domainNames: ["*.example.org"]', "nodes: {}")
    (problem,) = parse_file(text, "p.yaml").problems
    assert (problem.field, problem.line) == ("spec.egress[0].to[0].nodes", 10)
    assert "enable-node-selector-labels" in problem.message
    assert parse_file(text, "p.yaml", Features(node_selector_labels=True)).problems == ()


@pytest.mark.parametrize(
    ("kind", "says"),
    [("'010'", "is no IPv4 ICMP type"), ("'٣'", "is no IPv4 ICMP type"), ("256", "not between"), ("'8'", "")],
)
def test_icmp_types_in_text_are_numbers_as_the_schema_writes_them(kind: str, says: str) -> None:
    (policy,) = raw(f"ingress: [{{icmps: [{{fields: [{{type: {kind}}}]}}]}}]")
    problems = parse_file(yaml.safe_dump(dict(policy.body), allow_unicode=True), "p.yaml").problems
    assert [problem.field for problem in problems] == (["spec.ingress[0].icmps[0].fields[0].type"] if says else [])
    assert all(says in problem.message for problem in problems)
