"""The policies: every cluster holds what the Git commit says, and the change by hand is gone and named."""

from atoll.cli import kinds
from atoll.cli.output import plural
from atoll.federation.resources import ClusterPolicyStatus, PolicySet
from atoll.sandbox.demo.drift import EDITOR, policy_paths
from atoll.sandbox.demo.evidence.section import Check, Section
from atoll.sandbox.demo.objects import POLICY_SET
from atoll.sandbox.demo.world import Outcome, World


def examine(world: World, outcome: Outcome) -> Section:
    """Read the policy set from the hub, and the policies from every cluster."""
    found = PolicySet.model_validate(world.hub.get(kinds.atoll("PolicySet").path(None, POLICY_SET)))
    held = {status.cluster: status for status in found.status.clusters}
    present = {access.name: _present(world, access.name) for access in world.state.clusters}
    wanted = len(policy_paths())
    edited = held.get(outcome.policies.cluster)
    look = f"atoll policy status {POLICY_SET}; logs in {world.logs}"
    spent = _duration(outcome.policies.healed_after_seconds)
    read = f"{plural(found.status.manifests, 'policy')} of commit {found.status.commit[:12]}"
    healed = f"a change by hand in {outcome.policies.cluster} put back after {spent}"
    return Section(
        "Policies",
        f"{read} in {len(held)} clusters; {healed}",
        ("CLUSTER", "PHASE", "COMMIT", "OBJECTS", "HEALED"),
        tuple(_row(status) for status in found.status.clusters),
        (
            Check("the hub read the commit that was made", found.status.commit == world.repository.commit, look),
            Check("all four clusters hold it", _all_hold(found, world), look),
            Check("each cluster's own API has the policies", set(present.values()) == {wanted}, look),
            Check("the change by hand was put back", edited is not None and edited.drift_healed >= 1, look),
            Check("the drift is named", edited is not None and EDITOR in edited.last_drift, look),
        ),
        tuple(f"drift in {status.cluster}: {status.last_drift}" for status in held.values() if status.last_drift),
    )


def _all_hold(found: PolicySet, world: World) -> bool:
    holding = [s for s in found.status.clusters if s.phase == "Applied" and s.commit == world.repository.commit]
    return len(holding) == len(world.state.clusters)


def _present(world: World, cluster: str) -> int:
    with world.cluster_api(cluster) as api:
        return sum(1 for path in policy_paths() if api.find(path) is not None)


def _row(status: ClusterPolicyStatus) -> tuple[str, ...]:
    objects, healed = str(status.objects), str(status.drift_healed)
    return (status.cluster, status.phase, status.commit[:12], objects, healed)


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
