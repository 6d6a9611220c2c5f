"""What can be said of policies without knowing any workload. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from atoll.policies.compile import Target, compile_for
from atoll.policies.covering import covers
from atoll.policies.identity import is_dropped
from atoll.policies.lint.finding import LintFinding, Places
from atoll.policies.manifest import CLUSTER_NETWORK_POLICY, KINDS, NETWORK_POLICY, Manifest
from atoll.policies.reading import read_rules
from atoll.policies.reading.context import CLUSTER, NAMESPACE
from atoll.policies.rules import Action, Labelled, Peer, Rule, Term, Tier
from atoll.policies.verdict import UNPOLICED_LABEL

_POSITIVE = ("In", "Exists")


def lint(manifests: Iterable[Manifest]) -> tuple[LintFinding, ...]:
    """Look at policies alone.

    Raises:
        Unsupported: a construct that the rule model cannot say.
    """
    policies = tuple(manifests)
    # No cluster is called so: a peer without clusters shows as one.
    rules = read_rules(policies, "", default_local_cluster=False)
    places = Places(policies)
    found = [finding for rule in rules for finding in _of_rule(rule, places)]
    found += [finding for manifest in policies for finding in _by_engine(manifest)]
    return tuple(sorted({*found, *_shadowed(rules, places), *_refused_by_cilium(policies)}))


def _of_rule(rule: Rule, places: Places) -> Iterator[LintFinding]:
    for selector, role in ((rule.subject, "it selects"), *((peer, "its peers") for peer in rule.peers or ())):
        if isinstance(selector, Labelled):
            yield from _of_selector(rule, selector, role, places)
    if rule.action is Action.ALLOW and any(map(_is_every_pod_of_the_mesh, rule.peers or ())):
        message = "allows every pod of every cluster in the mesh; name a namespace, labels, or a cluster group"
        yield places.finding(rule.source, "WideAcrossMesh", message)


def _of_selector(rule: Rule, selector: Labelled, role: str, places: Places) -> Iterator[LintFinding]:
    for term in selector.terms:
        if term.source in ("any", "k8s") and is_dropped(term.key):
            effect = "never matches" if term.operator in _POSITIVE else "always matches"
            message = f"{role} by label {term.key}, which Cilium keeps out of identities: the term {effect} there"
            yield places.finding(rule.source, "DroppedLabel", message)
        if role == "it selects" and term.key == UNPOLICED_LABEL and term.operator in _POSITIVE:
            message = f"{role} by label {term.key}: without host firewall Cilium holds nothing for pods that bear it"
            yield places.finding(rule.source, "UnpolicedLabel", message)
    if contradiction := _contradiction(selector.terms):
        message = f"{role} by label {contradiction}, whose terms exclude each other: this selects nothing"
        yield places.finding(rule.source, "SelectsNothing", message)


def _contradiction(terms: Sequence[Term]) -> str:
    """Name a key that cannot have a value that meets all its terms; empty if there is none."""
    by_key: dict[str, list[Term]] = defaultdict(list)
    for term in terms:
        by_key[term.key].append(term)
    for key, same in by_key.items():
        allowed = [term.values for term in same if term.operator == "In"]
        refused = frozenset().union(*(term.values for term in same if term.operator == "NotIn"))
        must_exist = bool(allowed) or any(term.operator == "Exists" for term in same)
        if must_exist and any(term.operator == "DoesNotExist" for term in same):
            return key
        if allowed and not frozenset.intersection(*allowed) - refused:
            return key
    return ""


def _is_every_pod_of_the_mesh(peer: Peer) -> bool:
    """Tell whether a peer asks for no more than that there is a cluster and a namespace."""
    if not isinstance(peer, Labelled) or not any(term.key == CLUSTER for term in peer.terms):
        return False
    return all(term.key in (CLUSTER, NAMESPACE) and term.operator == "Exists" for term in peer.terms)


def _shadowed(rules: Sequence[Rule], places: Places) -> Iterator[LintFinding]:
    """Find allows that a deny of the same tier takes back whole."""
    denies = [rule for rule in rules if rule.action is Action.DENY and rule.tier is Tier.NORMAL]
    for rule in rules:
        if rule.action is not Action.ALLOW or rule.tier is not Tier.NORMAL or rule.peers == () or rule.traffic == ():
            continue
        over = next((deny for deny in denies if covers(deny, rule)), None)
        if over is not None:
            where = places.finding(over.source, "", "")
            message = f"allows nothing: {over.source.kind} {over.source.name} denies it all ({where.path}:{where.line})"
            yield places.finding(rule.source, "ShadowedByDeny", message)


def _by_engine(manifest: Manifest) -> Iterator[LintFinding]:
    """Tell what Cilium and other engines take differently, by their own surprises (hm-034 and hm-174 of the corpus)."""
    spec = manifest.body.get("spec") or {}
    for section, side in (("ingress", "from"), ("egress", "to")):
        types = spec.get("policyTypes")
        if manifest.kind == NETWORK_POLICY and types and spec.get(section) and section.capitalize() not in types:
            message = f"policyTypes does not name {section.capitalize()}: Kubernetes ignores this, Cilium enforces it"
            yield _finding(manifest, f"spec.{section}", message)
        for index, rule in enumerate(spec.get(section) or () if manifest.kind == CLUSTER_NETWORK_POLICY else ()):
            if any("namespaces" in peer for peer in rule[side]):
                message = "peers by namespaces are of all clusters on Cilium and of one elsewhere; write pods instead"
                yield _finding(manifest, f"spec.{section}[{index}].{side}", message)


def _finding(manifest: Manifest, field: str, message: str) -> LintFinding:
    return LintFinding(manifest.origin.path, manifest.line_of(field), field, "EngineDependent", message)


def _refused_by_cilium(manifests: Sequence[Manifest]) -> Iterator[LintFinding]:
    """Tell what even the newest Cilium could not enforce as it is written, such as peers that only exclude."""
    newest = Target("any", cilium_version="1.20.0", kinds_served=frozenset(KINDS))
    everywhere = (_without_annotations(manifest) for manifest in manifests)
    for item in compile_for(everywhere, newest).unenforceable:
        field = item.rule.rpartition(" ")[2]
        yield LintFinding(item.origin.path, item.origin.line, field, "Unenforceable", item.reason)


def _without_annotations(manifest: Manifest) -> Manifest:
    """Give a manifest that is meant for every cluster."""
    metadata = {key: value for key, value in manifest.body["metadata"].items() if key != "annotations"}
    return replace(manifest, body={**manifest.body, "metadata": metadata})
