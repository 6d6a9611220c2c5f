"""What policies cost where they run: identities of a cluster, and entries of an endpoint's policy map. Pure estimates.

Cilium makes one identity of each distinct set of labels, every agent knows those of all clusters of the mesh, and a
policy map has one entry for each identity and range of ports.
"""

from collections.abc import Iterable, Iterator, Mapping

from atoll.federation.resources.labelsets import ClusterWorkloads
from atoll.policies.identity import Endpoint, identity_of
from atoll.policies.lint.finding import LintFinding, Places
from atoll.policies.lint.fleet import POLICY_MAP_ENTRIES, is_peer, map_entries
from atoll.policies.manifest import Manifest
from atoll.policies.rules import Direction, Identity, Rule
from atoll.policies.trials.fleet import Fleet
from atoll.policies.trials.parties import Group, Mentioned, groups_of, namespaces_of

# Cluster-local identities that one cluster can have; with 511 clusters in a mesh it is half of that.
MOST_IDENTITIES = 65_535
# From so many values on a label that tells most sets apart is a label of single objects, not of workloads.
_VALUES_OF_ONE = 1_000


def lint_live(
    manifests: Iterable[Manifest], fleet: Fleet, workloads: Mapping[str, ClusterWorkloads]
) -> tuple[LintFinding, ...]:
    """Estimate what policies cost among what runs.

    Args:
        manifests: the policies as written.
        fleet: the clusters with what they hold of them; it knows the labels of the namespaces.
        workloads: what runs, by the clusters' names in the mesh.
    """
    found = [finding for name, running in workloads.items() for finding in _identities(name, running)]
    return tuple(sorted({*found, *_full_maps(Places(manifests), fleet, workloads)}))


def _identities(cluster: str, running: ClusterWorkloads) -> Iterator[LintFinding]:
    """Find a cluster that comes near its most identities, and a label that makes one for each object."""
    count, where = len(running.sets) + running.omitted_sets, f"cluster/{cluster}"
    if count > MOST_IDENTITIES // 2:
        message = f"has {count} identities of at most {MOST_IDENTITIES}: keep labels out by Cilium's option `labels`"
        yield LintFinding(where, 0, "identities", "IdentityExplosion", message)
    values: dict[str, set[str]] = {}
    for one in running.sets:
        for key, value in one.labels.items():
            values.setdefault(key, set()).add(value)
    for key, different in values.items():
        if len(different) >= max(_VALUES_OF_ONE, len(running.sets) // 2):
            message = (
                f"has {len(different)} values among {count} identities, one for nearly each object: "
                "take it off, or keep it out by Cilium's option `labels`"
            )
            yield LintFinding(where, 0, f"label {key}", "IdentityExplosion", message)


def _full_maps(places: Places, fleet: Fleet, workloads: Mapping[str, ClusterWorkloads]) -> Iterator[LintFinding]:
    """Find endpoints whose rules take more entries than a policy map has; told of the rule that takes most."""
    namespaces, groups = namespaces_of(workloads), groups_of(workloads, Mentioned.by(fleet.rules()))
    pods = [(identity_of(group.party, namespaces), len(group.sets)) for group in groups if group.sets]
    sizes: dict[int, int] = {}
    for group in groups:
        rules = _rules_of(group, fleet)
        for rule in rules:
            if id(rule) not in sizes:
                sizes[id(rule)] = map_entries(rule, _peers(rule, pods))
        total = sum(sizes[id(rule)] for rule in rules)
        if total > POLICY_MAP_ENTRIES:
            largest = max(rules, key=lambda rule: sizes[id(rule)])
            message = (
                f"takes {sizes[id(largest)]} of some {total} entries in the policy map of {group.name}, "
                f"which holds {POLICY_MAP_ENTRIES}; narrow it"
            )
            yield places.finding(largest.source, "PolicyMapSize", message)


def _rules_of(group: Group, fleet: Fleet) -> list[Rule]:
    """Give the rules of both directions that an endpoint has in a policy map; only Cilium has one."""
    if not isinstance(group.party, Endpoint) or fleet.options_of(group.party).engine != "Cilium":
        return []
    stances = (fleet.stance(group.party, side) for side in Direction)
    return [rule for stance in stances if stance is not None for rule in stance.rules]


def _peers(rule: Rule, pods: Iterable[tuple[Identity, int]]) -> int:
    return sum(sets for identity, sets in pods if is_peer(rule, identity))
