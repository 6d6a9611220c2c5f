"""What a monitor is told of clusters, gateways, policy sets, datasets and transfers."""

from datetime import UTC, datetime
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from atoll.federation.resources import Cluster, Condition, Dataset, Gateway, PolicySet, Resource, Transfer
from atoll.federation.resources.base import ObjectMeta
from atoll.hub.client import Client
from atoll.hub.glances import Tally
from atoll.hub.metrics import Fleet, Metrics
from atoll.kubeapi.storage import MemoryStorage
from hub.access_support import LAB, Parts

AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
STAMP = AT.timestamp()
LEDGER = [
    {"stream": "lab/a", "received": 10, "committed": 7, "shed": 2, "damaged": 1, "refused": 3},
    {"stream": "lab/b", "received": 5, "committed": 5},
]
SET = {"source": {"repository": "https://git.example.org/policies"}}


def exposed(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """What a scrape gives: (name, label values in the order of labels' names …) → value."""
    families = text_string_to_metric_families(metrics.expose().decode())
    return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def told(**fleet: Any) -> dict[tuple[str, ...], float]:
    metrics = Metrics()
    metrics.fleet(Fleet(**fleet))
    return exposed(metrics)


def gateway(name: str, **status: Any) -> Gateway:
    return Gateway.model_validate({"metadata": {"name": name}, "spec": {"outboxBytes": 5_000_000}, "status": status})


def policyset(**status: Any) -> PolicySet:
    return PolicySet.model_validate({"metadata": {"name": "base"}, "spec": SET, "status": status})


def condition(kind: str, status: Any) -> Condition:
    return Condition(type=kind, status=status, reason="Why", last_transition_time=AT)


def test_an_outbox_is_told_with_its_limit_and_the_oldest_reading_in_it() -> None:
    found = told(gateways=[gateway("seismo", outboxBytes=4_000_000, lagSeconds=90.5)])
    assert found["atoll_gateway_outbox_bytes", "seismo"] == 4_000_000
    assert found["atoll_gateway_outbox_limit_bytes", "seismo"] == 5_000_000
    assert found["atoll_gateway_lag_seconds", "seismo"] == 90.5


def test_readings_of_a_gateway_are_those_of_all_its_streams() -> None:
    found = told(gateways=[gateway("seismo", ledger=LEDGER), gateway("new")])
    fates = ("received", "committed", "refused", "shed", "damaged")
    for name, counts in (("seismo", (15, 12, 3, 2, 1)), ("new", (0, 0, 0, 0, 0))):
        assert tuple(found[f"atoll_gateway_readings_{fate}_total", name] for fate in fates) == counts


def test_a_member_has_one_phase_and_a_date_once_it_was_heard() -> None:
    seen = {"phase": "Unreachable", "lastProvenAt": AT}
    found = told(
        clusters=[Cluster.model_validate({"metadata": {"name": "site"}, "status": seen})],
        gateways=[gateway("seismo", **seen), gateway("new")],
    )
    phases = {key: value for key, value in found.items() if key[0].endswith("_phase")}
    assert phases == {
        ("atoll_cluster_phase", "site", "Unreachable"): 1,
        ("atoll_gateway_phase", "seismo", "Unreachable"): 1,
        ("atoll_gateway_phase", "new", "Pending"): 1,
    }
    dates = {key: value for key, value in found.items() if "timestamp" in key[0]}
    assert dates == {
        ("atoll_cluster_last_proven_timestamp_seconds", "site"): STAMP,
        ("atoll_gateway_last_proven_timestamp_seconds", "seismo"): STAMP,
    }


def test_what_is_gone_leaves_no_metric_behind() -> None:
    metrics = Metrics()
    metrics.fleet(Fleet(gateways=[gateway("old")]))
    assert ("atoll_gateway_outbox_bytes", "old") in exposed(metrics)
    metrics.fleet(Fleet(gateways=[gateway("new")]))
    assert {key[1] for key in exposed(metrics) if key[0].startswith("atoll_gateway")} == {"new"}


def test_a_policy_set_is_told_by_where_its_newest_commit_is_held() -> None:
    new, old = "b" * 40, "a" * 40
    rows = [
        {"cluster": "one", "phase": "Applied", "commit": new},
        {"cluster": "two", "phase": "Applied", "commit": old},
        {"cluster": "three", "phase": "Failed", "commit": new},
    ]
    found = told(policysets=[policyset(commit=new, clusters=rows, rollout={"commit": new, "phase": "Halted"})])
    phases = {key[1]: value for key, value in found.items() if key[0] == "atoll_policyset_clusters" and value}
    assert phases == {"Applied": 2, "Failed": 1}
    assert found["atoll_policyset_clusters_current", "base"] == 1
    assert found["atoll_policyset_uniform", "base"] == 0
    assert [key[1] for key in found if key[0] == "atoll_policyset_rollout_phase"] == ["Halted"]


def test_a_transfer_that_nobody_has_looked_at_is_pending() -> None:
    found = told(transfers=Tally({"": 1, "Pending": 2, "Failed": 3}))
    assert {key[1]: value for key, value in found.items() if key[0] == "atoll_transfers"} == {
        "Pending": 3,
        "Copying": 0,
        "Succeeded": 0,
        "Failed": 3,
    }


async def test_objects_are_counted_as_they_are_now_whatever_was_counted_before() -> None:
    """A condition that turns True again, and an object that is gone, count no more."""
    parts = Parts(MemoryStorage())
    async with parts.serving():
        await parts.prepare()
        client = Client(parts.store)
        shots = await client.create(dataset("shots", condition("Healthy", "False"), condition("Volume", "False")))
        await client.create(dataset("picks", condition("Healthy", "False"), condition("Complete", "True")))
        for cluster in ("one", "two"):
            await client.create(Cluster(metadata=ObjectMeta(name=cluster)))
        await client.create(transfer("Copying"))
        assert (await client.tally(Dataset)).unmet == {"Healthy": 2, "Volume": 1}
        assert (await client.tally(Transfer)).phases == {"Copying": 1}
        mended = shots.status.model_copy(update={"conditions": (condition("Healthy", "True"),)})
        await client.update_status(shots.model_copy(update={"status": mended}))
        await client.delete(Transfer, LAB, "copy")
        assert (await client.tally(Dataset)).unmet == {"Healthy": 1}
        assert (await client.tally(Transfer)).phases == {}


def dataset(name: str, *conditions: Condition) -> Resource:
    found = Dataset.model_validate({"metadata": {"name": name, "namespace": LAB}})
    return found.model_copy(update={"status": found.status.model_copy(update={"conditions": conditions})})


def transfer(phase: str) -> Resource:
    spec = {"dataset": "shots", "version": 1, "source": "one", "destination": "two"}
    metadata = {"name": "copy", "namespace": LAB}
    return Transfer.model_validate({"metadata": metadata, "spec": spec, "status": {"phase": phase}})
