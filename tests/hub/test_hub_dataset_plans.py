"""Where copies shall be, which versions go, what is deleted and what never is, as tables over what is known."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atoll.federation.bus.data_messages import DatasetReport, HeldReport, HeldVersion, VolumeReport
from atoll.federation.resources import Cluster, Dataset, ObjectMeta, Transfer, TransferSpec, TransferStatus
from atoll.federation.resources.dataset import Ledger, VersionStatus
from atoll.hub.controllers import retention_plan
from atoll.hub.controllers.dataset_copies import Copies
from atoll.hub.controllers.dataset_scope import Needs, Scope
from atoll.hub.controllers.dataset_status import newly_complete, plan_status
from atoll.hub.controllers.dataset_upkeep import BY_RULE, deletes, plan_upkeep
from atoll.hub.controllers.finished import Ended, Keep, plan_sweep
from atoll.hub.controllers.replica_plan import LOST_AFTER_SECONDS, Wanted, plan_replicas

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=30)


def cluster(name: str, *, residency: str = "eu", region: str = "r", free: int = 0, **status: Any) -> Cluster:
    classes = [{"name": "s", "provisioner": "p", "isDefault": True, "freeBytes": free}]
    found = {"phase": "Ready", "inventory": {"version": "v1", "nodes": 1, "nodesReady": 1, "storageClasses": classes}}
    return Cluster.model_validate(
        {
            "metadata": {"name": name, "labels": {"region": region, "tier": "gold" if name != "d" else "lead"}},
            "spec": {"residency": [residency]},
            "status": {**found, **status},
        }
    )


def silent(name: str, seconds: float, **more: Any) -> Cluster:
    since = (NOW - timedelta(seconds=seconds)).isoformat()
    return cluster(name, phase="Unreachable", lostSince=since, **more)


def dataset(versions: tuple[VersionStatus, ...] = (), *, leaving: bool = False, **spec: Any) -> Dataset:
    metadata: dict[str, Any] = {"name": "d", "namespace": "lab", "generation": 1}
    if leaving:
        metadata["deletionTimestamp"] = NOW.isoformat()
    newest = max((each.version for each in versions), default=0)
    status = {"version": newest, "complete": bool(versions), "versions": [each.wire() for each in versions]}
    return Dataset.model_validate({"metadata": metadata, "spec": {"home": "a", **spec}, "status": status})


def line(version: int, *clusters: str, **more: Any) -> VersionStatus:
    fields = {"complete": True, "manifest_sha256": f"{version}", "completed_at": NOW - timedelta(days=10 - version)}
    return VersionStatus(version=version, clusters=clusters, **{**fields, **more})


# --- where copies shall be

ABC = (cluster("a", region="x"), cluster("b", region="x", free=9), cluster("c", region="y"))
GOLD = {"clusters": {"matchLabels": {"tier": "gold"}}}
PLACES: dict[str, tuple[dict[str, Any], tuple[str, ...], tuple[Cluster, ...], Wanted]] = {
    "no rule": ({}, ("a",), ABC, Wanted()),
    "another region first, then where most is free": (
        {"replicas": {"count": 2}}, ("a",), ABC, Wanted(missing=("c",)),
    ),
    "the home first, where a job has written elsewhere": (
        {"replicas": {"count": 2}}, ("b",), ABC, Wanted(missing=("a",)),
    ),
    "all that match": ({"replicas": GOLD}, ("a",), ABC, Wanted(missing=("c", "b"))),
    "one that does not match is surplus, the home never": (
        {"replicas": GOLD, "home": "d"}, ("d", "b", "c", "a"), (*ABC, cluster("d")), Wanted(),
    ),
    "too many": ({"replicas": {"count": 1}}, ("a", "b"), ABC, Wanted(surplus=frozenset("b"))),
    "a cluster that was silent a moment ago still counts": (
        {"replicas": {"count": 2}}, ("a", "b"), (ABC[0], silent("b", 60), ABC[2]), Wanted(),
    ),
    "one that is lost is replaced, and its copy is surplus": (
        {"replicas": {"count": 2}}, ("a", "b"), (ABC[0], silent("b", LOST_AFTER_SECONDS + 1), ABC[2]),
        Wanted(missing=("c",), surplus=frozenset("b")),
    ),
    "nobody else is there": (
        {"replicas": {"count": 3}}, ("a",), ABC[:2],
        Wanted(missing=("b",), problem="1 of 3 copies: no other cluster matches the rule and is heard"),
    ),
    "outside of its residency, with a copy inside": (
        {"residency": ["eu"]}, ("a", "u"), (ABC[0], cluster("u", residency="us")),
        Wanted(surplus=frozenset("u"), problem="u: is outside of eu, where the data must stay"),
    ),
    "outside of its residency, and nowhere else": (
        {"residency": ["eu"]}, ("u",), (cluster("u", residency="us"),),
        Wanted(problem="u: is outside of eu, where the data must stay"),
    ),
    "a new copy is never made outside of the residency": (
        {"replicas": {"count": 2}, "residency": ["eu"]}, ("a",), (ABC[0], cluster("u", residency="us", region="z")),
        Wanted(problem="1 of 2 copies: no other cluster matches the rule and is heard"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_copies_shall_be(name: str) -> None:
    spec, holders, clusters, expected = PLACES[name]
    assert plan_replicas(dataset(**spec), holders, clusters, now=NOW) == expected


# --- which versions go

VERSIONS = tuple(line(number, "a") for number in (5, 4, 3, 2, 1))
RETENTION: dict[str, tuple[dict[str, Any], set[int]]] = {
    "no rule": ({}, set()),
    "the newest two stay": ({"retention": {"versions": 2}}, {1, 2, 3}),
    "older than a week": ({"retention": {"age": "7d"}}, {1, 2}),
    "the newest stays, however old": ({"retention": {"age": "1s"}}, {1, 2, 3, 4}),
    "either is enough": ({"retention": {"age": "7d", "versions": 3}}, {1, 2}),
    "pinned": ({"retention": {"versions": 1}, "pinned": True}, set()),
}


@pytest.mark.parametrize("name", RETENTION)
def test_versions_that_go(name: str) -> None:
    spec, expected = RETENTION[name]
    assert retention_plan.obsolete(dataset(**spec), VERSIONS, now=NOW) == expected


def test_a_version_that_grows_never_goes_and_counts_for_nothing() -> None:
    growing = line(6, "a", complete=False, completed_at=None)
    gone = retention_plan.obsolete(dataset(retention={"versions": 1}), (growing, *VERSIONS), now=NOW)
    assert gone == {1, 2, 3, 4}


def test_the_next_version_to_grow_old_says_when_to_look_again() -> None:
    rule = dataset(retention={"age": "7d"})
    assert retention_plan.next_seconds(rule, VERSIONS, now=NOW) == pytest.approx(86_400)


# --- what is deleted, and what never is

OLD = LONG_AGO
RULE = {"retention": {"versions": 1, "grace": "1h"}, "replicas": {"count": 1, "grace": "1h"}}
ERASED: dict[str, tuple[Dataset, Needs, dict[str, tuple[int, ...]]]] = {
    "an obsolete version everywhere": (
        dataset((line(2, "a"), line(1, "a", "b", obsolete_since=OLD)), **RULE), Needs(), {"a": (1,), "b": (1,)},
    ),
    "not before its grace is over": (
        dataset((line(2, "a"), line(1, "a", obsolete_since=NOW - timedelta(minutes=59))), **RULE), Needs(), {},
    ),
    "not what a run reads": (
        dataset((line(2, "a"), line(1, "a", obsolete_since=OLD)), **RULE), Needs(frozenset({("a", 1)})), {},
    ),
    "not what is pinned": (
        dataset((line(2, "a"), line(1, "a", obsolete_since=OLD)), **RULE, pinned=True), Needs(), {},
    ),
    "a copy too many": (dataset((line(2, "a", "b", surplus={"b": OLD}),), **RULE), Needs(), {"b": (2,)}),
    "not a copy that a run reads there": (
        dataset((line(2, "a", "b", surplus={"b": OLD}),), **RULE), Needs(frozenset({("b", 2)})), {},
    ),
    "not the last copy that is heard of": (
        dataset((line(2, "gone", "b", surplus={"b": OLD}),), **RULE), Needs(), {},
    ),
    "not two copies that are surplus to each other": (
        dataset((line(2, "b", "c", surplus={"b": OLD, "c": OLD}),), **RULE), Needs(), {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ERASED)
def test_what_is_ordered_to_be_deleted(name: str) -> None:
    given, needs, expected = ERASED[name]
    clusters = {each.metadata.name: each for each in (*ABC, silent("gone", 5000))}
    plan = plan_upkeep(Scope(given, Copies({}), clusters, needs=needs), NOW)
    assert {cluster: order.erase for cluster, order in plan.orders.items()} == expected


def test_a_copy_under_way_keeps_its_source_and_its_destination() -> None:
    moving = transfer("Copying", source="b", to="c")
    given = dataset((line(2, "a", "b", surplus={"b": OLD}),), **RULE)
    clusters = {each.metadata.name: each for each in ABC}
    assert plan_upkeep(Scope(given, Copies({}, (moving,)), clusters, needs=Needs()), NOW).orders == {}


def test_who_needs_files_is_looked_up_only_before_something_is_deleted() -> None:
    assert not deletes(Scope(dataset((line(1, "a"),), **RULE), Copies({}), {}), NOW)
    assert deletes(Scope(dataset((line(1, "a"),), leaving=True), Copies({}), {}), NOW)


# --- copies by rule


def transfer(
    phase: str, *, source: str = "a", to: str = "b", version: int = 2, ended: float = 0, rule: bool = True
) -> Transfer:
    finished = NOW - timedelta(seconds=ended) if phase in ("Failed", "Succeeded") else None
    return Transfer(
        metadata=ObjectMeta(name=f"d.v{version}.{to}", namespace="lab", annotations={BY_RULE: "true"} if rule else {}),
        spec=TransferSpec(dataset="d", version=version, source=source, destination=to),
        status=TransferStatus(phase=phase, finished_at=finished, manifest_sha256="2"),  # type: ignore[arg-type]
    )


COPYING: dict[str, tuple[tuple[Transfer, ...], tuple[str, ...], list[str], list[str]]] = {
    "one that is missing begins": ((), ("b",), ["d.v2.b"], []),
    "one that is under way goes on": ((transfer("Copying"),), ("b",), [], []),
    "one that failed just now is left": ((transfer("Failed", ended=5),), ("b",), [], []),
    "one that failed a while ago is cleared": ((transfer("Failed", ended=90),), ("b",), [], ["d.v2.b"]),
    "one that the rule does not want any more is taken back": ((transfer("Copying"),), (), [], ["d.v2.b"]),
    "one that somebody else asked for is left": ((transfer("Copying", rule=False),), (), [], []),
}  # fmt: skip


@pytest.mark.parametrize("name", COPYING)
def test_copies_by_rule(name: str) -> None:
    transfers, missing, begin, discard = COPYING[name]
    given = dataset((line(2, "a"),), replicas={"count": 2})
    clusters = {each.metadata.name: each for each in ABC}
    plan = plan_upkeep(Scope(given, Copies({}, transfers), clusters, {2: Wanted(missing=missing)}), NOW)
    assert [each.metadata.name for each in plan.transfers] == begin
    assert [each.metadata.name for each in plan.discard] == discard


# --- the end of a dataset


def held(cluster_versions: dict[str, tuple[int, ...]], turn: int = 5) -> Copies:
    reports = {
        name: HeldReport(namespace="lab", dataset="d", turn=turn, at=NOW,
                         versions=tuple(HeldVersion(version=v, complete=True, manifest_sha256="m") for v in versions))
        for name, versions in cluster_versions.items()
    }  # fmt: skip
    return Copies({}, held=reports, volumes={name: volume(turn=5) for name in cluster_versions})


def volume(*, turn: int = 5, at: datetime = NOW) -> VolumeReport:
    return VolumeReport(
        namespace="lab", turn=turn, made_at=LONG_AGO, total_bytes=100, free_bytes=50, used_bytes=10, at=at
    )


def leaving(given: Dataset, copies: Copies, needs: Needs | None = None, feeders: tuple[str, ...] = ()) -> Any:
    clusters = {each.metadata.name: each for each in (*ABC, silent("gone", 5000))}
    return plan_upkeep(Scope(given, copies, clusters, {}, needs or Needs(), feeders), NOW)


def test_a_deleted_dataset_has_its_files_deleted_and_goes_when_none_is_told_of() -> None:
    plan = leaving(dataset(leaving=True), held({"a": (1, 2), "gone": (1,)}))
    assert {name: order.erase for name, order in plan.orders.items()} == {"a": (1, 2), "gone": (1,)}
    assert not plan.is_gone
    assert "gone (v1; the cluster is not heard)" in plan.conditions[0].message
    assert leaving(dataset(leaving=True), held({})).is_gone


def test_clusters_that_are_not_heard_may_be_abandoned() -> None:
    given = dataset(leaving=True)
    notes = given.metadata.model_copy(update={"annotations": {"atoll.dev/abandon-unreachable": "true"}})
    assert leaving(given.model_copy(update={"metadata": notes}), held({"gone": (1,)})).is_gone


@pytest.mark.parametrize(
    ("given", "needs", "feeders", "reason"),
    [
        (dataset(leaving=True, pinned=True), Needs(), (), "it is pinned"),
        (dataset(leaving=True), Needs(readers=("lab/j",)), (), "jobs lab/j read it"),
        (dataset(leaving=True), Needs(), ("waves",), "grows by stream waves"),
    ],
)
def test_a_deleted_dataset_that_is_needed_keeps_its_files(
    given: Dataset, needs: Needs, feeders: Any, reason: str
) -> None:
    plan = leaving(given, held({"a": (1,)}), needs, feeders)
    assert (plan.orders, plan.is_gone) == ({}, False)
    assert reason in plan.conditions[0].message


# --- what is believed


def report(version: int, *, complete: bool = True, at: datetime = NOW) -> DatasetReport:
    return DatasetReport(namespace="lab", dataset="d", version=version, complete=complete, manifest_sha256="m", at=at)


def test_what_an_earlier_mover_told_is_of_what_is_not_there_any_more() -> None:
    assert held({"a": (1,)}, turn=4).versions == {}
    assert held({"a": (1,)}, turn=5).versions["a"].keys() == {1}


def test_a_sinks_report_ends_when_its_mover_has_looked_since_and_found_nothing() -> None:
    before, after = NOW - timedelta(seconds=5), NOW + timedelta(seconds=5)
    assert Copies({"a": report(1)}, volumes={"a": volume(at=before)}).versions["a"].keys() == {1}
    assert Copies({"a": report(1)}, volumes={"a": volume(at=after)}).versions == {}


def test_a_transfer_that_succeeded_counts_until_its_mover_could_have_told() -> None:
    copied = transfer("Succeeded", ended=10)
    seen = {"b": volume(at=NOW - timedelta(seconds=60))}
    known = {"a": report(2)}
    assert Copies(known, (copied,), volumes=seen).versions["b"].keys() == {2}
    lost = Copies(known, (copied,), volumes={"b": volume(at=NOW)})
    assert "b" not in lost.versions
    assert list(lost.contradicted()) == [copied]


def test_a_version_that_was_overtaken_is_news_once_and_dated_by_its_ledger() -> None:
    ended = NOW - timedelta(minutes=3)
    versions = (
        HeldVersion(version=1, complete=True, manifest_sha256="m", completed_at=ended),
        HeldVersion(version=2),
    )
    told = HeldReport(namespace="lab", dataset="d", turn=5, versions=versions, at=NOW)
    growing = dataset((line(2, "a", complete=False, completed_at=None),))
    status = plan_status(growing, Copies({}, held={"a": told}), NOW)
    assert [(each.version, each.complete, each.completed_at) for each in status.versions] == [
        (2, False, None), (1, True, ended),
    ]  # fmt: skip
    assert [each.version for each in newly_complete(growing.status, status)] == [1]
    assert newly_complete(status, status) == ()


@pytest.mark.parametrize("hours", [-24, -1, 0, 1], ids="hub's clock {} h wrong".format)
def test_a_completion_is_never_dated_before_the_dataset_or_its_last_version(hours: int) -> None:
    """By a hub whose clock was set back for a moment: a trigger would take it for something of before its time."""
    now = NOW + timedelta(hours=hours)
    versions = (HeldVersion(version=1, complete=True, manifest_sha256="m"),)
    done = HeldReport(namespace="lab", dataset="d", turn=1, versions=versions, at=NOW)
    made = dataset()
    made = made.model_copy(update={"metadata": made.metadata.model_copy(update={"creation_timestamp": NOW})})
    first = plan_status(made, Copies({}, held={"a": done}), now)
    assert first.completed_at == max(now, NOW)


def test_a_version_that_a_mover_saw_complete_before_its_sink_said_so_is_what_the_mover_saw() -> None:
    """Found by a campaign: the growing contents stood beside the complete version for ever, and no copy equalled it."""
    growing = report(1, complete=False).model_copy(update={"bytes": 90, "manifest_sha256": "part"})
    seen = HeldVersion(version=1, complete=True, bytes=100, manifest_sha256="m")
    later = HeldReport(namespace="lab", dataset="d", turn=5, versions=(seen,), at=NOW + timedelta(seconds=1))
    first = plan_status(dataset(), Copies({"a": growing}, held={"a": later}, volumes={"a": volume()}), NOW)
    assert (first.complete, first.bytes, first.manifest_sha256) == (True, 100, "m")
    assert [replica.cluster for replica in first.replicas] == ["a"]
    whole = report(1).model_copy(update={"bytes": 100, "ledger": Ledger(received=7)})
    copies = Copies({"a": whole}, held={"a": later}, volumes={"a": volume()})
    told = plan_status(dataset().model_copy(update={"status": first}), copies, NOW)
    assert (told.ledger.received, told.completed_at) == (7, first.completed_at)
    other = copies.reports["a"].model_copy(update={"manifest_sha256": "other", "ledger": Ledger(received=8)})
    after = plan_status(dataset().model_copy(update={"status": told}), Copies({"a": other}), NOW)
    assert (after.manifest_sha256, after.ledger.received) == ("m", 7), "what is complete stays as it is"


def test_a_version_that_is_on_no_volume_any_more_has_no_replicas_and_is_said_to_be_lost() -> None:
    given = dataset()
    held_once = plan_status(given, Copies({"a": report(1)}), NOW)
    assert [each.cluster for each in held_once.replicas] == ["a"]
    later = volume(at=NOW + timedelta(seconds=5))
    lost = plan_status(
        given.model_copy(update={"status": held_once}), Copies({"a": report(1)}, volumes={"a": later}), NOW
    )
    assert (lost.replicas, lost.versions, lost.version) == ((), (), 1)
    healthy = next(each for each in lost.conditions if each.type == "Healthy")
    assert (healthy.status, healthy.reason) == ("False", "NoCopy")


# --- finished objects

SWEPT: dict[str, tuple[Keep, set[str]]] = {
    "all stay": (Keep(0, 0), set()),
    "the oldest of too many": (Keep(3, 0), {"j0"}),
    "what is too old": (Keep(0, 2.5 * 86_400), {"j0"}),
    "either, but never what is needed": (Keep(1, 0), {"j0", "j2"}),
}


@pytest.mark.parametrize("name", SWEPT)
def test_finished_objects_that_go(name: str) -> None:
    keep, expected = SWEPT[name]
    ended = [Ended("lab", f"j{number}", NOW - timedelta(days=3 - number)) for number in range(4)]
    gone = plan_sweep(ended, keep, needed={("lab", "j1")}, now=NOW)
    assert {each.name for each in gone} == expected
