"""What `mesh check` and `mesh plan` print: broken rules with what to do, and values for a cluster that is to join."""

from datetime import UTC, datetime

import orjson

from atoll.cli.api import Api
from atoll.cli.meshing import print_record, read_members
from atoll.cli.options import Output
from atoll.cli.output import hint, plural, say, to_yaml
from atoll.cli.tables import print_table
from atoll.federation.mesh import JoinPlan, Member, Wish, helm_values, plan_join, violations


def show_check(api: Api, output: Output) -> bool:
    """Print every broken rule; tell whether there is none."""
    members = read_members(api)
    broken = violations(members, now=datetime.now(UTC))
    unknown = list(_unchecked(members))
    if output in (Output.JSON, Output.YAML):
        found = [
            {"reason": each.reason, "clusters": list(each.clusters), "message": each.message, "remedy": each.remedy}
            for each in broken
        ]
        print_record({"clusters": [m.cluster for m in members], "violations": found, "notChecked": unknown}, output)
        return not broken
    if broken:
        rows = ((each.reason, each.clusters, f"{each.message}. To do: {each.remedy}") for each in broken)
        print_table(("RULE", "CLUSTERS", "MESSAGE"), rows)
    elif members:
        say(f"no rule of the mesh is broken in {plural(len(members), 'cluster')}")
    else:
        hint("no cluster is in a mesh: declare one with spec.mesh.id, or see 'atoll mesh plan NAME'")
    for problem in unknown:
        hint(f"not checked: {problem}")
    return not broken


def show_plan(api: Api, name: str, cidr_size: int, *, as_json: bool) -> None:
    """Print the Helm values of a cluster that is to join; what else there is to know goes to stderr.

    Raises:
        InvalidInput, Conflict: the name cannot be or is taken, or nothing is free.
    """
    plan = plan_join(read_members(api), name, Wish(prefix=cidr_size))
    values = helm_values(plan)
    say(orjson.dumps(values, option=orjson.OPT_INDENT_2).decode() if as_json else to_yaml(values).rstrip())
    for line in _advice(plan):
        hint(line)


def _advice(plan: JoinPlan) -> list[str]:
    found = [f"caution: {caution}" for caution in plan.cautions]
    if plan.peers:
        first = plan.peers[0]
        found.append(
            f"install Cilium with these values and the others' cilium-ca, then connect it to each of "
            f"{plural(len(plan.peers), 'cluster')}:"
        )
        found.append(f"  cilium clustermesh connect --context {plan.name} --destination-context {first}")
    found.append(f"declare it with spec.mesh: {{name: {plan.name}, id: {plan.id}}}")
    return found


def _unchecked(members: tuple[Member, ...]) -> list[str]:
    """Say of whom too little is known, and what."""
    found = []
    for member in members:
        facts = member.facts
        if not facts.name:
            found.append(f"{member.cluster}: {facts.message or 'its agent told nothing of its Cilium'}")
            continue
        missing = [
            what
            for what, is_known in (
                ("its pods' networks", facts.pod_cidrs),
                ("its nodes' addresses", facts.node_cidrs),
                ("its CA", facts.ca_fingerprints),
                ("its configured peers", facts.expected_peers is not None),
            )
            if not is_known
        ]
        if facts.omitted_cidrs:
            missing.append(f"{facts.omitted_cidrs} of its networks")
        if missing:
            why = f" ({'; '.join(facts.problems)})" if facts.problems else ""
            found.append(f"{member.cluster}: {', '.join(missing)}{why}")
    return found
