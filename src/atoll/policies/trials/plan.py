"""What a change of policies would do: objects per cluster, and connections whose verdict changes. Pure.

Connections are compared among workloads that policy tests state, and among those that run now, as far as they are told.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from atoll.federation.resources.labelsets import ClusterWorkloads
from atoll.policies.compile import Compiled, Memory, Target, compile_for
from atoll.policies.identity import Endpoint, Party
from atoll.policies.manifest import Manifest
from atoll.policies.trials.fleet import Fleet
from atoll.policies.trials.live import Changes, find_changes
from atoll.policies.trials.parties import namespaces_of
from atoll.policies.trials.reach import Reach, find_reaches

# Rows of connections that a person reads in a pull request.
MOST_SHOWN = 50


@dataclass(frozen=True)
class ClusterChange:
    """What changes in one cluster: names of objects, and what it cannot enforce of the new policies."""

    cluster: str
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unenforceable: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Say whether anything is different, or refused."""
        return bool(self.added or self.changed or self.removed or self.unenforceable)


@dataclass(frozen=True)
class FlowChange:
    """A pair whose open ports change."""

    before: Reach
    after: Reach

    @property
    def opens(self) -> bool:
        """Say whether something is open that was closed: what a reviewer looks at first."""
        return any(not any(span.is_within(old) for old in self.before.spans) for span in self.after.spans)


@dataclass(frozen=True)
class Plan:
    """All that a change does.

    Attributes:
        pairs: of stated workloads, that were compared.
        live: what changes among what runs; None if nobody has told what runs.
        untold: clusters of which it is not known what runs.
    """

    clusters: tuple[ClusterChange, ...]
    flows: tuple[FlowChange, ...]
    pairs: int
    live: Changes | None = None
    untold: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Say whether anything changes."""
        return bool(self.clusters or self.flows or (self.live is not None and self.live.blocks))


def make_plan(
    before: Iterable[Manifest],
    after: Iterable[Manifest],
    targets: Mapping[str, Target],
    parties: Mapping[str, Party],
    namespaces: Mapping[str, Mapping[str, str]],
    workloads: Mapping[str, ClusterWorkloads] | None = None,
) -> Plan:
    """Compare two states of a policy folder on clusters and workloads.

    Args:
        before: the policies that are in force.
        after: those that would be.
        targets: the clusters by their names in the mesh.
        parties: pods and others among which verdicts are compared; may be empty.
        namespaces: labels by namespace name; `cluster/name` stands before `name`.
        workloads: what runs now in clusters, by their names in the mesh; None if that is not asked for.

    Raises:
        Unsupported: a construct that the rule model cannot say.
    """
    old = tuple(before)
    new = _with_known(tuple(after), old)
    plan = plan_compiled({name: _compiled(target, old, new) for name, target in targets.items()}, targets, workloads)
    # A verdict is that of the two clusters in which a connection begins and ends; all others need not be read.
    homes = {party.cluster for party in parties.values() if isinstance(party, Endpoint)}
    concerned = {name: target for name, target in targets.items() if name in homes}
    reaches = [find_reaches(Fleet(policies, concerned, namespaces), parties) for policies in (old, new)]
    flows = (FlowChange(was, is_) for was, is_ in zip(*reaches, strict=True) if was.spans != is_.spans)
    ordered = sorted(flows, key=lambda flow: (not flow.opens, flow.after.source, flow.after.destination))
    return replace(plan, flows=tuple(ordered), pairs=len(reaches[0]))


def plan_compiled(
    compiled: Mapping[str, tuple[Compiled, Compiled]],
    targets: Mapping[str, Target],
    workloads: Mapping[str, ClusterWorkloads] | None,
    *,
    most_work: int | None = None,
) -> Plan:
    """Compare what clusters hold with what they would hold, and verdicts among what runs, but no stated workloads.

    Args:
        compiled: what each cluster holds, and what it would hold, by its name in the mesh.
        targets: as for `make_plan`.
        workloads: as for `make_plan`.
        most_work: as for `live.find_changes`.

    Raises:
        Unsupported: a construct that the rule model cannot say.
    """
    changes = (_compare(name, *both) for name, both in compiled.items())
    live = _live(compiled, targets, workloads, most_work) if workloads is not None else None
    untold = tuple(name for name in targets if workloads is not None and name not in workloads)
    return Plan(tuple(change for change in changes if change), (), 0, live, untold)


def _live(
    compiled: Mapping[str, tuple[Compiled, Compiled]],
    targets: Mapping[str, Target],
    workloads: Mapping[str, ClusterWorkloads],
    most_work: int | None,
) -> Changes:
    """Compare verdicts among what runs."""
    known = {name: workloads[name] for name in targets if name in workloads}
    homes = {name: targets[name] for name in known}
    before, after = (
        Fleet((), homes, namespaces_of(known), compiled={name: compiled[name][index] for name in homes})
        for index in (0, 1)
    )
    return find_changes(before, after, known, most_work=most_work)


def _with_known(after: tuple[Manifest, ...], before: tuple[Manifest, ...]) -> tuple[Manifest, ...]:
    """Put the very objects of before in the place of their equals, so that they are compiled once."""
    known = {(manifest.key, manifest.origin): manifest for manifest in before}
    twins = (known.get((manifest.key, manifest.origin)) for manifest in after)
    return tuple(t if t is not None and t.body == m.body else m for m, t in zip(after, twins, strict=True))


def _compiled(target: Target, old: tuple[Manifest, ...], new: tuple[Manifest, ...]) -> tuple[Compiled, Compiled]:
    memory: Memory = {}
    return compile_for(old, target, memory), compile_for(new, target, memory)


def _compare(name: str, before: Compiled, after: Compiled) -> ClusterChange:
    old, new = ({manifest.key: manifest for manifest in one.manifests} for one in (before, after))
    known = {str(item) for item in before.unenforceable}
    return ClusterChange(
        name,
        added=tuple(_name(key) for key in new if key not in old),
        changed=tuple(_name(key) for key in new if key in old and _differ(old[key], new[key])),
        removed=tuple(_name(key) for key in old if key not in new),
        unenforceable=tuple(str(item) for item in after.unenforceable if str(item) not in known),
    )


def _differ(one: Manifest, other: Manifest) -> bool:
    return one is not other and one.body != other.body


def _name(key: tuple[str, str, str]) -> str:
    kind, namespace, name = key
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
