"""The parties that a picture shows: what runs in a cluster as far as policies can tell it apart, or stand-ins. Pure.

Where nobody tells what runs, each selector has a stand-in: it has the labels that the selector asks for and no others,
so that what is said of it holds for a pod that has just these. It must not judge.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from atoll.federation.resources.labelsets import ClusterWorkloads
from atoll.policies.identity import SERVICE_ACCOUNT, Address, Endpoint, Entity, Party
from atoll.policies.manifest import CILIUM_CIDR_GROUP, Manifest
from atoll.policies.reading import read_rules
from atoll.policies.reading.context import CLUSTER, NAMESPACE, NAMESPACE_LABELS
from atoll.policies.rules import Domain, Grouped, Labelled, Network, Peer, Range, Rule, Term, Unsupported
from atoll.policies.trials.parties import Group as RunningGroup
from atoll.policies.trials.parties import Mentioned, groups_of, namespaces_of

GroupKind = Literal["pods", "entity", "address", "name"]
# Two columns of more cannot be read, and to judge all pairs takes the square of it.
MOST_GROUPS = 36
_ENTITIES = frozenset(
    {"host", "remote-node", "kube-apiserver", "world", "unmanaged", "health", "init", "ingress"}
)  # what identity.Entity knows
# What a stand-in has where a selector only asks for a label to be there.
_SOME = "any"
_ELSEWHERE, _EVERY = "elsewhere", "any namespace"


@dataclass(frozen=True)
class Group:
    """One party: what it is called, in which cluster and namespace it is, who stands for it; `pods` run of it now."""

    name: str
    kind: GroupKind
    cluster: str
    namespace: str
    party: Party = field(compare=False)
    pods: int = 0


# TEST-NET-1 (RFC 5737): in no range that a policy means on purpose.
_WORLD = Group("the world outside", "address", "", "", Address("192.0.2.1"))


@dataclass(frozen=True)
class Groups:
    """The parties of one cluster's policies; `namespaces` has the labels that selectors ask of namespaces."""

    groups: tuple[Group, ...]
    namespaces: Mapping[str, Mapping[str, str]]
    hidden: int


def find_groups(manifests: Sequence[Manifest], cluster: str, *, is_cilium: bool, text: str = "") -> Groups:
    """Find the parties of the policies that a cluster holds; pods that no policy names are one of them.

    Args:
        manifests: what the cluster holds; a policy that the rule model cannot say is passed over.
        cluster: its name in the mesh.
        is_cilium: which engine reads them.
        text: of too many parties, those stay that have this in their names.
    """
    namespaces: dict[str, dict[str, str]] = {}
    found: dict[str, Group] = {}
    for rule in _rules(manifests, cluster, is_cilium=is_cilium):
        for peer in (rule.subject, *(rule.peers or ())):
            for group in _stand_ins(peer, cluster, namespaces):
                found.setdefault(group.name, group)
    for namespace in sorted({group.namespace for group in found.values() if group.cluster == cluster} - {_EVERY}):
        other = _name(namespaces.get(namespace, {}), namespace)
        found.setdefault(other, _pods(other, cluster, namespace, {}))
    always = (_pods("pods of other namespaces", cluster, _ELSEWHERE, {}), _WORLD)
    stated = [group for group in found.values() if group not in always]
    pods = sorted(stated, key=lambda group: (_order(group, cluster), group.namespace, group.name))
    room = MOST_GROUPS - len(always)
    kept = [*sorted(pods, key=lambda group: text not in group.name)[:room], *always]
    kept.sort(key=lambda group: (_order(group, cluster), group.namespace == _ELSEWHERE, group.namespace, group.name))
    return Groups(tuple(kept), namespaces, max(0, len(pods) - room))


def running_groups(
    running: ClusterWorkloads, rules: Iterable[Rule], stated: Groups, *, cluster: str, text: str = ""
) -> Groups:
    """Give the parties that run in a cluster now, as far as the rules can tell them apart, the largest if too many.

    Args:
        running: what its agent has told.
        rules: all that are judged by.
        stated: the stand-ins of its policies; those in other clusters stay, for nobody is asked what runs there.
        cluster: its name in the mesh.
        text: of too many parties, those stay first that have this in their names.
    """
    found: dict[str, Group] = {}
    for one in groups_of({cluster: running}, Mentioned.by(rules)):
        name = one.name.removesuffix(f"@{cluster}").replace(f"@{cluster} ", " ")
        number = sum(known.partition(" #")[0] == name for known in found)
        name = f"{name} #{number + 1}" if number else name
        found[name] = _as_group(name, one)
    far = [group for group in stated.groups if group.kind == "pods" and group.cluster != cluster]
    ranked = sorted(found.values(), key=lambda group: (group.kind == "pods", text not in group.name, -group.pods))
    kept = [*ranked, *far][:MOST_GROUPS]
    kept.sort(key=lambda group: (_order(group, cluster), group.namespace, group.name))
    namespaces = {**stated.namespaces, **namespaces_of({cluster: running})}
    return Groups(tuple(kept), namespaces, len(ranked) + len(far) - len(kept))


def _as_group(name: str, one: RunningGroup) -> Group:
    party = one.party
    if isinstance(party, Endpoint):
        return Group(name, "pods", party.cluster, party.namespace, party, one.pods)
    if isinstance(party, Entity):
        return Group(name, "entity", "", "", party)
    kind: GroupKind = "name" if party.domain_names else "address"
    return Group(_WORLD.name if name == "world" else name, kind, "", "", party)


def _rules(manifests: Sequence[Manifest], cluster: str, *, is_cilium: bool) -> Iterator[Rule]:
    ranges = tuple(manifest for manifest in manifests if manifest.kind == CILIUM_CIDR_GROUP)
    for manifest in manifests:
        if manifest.kind == CILIUM_CIDR_GROUP:
            continue
        try:
            yield from read_rules([manifest, *ranges], cluster, default_local_cluster=True, is_cilium=is_cilium)
        except Unsupported:
            continue


def _order(group: Group, cluster: str) -> tuple[int, str]:
    """Own pods, those of other clusters, nodes and the like, then what is outside."""
    kinds: tuple[GroupKind, ...] = ("pods", "entity", "name", "address")
    is_far = group.kind == "pods" and group.cluster != cluster
    return kinds.index(group.kind), group.cluster if is_far else ""


def _stand_ins(peer: Peer, cluster: str, namespaces: dict[str, dict[str, str]]) -> Iterator[Group]:
    match peer:
        case Range() | Grouped():
            yield from map(_network, peer.networks)
        case Domain():
            pattern = peer.pattern.lower()
            sample = pattern.replace("**", _SOME).replace("*", _SOME)
            yield Group(pattern, "name", "", "", Address("192.0.2.53", domain_names=(sample,)))
        case Labelled():
            group = _labelled(peer.terms, cluster, namespaces)
            yield from (group,) if group is not None else ()


def _network(network: Network) -> Group:
    """Take the first address of a network; of all there are, the one that stands for the world."""
    return _WORLD if network.prefixlen == 0 else Group(str(network), "address", "", "", Address(str(network[0])))


def _labelled(terms: Iterable[Term], cluster: str, namespaces: dict[str, dict[str, str]]) -> Group | None:
    """Make a stand-in that a selector selects; None where no single one can be made."""
    entity = next((term.key for term in terms if term.source == "reserved" and term.operator != "NotIn"), None)
    if entity is not None:
        if entity.startswith("world"):
            return _WORLD
        return Group(entity, "entity", "", "", Entity(entity)) if entity in _ENTITIES else None
    wanted = _values(terms)
    if wanted is None:
        return None
    where = wanted.pop(CLUSTER, cluster)
    account = wanted.pop(SERVICE_ACCOUNT, "default")
    asked = {
        key.removeprefix(NAMESPACE_LABELS): wanted.pop(key) for key in list(wanted) if key.startswith(NAMESPACE_LABELS)
    }
    namespace = wanted.pop(NAMESPACE, "") or asked.pop("kubernetes.io/metadata.name", "")
    if namespace == _SOME or (not namespace and not asked):
        namespace = _ELSEWHERE if not wanted and account == "default" else _EVERY
    elif not namespace:
        namespace = "-".join(f"{key}-{value}" for key, value in sorted(asked.items())).lower().replace("/", "-")
        namespaces[namespace] = asked
    if namespace == _ELSEWHERE:
        return None  # every pod there is: that is no party of its own
    name = _name(asked, namespace, wanted, account, far=where if where != cluster else "")
    return _pods(name, where, namespace, wanted, account)


def _values(terms: Iterable[Term]) -> dict[str, str] | None:
    """Choose a value for each label that terms ask for; None if they contradict each other."""
    allowed: dict[str, frozenset[str]] = {}
    present: set[str] = set()
    absent: dict[str, frozenset[str]] = {}
    for term in terms:
        if term.operator == "In":
            allowed[term.key] = allowed.get(term.key, term.values) & term.values
        elif term.operator == "Exists":
            present.add(term.key)
        elif term.operator == "NotIn":
            absent[term.key] = absent.get(term.key, frozenset()) | term.values
    chosen: dict[str, str] = {}
    for key in sorted({*allowed, *present}):
        values = sorted(allowed.get(key, frozenset({_SOME})) - absent.get(key, frozenset()))
        if not values:
            return None
        chosen[key] = values[0]
    return chosen


def _name(
    asked: Mapping[str, str], namespace: str, labels: Mapping[str, str] = {}, account: str = "default", *, far: str = ""
) -> str:
    place = ", ".join(f"{key}={value}" for key, value in sorted(asked.items())) or namespace
    parts = [f"{key}={value}" for key, value in sorted(labels.items())]
    parts += [f"as {account}"] if account != "default" else []
    return f"{place}: {', '.join(parts) or 'other pods'}{f' @{far}' if far else ''}"


def _pods(name: str, cluster: str, namespace: str, labels: Mapping[str, str], account: str = "default") -> Group:
    party = Endpoint(name, cluster, namespace, dict(labels), service_account=account)
    return Group(name, "pods", cluster, namespace, party)
