"""What the agents of one simulated cluster hold and realize of its policies, as real ones would tell it.

Owns revisions, and which rules select which endpoint. Nothing is enforced: no packet of a sandbox passes here, and what
is told as realized is what Cilium would have realized. A policy that the rule model cannot say is held, not realized.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from atoll.kubeapi.resource import Object, ResourceType
from atoll.kubeapi.store import Store
from atoll.policies.manifest import CILIUM_POLICIES, Manifest, Origin, parse_file
from atoll.policies.reading import read_rules
from atoll.policies.rules import Direction, Icmp, Identity, Labelled, Ports, Rule, Traffic, Unsupported
from atoll.policies.validation.cilium_rules import rules_of
from atoll.sandbox.kinds.catalog import (
    CILIUM_CLUSTER_POLICY,
    CILIUM_POLICY,
    CLUSTER_NETWORK_POLICY,
    NETWORK_POLICY,
)
from atoll.sandbox.spec import ClusterSpec

KINDS = (NETWORK_POLICY, CILIUM_POLICY, CILIUM_CLUSTER_POLICY, CLUSTER_NETWORK_POLICY)
_PREFIX = "io.cilium.k8s.policy"  # pkg/k8s/apis/cilium.io/const.go
_MODES = {(True, True): "both", (True, False): "ingress", (False, True): "egress", (False, False): "none"}


@dataclass(frozen=True)
class Held:
    """One policy that an agent holds: its rules, and the labels by which they tell where they came from.

    `host_rules` are those for the node itself.
    """

    manifest: Manifest
    labels: tuple[Mapping[str, str], ...]
    rules: tuple[Rule, ...]
    host_rules: tuple[Rule, ...] = ()

    @property
    def texts(self) -> list[str]:
        """The labels as realized rules bear them."""
        return [f"{label['source']}:{label['key']}={label['value']}" for label in self.labels]


@dataclass(frozen=True)
class Realized:
    """What an agent has realized: its revision, and the policies as they were then."""

    revision: int = 1  # of an agent that has just started (pkg/policy/repository.go)
    policies: tuple[Held, ...] = ()

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """The policies as they were written."""
        return tuple(held.manifest for held in self.policies)


class PolicyEngine:
    """The policies of one cluster in the agents of its nodes."""

    def __init__(self, spec: ClusterSpec, store: Store) -> None:
        """Take policies out of `store`."""
        self._spec, self._store = spec, store
        self._seen: tuple[tuple[str, str], ...] = ()
        self.held = Realized()
        self._stuck: dict[str, Realized] = {}

    async def stick(self, nodes: Iterable[str]) -> None:
        """Have the endpoints of exactly these nodes stay at what they have realized by now."""
        await self.refresh()
        self._stuck = {node: self._stuck.get(node, self.held) for node in nodes}

    async def refresh(self) -> None:
        """Take in what has changed in the store since."""
        found = [(rt, obj) for rt in KINDS for obj in (await self._store.list(rt)).items]
        seen = tuple(sorted((obj["metadata"]["uid"], orjson.dumps(_content(obj)).decode()) for _, obj in found))
        if seen != self._seen:
            self._seen = seen
            policies = (self._held(rt, obj) for rt, obj in found)
            self.held = Realized(self.held.revision + 1, tuple(each for each in policies if each is not None))

    def realized(self, node: str) -> Realized:
        """Give what the endpoints of a node have realized."""
        return self._stuck.get(node, self.held)

    def _held(self, rt: ResourceType, obj: Object) -> Held | None:
        """Read one policy; None if Cilium would refuse it."""
        manifest, problems = read(rt, obj)
        if manifest is None or problems:
            return None
        hosts = _of_hosts(manifest)
        try:
            rules = read_rules([manifest], self._spec.name, default_local_cluster=True)
            host_rules = read_rules([hosts], self._spec.name, default_local_cluster=True) if hosts is not None else ()
        except Unsupported:
            rules = host_rules = ()
        return Held(manifest, tuple(_labels(rt, obj)), rules, host_rules if self._spec.has_host_firewall else ())


def _of_hosts(manifest: Manifest) -> Manifest | None:
    """Give what a policy says of nodes as if it were of endpoints, which the host is to its agent; None if nothing."""
    bodies = [body for _, body in rules_of(manifest.body)] if manifest.kind in CILIUM_POLICIES else []
    specs = [{**body, "endpointSelector": body["nodeSelector"]} for body in bodies if "nodeSelector" in body]
    for spec in specs:
        del spec["nodeSelector"]
    rest = {name: value for name, value in manifest.body.items() if name not in ("spec", "specs")}
    return replace(manifest, body={**rest, "specs": specs}) if specs else None


def read(rt: ResourceType, obj: Object) -> tuple[Manifest | None, tuple[str, ...]]:
    """Read an object of the store as its author wrote it; give what is wrong with it, if anything."""
    metadata = {name: obj["metadata"][name] for name in ("name", "namespace") if obj["metadata"].get(name)}
    body = {"apiVersion": rt.api_version, "kind": rt.kind, "metadata": metadata, **_content(obj)}
    if rt is NETWORK_POLICY:  # the API server has checked it
        return Manifest(rt.kind, metadata.get("namespace"), metadata["name"], body, Origin("store", 0)), ()
    parsed = parse_file(orjson.dumps(body).decode(), "store")
    return next(iter(parsed.manifests), None), tuple(f"{each.field}: {each.message}" for each in parsed.problems)


def _content(obj: Object) -> dict[str, Any]:
    return {name: obj[name] for name in ("spec", "specs") if name in obj}


def _labels(rt: ResourceType, obj: Object) -> Iterator[Mapping[str, str]]:
    """Give the labels of a policy's rules: those that it was given, and those that name the object."""
    metadata = obj["metadata"]
    for _, rule in rules_of(obj) if rt.kind in CILIUM_POLICIES else ():
        for label in rule.get("labels") or ():
            yield {"key": label["key"], "value": label.get("value", ""), "source": label.get("source", "")}
    named = {"derived-from": rt.kind, "name": metadata["name"], "namespace": metadata.get("namespace", "")}
    for key, value in {**named, "uid": metadata["uid"]}.items():
        if value:
            yield {"key": f"{_PREFIX}.{key}", "value": value, "source": "k8s"}


def endpoint_policy(realized: Realized, labels: Iterable[str], *, is_host: bool = False) -> dict[str, Any]:
    """Return the EndpointPolicy of an endpoint with these identity labels, as far as Atoll reads it."""
    identity = Identity(dict(_split(label) for label in labels))
    filters: dict[Direction, list[dict[str, Any]]] = defaultdict(list)
    closed: set[Direction] = set()
    for held in realized.policies:
        for rule in held.host_rules if is_host else held.rules:
            if rule.subject.matches(identity):
                closed.add(rule.direction)
                filters[rule.direction] += _filters(rule, held)
    policy: dict[str, Any] = {
        "policy-revision": realized.revision,
        "policy-enabled": _MODES[Direction.INGRESS in closed, Direction.EGRESS in closed],
    }
    if filters:
        policy["l4"] = {direction.value: found for direction, found in filters.items() if found}
    return policy


def _filters(rule: Rule, held: Held) -> Iterator[dict[str, Any]]:
    """Give the filters of one rule; one that selects nobody or no traffic only closes and leaves none."""
    if rule.peers == () or rule.traffic == ():
        return
    for traffic in rule.traffic or (None,):
        yield {"rule": orjson.dumps(_traffic(traffic)).decode(), "derived-from-rules": [held.texts]}


def _traffic(traffic: Traffic | None) -> dict[str, Any]:
    if traffic is None:
        return {"port": 0, "protocol": "ANY"}
    if isinstance(traffic, Icmp):
        return {"port": traffic.type or 0, "protocol": traffic.protocol}
    port = traffic.first if isinstance(traffic, Ports) else traffic.name
    return {"port": port, "protocol": "/".join(sorted(traffic.protocols))}


def repository(held: Realized) -> dict[str, Any]:
    """Return the Policy of `GET /policy`: of each rule its labels only, which is all that Atoll reads of it."""
    rules = [{"labels": [dict(label) for label in policy.labels]} for policy in held.policies]
    return {"revision": held.revision, "policy": orjson.dumps(rules).decode()}


def selectors(realized: Realized, identities: Mapping[int, Iterable[str]], version: str) -> list[dict[str, Any]]:
    """Return the SelectorCache of `GET /policy/selectors`: peers by labels, and the identities that they mean."""
    known = {number: Identity(dict(_split(label) for label in labels)) for number, labels in identities.items()}
    by_selector: dict[str, tuple[Labelled, list[Held]]] = {}
    for held in realized.policies:
        for peer in (peer for rule in held.rules for peer in rule.peers or () if isinstance(peer, Labelled)):
            by_selector.setdefault(_text(peer), (peer, []))[1].append(held)
    found = []
    for text, (peer, users) in sorted(by_selector.items(), key=lambda item: item[0]):
        lists = [[dict(label) for label in held.labels] for held in users]
        found.append(
            {
                "selector": text,
                # A list of lists since 1.20; before it the labels of one user (api/v1/openapi.yaml).
                "labels": lists if _is_at_least_1_20(version) else lists[0],
                "identities": [number for number, identity in sorted(known.items()) if peer.matches(identity)],
                "users": len(users),
            }
        )
    return found


def _is_at_least_1_20(version: str) -> bool:
    major, minor = (int(part) for part in version.split(".")[:2])
    return (major, minor) >= (1, 20)


def _text(peer: Labelled) -> str:
    return (
        "&LabelSelector{"
        + ",".join(sorted(f"{term.source}.{term.key} {term.operator} {sorted(term.values)}" for term in peer.terms))
        + "}"
    )


def _split(label: str) -> tuple[str, str]:
    key, _, value = label.partition("=")
    return key, value
