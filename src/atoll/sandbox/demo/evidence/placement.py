"""The placement: the stored decision, checked against the clusters' own nodes and against where the job really ran."""

from collections.abc import Mapping
from typing import Any

from atoll.cli.explaining import DECISION_HEADERS, decision_rows
from atoll.sandbox.demo.evidence.section import Check, Section
from atoll.sandbox.demo.objects import GPU_MODEL, HOME_CLUSTER, NAMESPACE
from atoll.sandbox.demo.world import Outcome, World

_GPU_PRODUCT = "nvidia.com/gpu.product"


def examine(world: World, outcome: Outcome) -> Section:
    """Read the decision, the nodes and the jobs of all clusters."""
    record: Mapping[str, Any] = outcome.job.status.decision or {}
    name, selected = outcome.job.metadata.name, record.get("selected")
    entries = {entry["cluster"]: entry for entry in record.get("clusters", ())}
    feasible = {cluster for cluster, entry in entries.items() if entry["isFeasible"]}
    with_gpu = {access.name for access in world.state.clusters if _has_gpu(world, access.name)}
    ran_on = {access.name for access in world.state.clusters if _has_job(world, access.name, outcome.job.status.run)}
    totals = {cluster: entries[cluster]["terms"]["totalSeconds"] for cluster in feasible}
    look = f"atoll job explain {name} -n {NAMESPACE}"
    return Section(
        "Placement",
        f"{name} → {selected}: of {len(entries)} clusters {len(feasible)} could take it; terms in seconds",
        (*DECISION_HEADERS[:-1], "WHY"),
        tuple(decision_rows(record)),
        (
            Check(f"exactly the clusters whose nodes have an {GPU_MODEL} were feasible", feasible == with_gpu, look),
            Check("two clusters have the GPU", len(with_gpu) == 2, look),
            Check(
                "every other cluster has its reason",
                all(e["isFeasible"] or e["reasons"] for e in entries.values()),
                look,
            ),
            Check("every score is the sum of its terms", all(_adds_up(entries[c]["terms"]) for c in feasible), look),
            Check("the lowest score won", bool(totals) and selected == min(totals, key=lambda c: totals[c]), look),
            Check("it went where the data lies", selected == HOME_CLUSTER, look),
            Check("it ran there, and nowhere else", ran_on == {selected}, look),
        ),
    )


def _has_gpu(world: World, cluster: str) -> bool:
    with world.cluster_api(cluster) as api:
        nodes = api.get("/api/v1/nodes")["items"]
    products = [str(node["metadata"].get("labels", {}).get(_GPU_PRODUCT, "")) for node in nodes]
    return any(GPU_MODEL in product.split("-") for product in products)


def _has_job(world: World, cluster: str, run: str | None) -> bool:
    with world.cluster_api(cluster) as api:
        return run is not None and api.find(f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs/{run}") is not None


def _adds_up(terms: Mapping[str, float]) -> bool:
    priced = terms["moneySeconds"] + terms["idleSeconds"]
    expected = max(terms["waitSeconds"], terms["stagingSeconds"]) + terms["runSeconds"] + priced
    return abs(expected - terms["totalSeconds"]) < 0.001
