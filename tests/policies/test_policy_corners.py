"""Corners of Cilium's engine that the public corpus does not reach, from its source and documentation."""

from typing import Any

import pytest
import yaml

from atoll.policies.compile import Target, compile_for
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
