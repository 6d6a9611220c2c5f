"""What the `policy` commands do: check a folder of policies, and show what each cluster holds of each set."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from atoll.cli import kinds, watching
from atoll.cli.ages import age
from atoll.cli.api import Api, Json
from atoll.cli.options import Output
from atoll.cli.output import hint, plural, print_objects, say
from atoll.cli.policy_details import print_details
from atoll.cli.policy_files import read_folder
from atoll.cli.tables import print_table
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import ClusterPolicyStatus, PolicySet
from atoll.federation.resources.policyset_proof import RUNGS, PolicyProof


def validate(path: Path) -> None:
    """Check every policy file under a path and say what is there.

    Raises:
        InvalidInput: something is wrong; `problems` has each with file, line, field and reason.
    """
    folder = read_folder(path)
    manifests, tests = folder.manifests, folder.scenarios
    if not manifests:
        raise InvalidInput(f"{path}: no policy found")
    verb = "is" if len(manifests) == 1 else "are"
    beside = f", and {plural(len(tests), 'policy test')} can be run" if tests else ""
    say(f"{plural(len(manifests), 'policy')} in {plural(folder.files, 'file')} {verb} valid{beside}")


def show_status(api: Api, name: str | None, output: Output, *, watch: bool = False) -> bool:
    """Print each cluster's state of one policy set or of all, if asked again at each change; tell whether all hold."""
    ref = kinds.atoll("PolicySet")
    path = ref.path(None, name) if name else ref.collection()
    return watching.show(lambda: api.get(path), partial(_print_status, name=name, output=output), output, watch=watch)


def _print_status(answer: Json, name: str | None, output: Output) -> bool:
    ref = kinds.atoll("PolicySet")
    sets = [PolicySet.model_validate(item) for item in answer.get("items", [answer])]
    if output in (Output.JSON, Output.YAML, Output.NAME):
        print_objects(answer, output, ref)
    elif sets:
        print_table(_WIDE if output is Output.WIDE else _COLUMNS, _rows(sets, is_wide=output is Output.WIDE))
    else:
        hint("no policy set found")
    for one in sets if output in (Output.TABLE, Output.WIDE) else []:
        if name is not None:
            print_details(one)
        for line in (*_uniformity(one), *_rollout(one), *_plan(one)):
            hint(line)
    problems = [problem for one in sets for problem in _source_problems(one)]
    for problem in problems:
        hint(problem)
    return not problems and all(cluster.phase == "Applied" for one in sets for cluster in one.status.clusters)


_COLUMNS = ("POLICYSET", "CLUSTER", "PHASE", "COMMIT", "RUNG", "NODES", "PROVEN", "MESSAGE")
_WIDE = (*_COLUMNS[:-2], *(rung.upper() for rung in RUNGS), "OBJECTS", "HEALED", "MESSAGE")


def _rows(sets: list[PolicySet], *, is_wide: bool) -> Iterator[tuple[object, ...]]:
    for one in sets:
        for held in one.status.clusters:
            proof = held.proof or PolicyProof()
            times = {rung: getattr(proof.proven_at, rung.lower()) for rung in RUNGS}
            nodes = f"{proof.realized_nodes}/{proof.nodes}" if proof.nodes else ""
            name, where = one.metadata.name, (held.cluster, held.phase, held.commit[:12])
            proven = times[proof.rung] if proof.rung is not None else held.last_proven_at
            ages = (*map(age, times.values()), held.objects, held.drift_healed) if is_wide else (age(proven),)
            yield name, *where, proof.rung or "", nodes, *ages, _message(held, proof)


def _message(held: ClusterPolicyStatus, proof: PolicyProof) -> str:
    widened = f"Widened by {', '.join(held.widened_by)}" if held.widened_by else ""
    return held.message or widened or proof.reason or _drift(held)


def _uniformity(one: PolicySet) -> Iterator[str]:
    """Tell whether the set is proven to be the same everywhere, which is what a policy for many clusters is for."""
    rungs = [held.proof.rung for held in one.status.clusters if held.proof is not None and held.proof.rung is not None]
    newest = one.status.commit[:12] or "which was not read yet"
    if one.status.uniform:
        lowest = min(rungs, key=RUNGS.index)
        yield f"policyset/{one.metadata.name}: uniform: every cluster is {lowest} at {newest}"
    elif one.status.clusters and {held.commit for held in one.status.clusters} == {one.status.commit}:
        yield f"policyset/{one.metadata.name}: not uniform: clusters differ in rung, or one has proven none"
    elif one.status.clusters:
        yield f"policyset/{one.metadata.name}: not uniform: not every cluster is at the newest commit, {newest}"


def _drift(held: ClusterPolicyStatus) -> str:
    """Tell the last change by hand so that nobody takes what was put back for an error of now."""
    if not held.last_drift:
        return ""
    return f"drift: {held.last_drift}" if held.phase == "Drifted" else f"drift put back: {held.last_drift}"


def _rollout(one: PolicySet) -> Iterator[str]:
    """Tell how far the newest commit is, unless it is everywhere."""
    name, rollout, pinned = one.metadata.name, one.status.rollout, one.spec.pinned_commit
    if pinned is not None:
        yield f"policyset/{name}: commit {pinned[:12]} is pinned; 'atoll policy resume {name}' follows Git again"
    if rollout is not None and rollout.phase != "Complete":
        reason = f" ({rollout.reason})" if rollout.reason is not None else ""
        # What was taken back is named in the message; the commit is the one that is in force again.
        which = "" if rollout.phase == "RolledBack" else f"commit {rollout.commit[:12]}: "
        yield f"policyset/{name}: {rollout.phase}{reason}: {which}{rollout.message}"


def _plan(one: PolicySet) -> Iterator[str]:
    """Tell in numbers what a commit that is under way does to what runs; whoever lets it on reads this first."""
    rollout, plan = one.status.rollout, one.status.plan
    if rollout is None or rollout.phase == "Complete" or plan is None or plan.commit != rollout.commit:
        return
    opens, closes = (sum(getattr(each, name) for each in plan.clusters) for name in ("opens", "closes"))
    name = one.metadata.name
    yield (
        f"policyset/{name}: commit {plan.commit[:12]} opens {plural(opens, 'pair')} and closes {closes}, counted in "
        f"each cluster: 'atoll policy status {name}' shows them"
    )


def _source_problems(one: PolicySet) -> list[str]:
    """Give why Git cannot be read, if so: what the clusters hold is then what was read before."""
    return [
        f"policyset/{one.metadata.name}: {condition.reason}: {condition.message}"
        for condition in one.status.conditions
        if condition.type == "SourceReady" and condition.status == "False"
    ]
