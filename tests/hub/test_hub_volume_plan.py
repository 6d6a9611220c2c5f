"""A namespace's volume: chosen once, grown where that is allowed, and never silently full."""

from datetime import UTC, datetime
from typing import Any

import pytest

from atoll.federation.bus.data_messages import VolumeReport
from atoll.federation.bus.messages import ServiceOrder
from atoll.federation.resources import Cluster, Dataset
from atoll.federation.resources.inventory import StorageClassDetail
from atoll.hub.controllers.manifests import DataService, compile_service
from atoll.hub.controllers.volume_plan import Claim, VolumeScope, claim_of, fill_percent, plan_claim, problem_of

GIB = 2**30
NOW = datetime(2026, 11, 23, tzinfo=UTC)
FAST = {"name": "fast", "provisioner": "csi", "isDefault": True, "allowsExpansion": True, "tellsCapacity": True}
GROWTH = {"growth": {"fill": 80, "step": "5Gi", "limit": "22Gi"}}


def cluster(**spec: Any) -> Cluster:
    return Cluster.model_validate({"metadata": {"name": "onprem"}, "spec": spec})


def dataset(name: str = "d", **spec: Any) -> Dataset:
    return Dataset.model_validate({"metadata": {"name": name, "namespace": "lab"}, "spec": {"home": "onprem", **spec}})


def storage(*changes: dict[str, Any]) -> tuple[StorageClassDetail, ...]:
    segment = [{"freeBytes": 100 * GIB, "largestVolumeBytes": 50 * GIB}]
    return tuple(StorageClassDetail.model_validate({"segments": segment, **FAST, **change}) for change in changes)


def volume(used: int = 0, *, total: int = 10 * GIB, free: int | None = None) -> VolumeReport:
    return VolumeReport(
        namespace="lab", turn=1, made_at=NOW, at=NOW, total_bytes=total, used_bytes=used,
        free_bytes=total - used if free is None else free,
    )  # fmt: skip


def scope(*datasets: Dataset, standing: Claim | None = None, used: int | None = None, **more: Any) -> VolumeScope:
    fields: dict[str, Any] = {"classes": storage({}), "cluster": cluster(), **more}
    if used is not None:
        fields["volume"] = volume(used, total=standing.size_bytes if standing else 10 * GIB)
    return VolumeScope(datasets=datasets, standing=standing, **fields)


TEN = Claim("fast", size_bytes=10 * GIB)
CLAIMS: dict[str, tuple[VolumeScope, Claim]] = {
    "nobody says anything": (scope(), Claim(None)),
    "the cluster's own class": (scope(cluster=cluster(storageClass="slow")), Claim("slow")),
    "the first dataset that says one": (
        scope(dataset("a"), dataset("b", storageClass="b"), dataset("c", storageClass="c")), Claim("b"),
    ),
    "an access mode": (scope(dataset(accessMode="ReadWriteOnce")), Claim(None, "ReadWriteOnce")),
    "a cluster without default gets the class with the most room": (
        scope(classes=storage(
            {"name": "small", "isDefault": False, "segments": [{"freeBytes": GIB, "largestVolumeBytes": GIB}]},
            {"name": "large", "isDefault": False},
        )),
        Claim("large"),
    ),
    "sizes add up": (scope(dataset("a", size="8Gi"), dataset("b", size="4Gi")), Claim(None, size_bytes=12 * GIB)),
    "what stands stays, whatever is wished": (
        scope(dataset(storageClass="slow", accessMode="ReadWriteOnce"), standing=TEN, used=0), TEN,
    ),
    "a larger size grows it": (scope(dataset(size="15Gi"), standing=TEN, used=0), Claim("fast", size_bytes=15 * GIB)),
    "a smaller size does not shrink it": (scope(dataset(size="1Gi"), standing=TEN, used=0), TEN),
    "a class that does not allow it does not grow": (
        scope(dataset(size="15Gi"), standing=TEN, used=0, classes=storage({"allowsExpansion": False})), TEN,
    ),
    "below the fill level nothing grows": (scope(dataset(**GROWTH), standing=TEN, used=7 * GIB), TEN),
    "from the fill level on a step is added": (
        scope(dataset(**GROWTH), standing=TEN, used=8 * GIB), Claim("fast", size_bytes=15 * GIB),
    ),
    "no further than the limit": (
        scope(dataset(**GROWTH), standing=Claim("fast", size_bytes=20 * GIB), used=19 * GIB),
        Claim("fast", size_bytes=22 * GIB),
    ),
    "a class that was never there is chosen again": (
        scope(standing=Claim("gone"), cluster=cluster(storageClass="fast")), Claim("fast"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CLAIMS)
def test_the_claim_asks_for(name: str) -> None:
    given, expected = CLAIMS[name]
    assert plan_claim(given) == expected


PROBLEMS: dict[str, tuple[Dataset, VolumeScope, str, str]] = {
    "all is well": (dataset(), scope(standing=TEN, used=GIB), "", ""),
    "no claim yet": (dataset(storageClass="x"), scope(), "", ""),
    "another class": (
        dataset(storageClass="slow"), scope(standing=TEN, used=0), "AnotherVolume", "namespace of its own",
    ),
    "another mode": (
        dataset(accessMode="ReadWriteOnce"), scope(standing=TEN, used=0), "AnotherVolume", "spec.accessMode",
    ),
    "a class that is not there": (
        dataset(), scope(standing=Claim("gone")), "NoSuchClass", "has no storage class 'gone', it has fast",
    ),
    "no segment is large enough": (
        dataset(), scope(standing=Claim("fast", size_bytes=60 * GIB)), "NoRoom", "has no 60Gi left",
    ),
    "full, and nothing says that it may grow": (
        dataset(), scope(standing=TEN, used=10 * GIB), "VolumeFull", "set spec.growth, delete versions",
    ),
    "full at its limit": (
        dataset(**GROWTH), scope(standing=Claim("fast", size_bytes=22 * GIB), used=22 * GIB), "VolumeFull",
        "may not grow beyond spec.growth.limit 22Gi",
    ),
    "full, and its class does not let it grow": (
        dataset(), scope(standing=TEN, used=10 * GIB, classes=storage({"allowsExpansion": False})), "VolumeFull",
        "its storage class does not let it grow",
    ),
    "a policy that can do nothing": (
        dataset(**GROWTH), scope(standing=TEN, used=GIB, classes=storage({"allowsExpansion": False})), "CannotGrow",
        "does not allow volumes to grow",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_dataset_is_told_of_its_volume(name: str) -> None:
    given, known, reason, message = PROBLEMS[name]
    problem = problem_of(given, known)
    assert problem.reason == reason
    assert message in problem.message


def test_a_file_system_that_is_shared_is_full_only_when_nothing_is_free() -> None:
    shared = volume(GIB, total=1000 * GIB, free=5 * GIB)
    assert fill_percent(shared, TEN) == pytest.approx(10)
    assert fill_percent(volume(GIB, total=1000 * GIB, free=0), TEN) == 100


def test_what_stands_is_read_from_the_order_again() -> None:
    claim = Claim("fast", "ReadWriteOnce", 15 * GIB)
    manifests = compile_service(cluster(), "lab", DataService(("atoll",), "i", ""), claim=claim)
    assert claim_of(ServiceOrder(namespace="lab", manifests=manifests)) == claim
    assert claim_of(None) is None
