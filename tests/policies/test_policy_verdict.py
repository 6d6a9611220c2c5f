"""Verdicts agree with Cilium's own engine, and compiling changes none of them."""

import dataclasses
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from atoll.policies.compile import Target, compile_for
from atoll.policies.identity import PortName
from atoll.policies.manifest import CILIUM_NETWORK_POLICY, KINDS, NETWORK_POLICY, Manifest, Origin, parse_file
from atoll.policies.rules import Unsupported
from atoll.policies.verdict import Address, Endpoint, Entity, Flow, Options, Party, Verdict, World, verdict

# The one case of the corpus whose construct the engine says it does not model.
NOT_MODELLED = {"examples": {"toServices"}}


def cases(corpus: Path, name: str) -> Iterator[dict]:
    """Give the cases of one file of the corpus."""
    with gzip.open(corpus / "verdicts" / f"{name}.jsonl.gz", "rt") as lines:
        yield from map(json.loads, lines)


def manifest(body: dict, number: int = 0) -> Manifest:
    """Make a manifest of a raw object: the corpus holds traps that the parser refuses."""
    metadata = body["metadata"]
    is_namespaced = body["kind"] in (NETWORK_POLICY, CILIUM_NETWORK_POLICY)
    namespace = metadata.get("namespace", "default") if is_namespaced else None
    return Manifest(body["kind"], namespace, metadata["name"], body, Origin(f"{number}.yaml", 1))


def manifests(case: dict) -> list[Manifest]:
    """Give the policies and CIDR groups of a case."""
    bodies = [*case["policies"], *(case.get("cidrGroups") or [])]
    return [manifest(body, number) for number, body in enumerate(bodies)]


def options(case: dict) -> Options:
    """Give the settings of a case."""
    given = case.get("options") or {}
    return Options(
        default_local_cluster=case["policyDefaultLocalCluster"],
        enforcement=given.get("enablePolicy", "default"),
        allow_localhost=given.get("allowLocalhost", "always") != "policy",
        non_default_deny=given.get("enableNonDefaultDenyPolicies", True),
        dual_stack=given.get("enableIPv6", True),
    )


def endpoint(body: dict) -> Endpoint:
    """Read an endpoint of a case."""
    ports = tuple(PortName(p["name"], p["port"], p.get("protocol", "TCP")) for p in body.get("namedPorts") or [])
    return Endpoint(
        body["name"],
        body["cluster"],
        body.get("namespace", ""),
        body.get("labels") or {},
        body.get("serviceAccount") or "default",
        ports,
        body.get("reserved"),
    )


def flows(case: dict) -> Iterator[tuple[dict, Flow]]:
    """Give the flows of a case; equal parties are one object."""
    parties: dict[str, Party] = {body["name"]: endpoint(body) for body in case["endpoints"]}

    def party(written: str | dict) -> Party:
        key = written if isinstance(written, str) else json.dumps(written, sort_keys=True)
        if key not in parties and "entity" in written:
            parties[key] = Entity(written["entity"])
        elif key not in parties:
            parties[key] = Address(written["cidr"], bool(written.get("kubeApiserver")))
        return parties[key]

    for flow in case["flows"]:
        yield flow, Flow(party(flow["from"]), party(flow["to"]), flow["port"], flow["proto"])


def words(found: Verdict) -> tuple[str | None, str | None, str, str | None]:
    """Write a verdict as the corpus does: egress, ingress, total, l7."""
    sides = [None if side is None else "allow" if side.allowed else "deny" for side in (found.egress, found.ingress)]
    names = [name for name in ("egress", "ingress") if (side := getattr(found, name)) and side.is_l7]
    return sides[0], sides[1], "allow" if found.allowed else "deny", "both" if len(names) == 2 else (names or [None])[0]


@pytest.mark.parametrize(("name", "least"), [("handmade", 938), ("examples", 25_000), ("random", 257_473)])
def test_every_verdict_of_the_corpus_agrees_with_ciliums_engine(corpus: Path, name: str, least: int) -> None:
    checked, different, refused = 0, [], set()
    for case in cases(corpus, name):
        try:
            world = World(dict.fromkeys(case["policyClusters"], manifests(case)), case["namespaces"], options(case))
        except Unsupported as error:
            refused.add(error.field.rpartition(".")[2])
            continue
        for expected, flow in flows(case):
            checked += 1
            wanted = (expected["egress"], expected["ingress"], expected["total"], expected.get("l7"))
            if words(verdict(world, flow)) != wanted:
                different.append((case["id"], expected))
    assert different == []
    assert checked >= least
    assert refused == NOT_MODELLED.get(name, set())


# Where a compiled policy means something else on purpose: Cilium enforces sections that policyTypes does not name,
# Kubernetes does not, and the compiler takes Kubernetes' word.
REPAIRED = {"hm-034", "hm-035"}


@pytest.mark.parametrize(("name", "step"), [("handmade", 1), ("examples", 4), ("random", 10)])
def test_compiled_policies_give_the_verdicts_of_their_source_under_both_settings(
    corpus: Path, name: str, step: int
) -> None:
    compared = 0
    for case in list(cases(corpus, name))[::step]:
        source = list({item.key: item for item in manifests(case)}.values())
        if case.get("options") or case["id"] in REPAIRED:
            continue
        everyone = {body["cluster"]: {} for body in case["endpoints"]} | {key: {} for key in case["policyClusters"]}
        compiled = {}
        for cluster in case["policyClusters"]:
            peers = {other: labels for other, labels in everyone.items() if other != cluster}
            target = Target(cluster, {}, "cilium", "1.20.0", frozenset(KINDS), peers)
            compiled[cluster] = compile_for(source, target)
        if any(item.unenforceable for item in compiled.values()):
            continue
        try:
            meant = World(dict.fromkeys(case["policyClusters"], source), case["namespaces"], Options())
        except Unsupported:
            continue
        held = {cluster: item.manifests for cluster, item in compiled.items()}
        for setting in (True, False):
            world = World(held, case["namespaces"], Options(default_local_cluster=setting))
            for _, flow in flows(case):
                assert verdict(world, flow).allowed == verdict(meant, flow).allowed, (case["id"], setting, flow)
                compared += 1
    assert compared > 1_500


def read(text: str) -> tuple[Manifest, ...]:
    """Parse valid policies."""
    parsed = parse_file(text, "p.yaml")
    assert parsed.problems == ()
    return parsed.manifests


POLICIES = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api, namespace: prod}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
    - fromEndpoints: [{matchLabels: {app: web}}]
      toPorts: [{ports: [{port: http, protocol: TCP}]}]
    - fromCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}]
  ingressDeny:
    - fromEndpoints: [{matchLabels: {app: web, banned: "yes"}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: prod}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}
"""
API = Endpoint("api", "c1", "prod", {"app": "api"}, port_names=(PortName("http", 8080),))
WEB = Endpoint("web", "c1", "prod", {"app": "web"})
BANNED = Endpoint("banned", "c1", "prod", {"app": "web", "banned": "yes"})
REMOTE = Endpoint("remote", "c2", "prod", {"app": "web"})


@pytest.mark.parametrize(
    ("flow", "allowed", "because"),
    {
        "by named port": (Flow(WEB, API, 8080), True, "Rule"),
        "another port": (Flow(WEB, API, 80), False, "DefaultDeny"),
        "denied although allowed": (Flow(BANNED, API, 8080), False, "Rule"),
        "a namesake in another cluster": (Flow(REMOTE, API, 8080), False, "DefaultDeny"),
        "an address in the range": (Flow(Address("10.2.0.1"), API, 22), True, "Rule"),
        "an address in the exception": (Flow(Address("10.1.0.1"), API, 22), False, "DefaultDeny"),
        "the node's kubelet": (Flow(Entity("host"), API, 80), True, "LocalHost"),
        "a pod no policy selects": (Flow(Address("8.8.8.8"), WEB, 80), True, "NoPolicy"),
    }.values(),
)
def test_the_receiving_side_says_why(flow: Flow, allowed: bool, because: str) -> None:
    side = verdict(World({"c1": read(POLICIES)}), flow).ingress
    assert (side.allowed, side.because) == (allowed, because)


def test_a_verdict_names_the_rules_that_decided_on_both_sides() -> None:
    found = verdict(World({"c1": read(POLICIES)}), Flow(BANNED, API, 8080))
    assert [str(rule) for rule in found.egress.rules] == ["NetworkPolicy prod/web spec.egress[0]"]
    assert [str(rule) for rule in found.ingress.rules] == ["CiliumNetworkPolicy prod/api spec.ingressDeny[0]"]
    assert not found.allowed


def test_clusters_without_policies_restrict_nothing() -> None:
    found = verdict(World({"c1": read(POLICIES)}), Flow(WEB, dataclasses.replace(REMOTE, labels={"app": "api"}), 1))
    assert found.ingress is None
    assert not found.egress.allowed, "the source's cluster does not let it out"


def test_domain_rules_match_the_names_that_dns_gave() -> None:
    text = (
        "{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: p}, spec: {endpointSelector: {}, "
        "egress: [{toFQDNs: [{matchName: api.example.org}, {matchPattern: '*.data.org'}]}]}}"
    )
    world, pod = World({"c1": read(text)}), Endpoint("p", "c1")

    def reaches(*names: str) -> bool:
        return verdict(world, Flow(pod, Address("1.2.3.4", domain_names=names), 443)).allowed

    assert reaches("API.example.org.") and reaches("x.org", "a.data.org")
    assert (
        not reaches() and not reaches("b.api.example.org") and not reaches("a.b.data.org") and not reaches("data.org")
    )


@pytest.mark.parametrize(
    "item",
    [
        "egress: [{toServices: [{k8sService: {serviceName: a}}]}]",
        "egress: [{toGroups: [{aws: {region: x}}]}]",
        "ingress: [{fromEndpoints: [{matchLabels: {'cidr:10.0.0.0': ''}}]}]",
    ],
)
def test_what_is_not_modelled_is_refused_instead_of_guessed(item: str) -> None:
    text = (
        "{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: p}, "
        f"spec: {{endpointSelector: {{}}, {item}}}}}"
    )
    with pytest.raises(Unsupported, match=r"spec\.(in|e)gress\[0\]\.(to|from)\w+.*not modelled"):
        World({"c1": read(text)})
