"""What a change of policies would do: objects per cluster, and connections whose verdict changes. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from atoll.policies.compile import Compiled, Memory, Target, compile_for
from atoll.policies.identity import Endpoint, Party
from atoll.policies.manifest import Manifest
from atoll.policies.trials.fleet import Fleet
from atoll.policies.trials.reach import Reach, Span, find_reaches


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
        return any(not any(_is_within(span, old) for old in self.before.spans) for span in self.after.spans)


@dataclass(frozen=True)
class Plan:
    """All that a change does. `pairs` counts the pairs that were compared."""

    clusters: tuple[ClusterChange, ...]
    flows: tuple[FlowChange, ...]
    pairs: int


def make_plan(
    before: Iterable[Manifest],
    after: Iterable[Manifest],
    targets: Mapping[str, Target],
    parties: Mapping[str, Party],
    namespaces: Mapping[str, Mapping[str, str]],
) -> Plan:
    """Compare two states of a policy folder on clusters and workloads.

    Args:
        before: the policies that are in force.
        after: those that would be.
        targets: the clusters by their names in the mesh.
        parties: pods and others among which verdicts are compared; may be empty.
        namespaces: labels by namespace name; `cluster/name` stands before `name`.

    Raises:
        Unsupported: a construct that the rule model cannot say.
    """
    old = tuple(before)
    new = _with_known(tuple(after), old)
    changes = (_change(name, target, old, new) for name, target in targets.items())
    # A verdict is that of the two clusters in which a connection begins and ends; all others need not be read.
    homes = {party.cluster for party in parties.values() if isinstance(party, Endpoint)}
    concerned = {name: target for name, target in targets.items() if name in homes}
    reaches = [find_reaches(Fleet(policies, concerned, namespaces), parties) for policies in (old, new)]
    flows = (FlowChange(was, is_) for was, is_ in zip(*reaches, strict=True) if was.spans != is_.spans)
    ordered = sorted(flows, key=lambda flow: (not flow.opens, flow.after.source, flow.after.destination))
    return Plan(tuple(change for change in changes if change), tuple(ordered), len(reaches[0]))


def to_markdown(plan: Plan) -> str:
    """Write a plan for the text of a pull request."""
    lines = ["### Policy plan", ""]
    if plan.clusters:
        lines += ["| cluster | added | changed | removed |", "|---|---|---|---|"]
        lines += [
            f"| {c.cluster} | {_list(c.added)} | {_list(c.changed)} | {_list(c.removed)} |" for c in plan.clusters
        ]
    else:
        lines += ["No object changes in any cluster."]
    lines += [""] + [f"- **{c.cluster} cannot enforce** {item}" for c in plan.clusters for item in c.unenforceable]
    if plan.flows:
        lines += ["", "| | from | to | before | after |", "|---|---|---|---|---|"]
        for flow in plan.flows:
            sign = "opens" if flow.opens else "closes"
            row = (sign, flow.after.source, flow.after.destination, flow.before.ports, flow.after.ports)
            lines.append(f"| {' | '.join(row)} |")
    else:
        lines += ["", f"No verdict changes among {plan.pairs} pairs of workloads."]
    return "\n".join(lines) + "\n"


def _with_known(after: tuple[Manifest, ...], before: tuple[Manifest, ...]) -> tuple[Manifest, ...]:
    """Put the very objects of before in the place of their equals, so that they are compiled once."""
    known = {(manifest.key, manifest.origin): manifest for manifest in before}
    twins = (known.get((manifest.key, manifest.origin)) for manifest in after)
    return tuple(t if t is not None and t.body == m.body else m for m, t in zip(after, twins, strict=True))


def _change(name: str, target: Target, old: tuple[Manifest, ...], new: tuple[Manifest, ...]) -> ClusterChange:
    memory: Memory = {}
    return _compare(name, compile_for(old, target, memory), compile_for(new, target, memory))


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


def _list(names: tuple[str, ...]) -> str:
    return "<br>".join(names) or "-"


def _is_within(span: Span, other: Span) -> bool:
    return span.protocol == other.protocol and other.first <= span.first <= span.last <= other.last
