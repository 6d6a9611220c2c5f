"""What `policy plan` does: compare a folder of policies with a commit, on stated or on the hub's clusters."""

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Any

import orjson

from atoll.cli.api import Api
from atoll.cli.output import hint, plural, say, to_yaml
from atoll.cli.policy_commits import folder_at
from atoll.cli.policy_files import merged, modelled, names_of, read_folder
from atoll.cli.policy_live import Live, of_file, of_hub, print_live, wire
from atoll.cli.tables import print_table
from atoll.federation.errors import InvalidInput
from atoll.policies.bundle import GitSource, load_bundle
from atoll.policies.compile import Target, compile_for
from atoll.policies.manifest import Manifest
from atoll.policies.trials.fleet import targets_of
from atoll.policies.trials.markdown import to_markdown
from atoll.policies.trials.plan import FlowChange, Plan, make_plan
from atoll.policies.trials.scenario import Scenario


@dataclass(frozen=True)
class Among:
    """Whose clusters a plan is for: a set's as the hub knows them, as a file has them, or those of the policy tests."""

    api: Api | None = None
    policyset: str = ""
    saved: Path | None = None


def show_plan(path: Path, against: str | None, output: str, among: Among) -> bool:
    """Print what the folder would change; tell whether it changes anything.

    Args:
        path: the folder of policies as it should be.
        against: branch, tag or commit to compare with; None is the commit that the set has in force, else HEAD.
        output: table, markdown or json.
        among: whose clusters are meant.

    Raises:
        InvalidInput: a file cannot be read, or there is neither a set nor a policy test that states clusters.
        NotFound: the repository has no such commit or folder.
    """
    change = _read_change(path, against, among)
    stated = change.stated
    parties = {
        name: party
        for name, party in (stated.parties if stated is not None else {}).items()
        if getattr(party, "cluster", "") in ("", *change.targets)
    }
    namespaces = stated.namespaces if stated is not None else {}
    live = change.live.workloads if change.live is not None else None
    plan = modelled(lambda: make_plan(change.before, change.after, change.targets, parties, namespaces, live))
    _print(plan, output, has_workloads=stated is not None)
    return bool(plan)


def show_diff(path: Path, against: str | None, cluster: str | None, among: Among) -> bool:
    """Print, as a unified diff, what clusters would hold otherwise than now; tell whether anything differs.

    Args and errors are those of `show_plan`; `cluster` is the only one to look at, None is all of them.
    """
    change = _read_change(path, against, among)
    if cluster is not None and cluster not in change.targets:
        raise InvalidInput(f"--cluster: {cluster!r} is none of the clusters: {names_of(change.targets)}")
    is_different = False
    for name in [cluster] if cluster is not None else change.targets:
        held = [compile_for(policies, change.targets[name]).manifests for policies in (change.before, change.after)]
        old, new = ({_file_of(name, one): one for one in manifests} for manifests in held)
        for file in sorted(old.keys() | new.keys()):
            lines = list(unified_diff(_lines(old.get(file)), _lines(new.get(file)), f"a/{file}", f"b/{file}"))
            is_different = is_different or bool(lines)
            if lines:
                say("".join(lines).rstrip("\n"))
    return is_different


@dataclass(frozen=True)
class _Change:
    """A folder before and after, the clusters that it is for, and what runs there, if that is known."""

    before: tuple[Manifest, ...]
    after: tuple[Manifest, ...]
    targets: Mapping[str, Target]
    stated: Scenario | None
    live: Live | None = None


def _read_change(path: Path, against: str | None, among: Among) -> _Change:
    folder = read_folder(path)
    stated = merged(folder, path) if folder.scenarios else None
    live, targets = live_of(among), None
    if live is not None:
        targets = live.targets
    elif stated is not None:
        targets = targets_of(stated.clusters)
    else:
        raise InvalidInput(
            f"{path}: no policy test states clusters; write one, or name a set by --policyset, or a file by --workloads"
        )
    in_force = live.commit if live is not None and live.commit and among.saved is None else "HEAD"
    return _Change(_manifests_of(path, against or in_force), folder.manifests, targets, stated, live)


def live_of(among: Among) -> Live | None:
    """Ask what runs of the hub or of the file, whichever is meant; None if neither is."""
    if among.saved is not None:
        return of_file(among.saved)
    return of_hub(among.api, among.policyset) if among.api is not None else None


def _file_of(cluster: str, manifest: Manifest) -> str:
    return "/".join(part for part in (cluster, manifest.kind, manifest.namespace, manifest.name) if part)


def _lines(manifest: Manifest | None) -> list[str]:
    return to_yaml(manifest.body).splitlines(keepends=True) if manifest is not None else []


def _manifests_of(path: Path, revision: str) -> tuple[Manifest, ...]:
    """Read the folder as it is in a commit of the repository that it lies in."""
    found = folder_at(path, revision)
    source = GitSource(str(found.root), found.commit, found.folder.as_posix())
    with tempfile.TemporaryDirectory(prefix="atoll-plan-") as mirrors:
        bundle = asyncio.run(load_bundle(source, Path(mirrors)))
    if bundle.problems:
        wrong = plural(len(bundle.problems), "problem")
        hint(f"commit {bundle.commit[:12]} has {wrong}: the manifests with one count as absent")
    return bundle.manifests


def _print(plan: Plan, output: str, *, has_workloads: bool) -> None:
    if output == "json":
        say(orjson.dumps(_wire(plan), option=orjson.OPT_INDENT_2).decode())
        return
    if output == "markdown":
        say(to_markdown(plan).rstrip())
        return
    rows = [
        (change.cluster, word, name)
        for change in plan.clusters
        for word, names in _by_word(change.__dict__).items()
        for name in names
    ]
    if rows:
        print_table(("CLUSTER", "WHAT", "OBJECT"), rows)
    if plan.flows:
        say("")
        print_table(("FROM", "TO", "BEFORE", "AFTER"), (_flow(flow) for flow in plan.flows))
    print_live(plan)
    if not plan:
        say("nothing changes")
    if has_workloads and plan.pairs:
        hint(f"{plural(len(plan.flows), 'verdict')} of {plural(plan.pairs, 'pair')} of stated workloads would change")


def _by_word(change: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    words = {"added": "add", "changed": "change", "removed": "remove", "unenforceable": "CANNOT ENFORCE"}
    return {word: change[name] for name, word in words.items()}


def _flow(flow: FlowChange) -> tuple[str, ...]:
    return flow.after.source, flow.after.destination, flow.before.ports, flow.after.ports


def _wire(plan: Plan) -> dict[str, Any]:
    return {
        "clusters": [
            {name: list(value) if isinstance(value, tuple) else value for name, value in change.__dict__.items()}
            for change in plan.clusters
        ],
        "flows": [
            {
                "from": flow.after.source,
                "to": flow.after.destination,
                "before": [str(span) for span in flow.before.spans],
                "after": [str(span) for span in flow.after.spans],
                "opens": flow.opens,
            }
            for flow in plan.flows
        ],
        "pairs": plan.pairs,
        "live": wire(plan),
    }
