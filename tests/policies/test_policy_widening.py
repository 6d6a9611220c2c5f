"""Policies beside a set's that may allow what the set closes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.policies.identity import Endpoint
from atoll.policies.manifest import Manifest, parse_file
from atoll.policies.verdict import Flow, Options, World, verdict
from atoll.policies.widening import find_widenings

DENY = "kind: NetworkPolicy\nmetadata: {name: deny, namespace: lab}\nspec: {podSelector: {}, policyTypes: [Ingress]}"
KNP, CNP = "apiVersion: networking.k8s.io/v1", "apiVersion: cilium.io/v2"


def read(*texts: str) -> tuple[Manifest, ...]:
    parsed = parse_file("\n---\n".join(texts), "p.yaml")
    assert not parsed.problems, parsed.problems
    return parsed.manifests


def network_policy(name: str, spec: str, namespace: str = "lab") -> str:
    return f"{KNP}\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}"


def cilium_policy(name: str, spec: str, namespace: str = "lab") -> str:
    return f"{CNP}\nkind: CiliumNetworkPolicy\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}"


OWN = [
    f"{KNP}\n{DENY}",
    network_policy("web", "{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 443}]}]}"),
    cilium_policy(
        "no-ssh", '{endpointSelector: {}, ingressDeny: [{toPorts: [{ports: [{port: "22", protocol: TCP}]}]}]}'
    ),
]
BESIDE: dict[str, tuple[str, bool]] = {
    "everything to some of its pods": (
        network_policy("x", "{podSelector: {matchLabels: {a: b}}, ingress: [{}]}"),
        True,
    ),
    "one port more": (
        network_policy("x", "{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}]}]}"),
        True,
    ),
    "cluster-wide": (
        f"{CNP}\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {{name: x}}\n"
        "spec: {endpointSelector: {}, ingress: [{fromEntities: [cluster]}]}",
        True,
    ),
    "as much as the set": (
        network_policy("x", "{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 443}]}]}"),
        False,
    ),
    "what the set denies": (
        network_policy("x", "{podSelector: {matchLabels: {a: b}}, ingress: [{ports: [{port: 22}]}]}"),
        False,
    ),
    "another namespace": (network_policy("x", "{podSelector: {}, ingress: [{}]}", "elsewhere"), False),
    "the other direction": (network_policy("x", "{podSelector: {}, policyTypes: [Egress], egress: [{}]}"), False),
    "one more that only closes": (network_policy("x", "{podSelector: {}, policyTypes: [Ingress]}"), False),
    "a deny": (cilium_policy("x", "{endpointSelector: {}, ingressDeny: [{fromEntities: [world]}]}"), False),
}


@pytest.mark.parametrize("what", BESIDE)
def test_an_allow_that_the_set_neither_gives_nor_denies_is_a_widening(what: str) -> None:
    """Only for endpoints that the set closes, only in that direction."""
    text, is_wider = BESIDE[what]
    found = find_widenings(read(*OWN), read(text), "c", is_cilium=True)
    assert [(each.name, each.direction.value, each.closed_by) for each in found] == (
        [("x", "ingress", "lab/deny")] if is_wider else []
    )


def test_without_a_default_deny_there_is_nothing_to_widen() -> None:
    """A set that closes nothing lets everybody in already."""
    own = cilium_policy(
        "open", "{endpointSelector: {}, enableDefaultDeny: {ingress: false}, ingress: [{fromEntities: [world]}]}"
    )
    assert find_widenings(read(own), read(BESIDE["everything to some of its pods"][0]), "c", is_cilium=True) == ()


SELECTORS = st.sampled_from(["{}", "{matchLabels: {app: web}}", "{matchLabels: {app: db}}", "{matchLabels: {tier: a}}"])
PORTS = st.sampled_from(["[{}]", "[{ports: [{port: 443}]}]", "[{ports: [{port: 80, endPort: 500}]}]", "[]"])
POLICIES = st.lists(st.tuples(SELECTORS, PORTS), max_size=3)
PODS = [
    Endpoint(f"{app}-{tier}", "c", "lab", {"app": app, "tier": tier})
    for app in ("web", "db", "x")
    for tier in ("a", "b")
]


def policies(prefix: str, drawn: list[tuple[str, str]]) -> tuple[Manifest, ...]:
    texts = [
        network_policy(f"{prefix}{index}", f"{{podSelector: {selector}, policyTypes: [Ingress], ingress: {ports}}}")
        for index, (selector, ports) in enumerate(drawn)
    ]
    return read(*texts) if texts else ()


@given(POLICIES, POLICIES)
def test_where_nothing_is_reported_no_verdict_opens(own: list[tuple[str, str]], beside: list[tuple[str, str]]) -> None:
    """Against the verdict engine: a flow that others open to what the set closes is never passed over."""
    mine, others = policies("own", own), policies("beside", beside)
    if find_widenings(mine, others, "c", is_cilium=False):
        return
    options = Options(engine="Kubernetes")
    alone, together = (World({"c": held}, options=options) for held in (mine, (*mine, *others)))
    for pod in PODS:
        for port in (80, 443, 444, 8080):
            flow = Flow(PODS[0], pod, port)
            assert verdict(alone, flow).allowed or not verdict(together, flow).allowed
