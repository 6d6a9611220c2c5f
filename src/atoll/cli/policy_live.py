"""What runs now, for `policy plan`: asked of the hub, or read out of a file that `policy workloads` has saved."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import Field, ValidationError

from atoll.cli import kinds
from atoll.cli.api import Api
from atoll.cli.output import hint, plural, say
from atoll.cli.tables import print_table
from atoll.federation.errors import InvalidInput
from atoll.federation.errors import NotFound as NothingThere
from atoll.federation.resources import Cluster, PolicySet
from atoll.federation.resources.base import Model
from atoll.federation.resources.labelsets import ClusterWorkloads
from atoll.federation.resources.validation import problems
from atoll.policies.compile import Target
from atoll.policies.targets import target_of
from atoll.policies.trials.live import Block, Changes
from atoll.policies.trials.plan import MOST_SHOWN, Plan
from atoll.policies.trials.wording import side, words

_INDENTED = orjson.OPT_INDENT_2


class SavedWorkloads(Model):
    """The clusters of a policy set, as far as policies depend on them, and what runs there."""

    api_version: Literal["atoll.dev/v1alpha1"] = "atoll.dev/v1alpha1"
    kind: Literal["SavedWorkloads"] = "SavedWorkloads"
    policyset: str = Field(default="", description="The set whose clusters they are.")
    commit: str = Field(default="", description="The commit that it had in force.")
    taken_at: datetime
    clusters: tuple[Cluster, ...] = ()
    workloads: dict[str, ClusterWorkloads] = Field(default_factory=dict)


@dataclass(frozen=True)
class Live:
    """Clusters as the compiler sees them, what runs in those that have told it, and the commit in force."""

    targets: Mapping[str, Target]
    workloads: Mapping[str, ClusterWorkloads]
    commit: str


def save(api: Api, policyset: str) -> None:
    """Print what `read` takes: all that a plan needs of the hub.

    Raises:
        NotFound: there is no such set.
    """
    saved = _ask(api, policyset)
    content = saved.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    say(orjson.dumps({"apiVersion": saved.api_version, "kind": saved.kind, **content}, option=_INDENTED).decode())
    sets = sum(len(one.sets) for one in saved.workloads.values())
    hint(f"{plural(sets, 'label set')} of {plural(len(saved.workloads), 'cluster')}; 'policy plan --workloads FILE'")


def of_hub(api: Api, policyset: str) -> Live:
    """Ask the hub for a set's clusters and what runs there. Raises NotFound."""
    return _live(_ask(api, policyset))


def of_file(path: Path) -> Live:
    """Read what was saved.

    Raises:
        InvalidInput: it is no such file.
    """
    try:
        saved = SavedWorkloads.model_validate_json(path.read_bytes())
    except ValidationError as error:
        wrong = problems(error, SavedWorkloads)
        raise InvalidInput(f"--workloads {path}: is not what 'policy workloads' prints", wrong) from None
    except OSError as error:
        raise InvalidInput(f"--workloads {path}: {error.strerror}") from error
    return _live(saved)


def _live(saved: SavedWorkloads) -> Live:
    targets = {one.metadata.name: target_of(one, saved.clusters) for one in saved.clusters}
    chosen = {one.metadata.name for one in saved.clusters if one.metadata.name in saved.workloads}
    told = {targets[name].cluster: saved.workloads[name] for name in chosen if saved.workloads[name].seen_at}
    meant = {targets[name].cluster: targets[name] for name in sorted(chosen)}
    return Live(meant, told, saved.commit)


def _ask(api: Api, policyset: str) -> SavedWorkloads:
    wanted = PolicySet.model_validate(api.get(kinds.atoll("PolicySet").path(None, policyset)))
    ref = kinds.atoll("Cluster")
    listed = [Cluster.model_validate(item) for item in api.get(ref.collection()).get("items", [])]
    chosen = [
        one.metadata.name
        for one in listed
        if wanted.spec.targets.clusters.matches(one.metadata.labels) and one.status.inventory is not None
    ]
    found = {name: _workloads(api, f"{ref.path(None, name)}/workloads") for name in chosen}
    return SavedWorkloads(
        policyset=policyset,
        commit=wanted.status.commit,
        taken_at=datetime.now(UTC),
        clusters=tuple(_bare(one) for one in listed),
        workloads=found,
    )


def _workloads(api: Api, path: str) -> ClusterWorkloads:
    """Ask what runs in a cluster; a hub older than this has no such answer, which is as if nobody had told it."""
    try:
        return ClusterWorkloads.model_validate(api.get(path))
    except NothingThere:
        return ClusterWorkloads()


def _bare(cluster: Cluster) -> Cluster:
    """Keep of a cluster what policies depend on: a file in a repository should hold no more of the inside of it."""
    inventory, mesh = cluster.status.inventory, cluster.status.mesh
    status: dict[str, Any] = {}
    if inventory is not None:
        status["inventory"] = inventory.model_dump(include={"cni", "cni_version", "policy_kinds"}, exclude_none=True)
    if mesh is not None:
        status["mesh"] = mesh.model_dump(include={"default_local_cluster", "policy_features"}, exclude_none=True)
    return Cluster.model_validate(
        {
            "metadata": {"name": cluster.metadata.name, "labels": dict(cluster.metadata.labels)},
            "spec": cluster.spec.model_dump(include={"mesh"}, exclude_none=True),
            "status": status,
        }
    )


def print_live(plan: Plan) -> None:
    """Print what changes among what runs: cluster by cluster in numbers, then the connections."""
    live = plan.live
    if live is None:
        return
    if live.blocks:
        say("")
        print_table(("CLUSTER", "OPENS", "CLOSES"), _by_cluster(live))
        say("")
        print_table(("WHAT", "BEFORE", "AFTER", "PODS", "CONNECTIONS"), map(_row, live.blocks[:MOST_SHOWN]))
    more = len(live.blocks) - MOST_SHOWN
    if more > 0:
        hint(f"and {more} more sorts of connections; -o json has all of them")
    changed = sum(block.pairs for block in live.blocks)
    hint(f"{changed} of {plural(live.pairs, 'pair')} would change among {plural(live.sets, 'label set')} that run now")
    if plan.untold:
        hint(f"not known is what runs in {', '.join(plan.untold)}: their agents have told nothing")


def _by_cluster(live: Changes) -> Iterator[tuple[object, ...]]:
    """Count pairs that begin or end in each cluster."""
    for cluster in sorted({group.cluster for block in live.blocks for group in _groups(block)} - {""}):
        mine = [block for block in live.blocks if block.concerns(cluster)]
        opens = sum(block.pairs for block in mine if block.opens)
        yield cluster, opens, sum(block.pairs for block in mine) - opens


def _groups(block: Block) -> Iterator[Any]:
    yield from (*block.sources, *block.destinations)


def _row(block: Block) -> tuple[object, ...]:
    who = f"{side(block.sources)} -> {side(block.destinations)}"
    return "opens" if block.opens else "closes", words(block.before), words(block.after), block.pods, who


def wire(plan: Plan) -> dict[str, Any] | None:
    """Give what changes among what runs as JSON has it."""
    live = plan.live
    if live is None:
        return None
    return {
        "labelSets": live.sets,
        "parties": live.parties,
        "pairs": live.pairs,
        "untold": list(plan.untold),
        "flows": [_wire(block) for block in live.blocks],
    }


def _wire(block: Block) -> dict[str, Any]:
    return {
        "from": [group.name for group in block.sources],
        "to": [group.name for group in block.destinations],
        "before": [str(span) for span in block.before],
        "after": [str(span) for span in block.after],
        "opens": block.opens,
        "pairs": block.pairs,
        "pods": block.pods,
    }
