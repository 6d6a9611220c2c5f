"""What `policy status NAME` prints below the table: the plan of the newest commit, what traffic shows, and drift."""

from collections.abc import Iterator

from atoll.cli.ages import age
from atoll.cli.output import say
from atoll.cli.tables import print_table
from atoll.federation.resources import ClusterPolicyStatus, PolicySet
from atoll.federation.resources.policyset_plan import PolicyPlan
from atoll.federation.resources.policyset_proof import PolicyProof


def print_details(one: PolicySet) -> None:
    """Print all that the table of one set has no room for; sections with nothing in them are left out."""
    if one.status.plan is not None:
        _print_plan(one.status.plan)
    proven = [held for held in one.status.clusters if held.proof is not None and held.proof.rung is not None]
    if proven:
        say("\nTraffic")
        print_table(("CLUSTER", "OBSERVED", "NEWEST", "DROPS/S", "BEFORE", "MESSAGE"), map(_traffic, proven))
    drifts = [row for held in one.status.clusters for row in _drifts(held)]
    if drifts:
        say("\nChanged by hand")
        print_table(("CLUSTER", "WHEN", "DONE", "BY", "OBJECT", "WHAT"), drifts)


def _print_plan(plan: PolicyPlan) -> None:
    against = f"against {plan.against[:12]}" if plan.against else "against no policies"
    say(f"\nCommit {plan.commit[:12]} {against}, among what ran {age(plan.made_at)} ago")
    if plan.message:
        say(plan.message)
    if not plan.clusters:
        say("nothing changes")
        return
    headers = ("CLUSTER", "ADDED", "CHANGED", "REMOVED", "OPENS", "CLOSES", "LABEL SETS")
    print_table(
        headers, ((*each.model_dump(exclude={"label_sets"}).values(), each.label_sets) for each in plan.clusters)
    )
    if plan.flows:
        say("")
        rows = ((_sign(f.opens), f.before, f.after, f.pods, f"{f.source} -> {f.destination}") for f in plan.flows)
        print_table(("WHAT", "BEFORE", "AFTER", "PODS", "CONNECTIONS"), rows)
    if plan.omitted_flows:
        say(f"and {plan.omitted_flows} more sorts of connections: 'atoll policy plan' shows them")


def _sign(opens: bool) -> str:
    return "opens" if opens else "closes"


def _traffic(held: ClusterPolicyStatus) -> tuple[object, ...]:
    """Give what Hubble and the counters of a cluster show; a dash is not measured."""
    proof, traffic = held.proof or PolicyProof(), held.traffic
    rates = (traffic.drops_per_second, traffic.drops_per_second_before) if traffic is not None else (None, None)
    seen = f"{proof.observed_objects}/{held.objects}"
    why = f"Hubble is not reachable: {proof.hubble}" if proof.hubble else ""
    return held.cluster, seen, age(proof.last_observed_at), *map(_rate, rates), why


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:g}"


def _drifts(held: ClusterPolicyStatus) -> Iterator[tuple[object, ...]]:
    for drift in held.drifts:
        what = ", ".join(drift.paths) or "deleted"
        done = "put back" if drift.healed else "left"
        yield held.cluster, age(drift.at), done, ", ".join(drift.managers) or "unknown", drift.object, what
