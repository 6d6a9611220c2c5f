"""What would be missed if a cluster went, as a table over streams and datasets."""

from typing import Any

import pytest

from atoll.federation.holdings import holdings
from atoll.federation.resources import Dataset, Stream


def stream(name: str, home: str) -> Stream:
    spec = {"gateway": "lab-a", "topics": ["a/#"], "dataset": "d", "home": home}
    return Stream.model_validate({"metadata": {"name": name, "namespace": "lab"}, "spec": spec})


def dataset(*holders: str, home: str | None = None, **status: Any) -> Dataset:
    replicas = [{"cluster": cluster, "version": 2} for cluster in holders]
    found = {"version": 2, "complete": True, "replicas": replicas, **status}
    return Dataset.model_validate(
        {"metadata": {"name": "d", "namespace": "lab"}, "spec": {"home": home}, "status": found}
    )


DATASETS = {
    "whole here only": (dataset("edge"), True),
    "whole here and elsewhere": (dataset("cloud", "edge"), False),
    "whole elsewhere only, with its home here": (dataset("cloud", home="edge"), False),
    "whole nowhere any more": (dataset(home="edge"), False),
    "growing at its home here": (dataset(home="edge", complete=False), True),
    "growing at its home elsewhere": (dataset(home="cloud", complete=False), False),
    "not begun yet": (dataset(home="edge", complete=False, version=0), False),
}


@pytest.mark.parametrize("name", DATASETS)
def test_a_cluster_holds_the_only_copy_of_a_dataset_that_is(name: str) -> None:
    found, is_only = DATASETS[name]
    assert holdings("edge", (), [found]).only_copies == (("lab/d",) if is_only else ())


def test_streams_with_their_home_there_are_named_by_name_and_a_few_of_many() -> None:
    streams = [stream(f"s{number}", "edge") for number in reversed(range(7))]
    held = holdings("edge", [*streams, stream("other", "cloud")], ())
    assert held.streams == tuple(f"lab/s{number}" for number in range(7))
    assert held.of_streams() == "streams lab/s0, lab/s1, lab/s2, lab/s3, lab/s4 and 2 more have edge as home"
    assert holdings("cloud", [stream("other", "cloud")], ()).of_streams() == "stream lab/other has cloud as home"


def test_an_older_version_that_is_whole_nowhere_else_is_named_by_its_number() -> None:
    versions = [
        {"version": 2, "complete": True, "clusters": ["cloud", "edge"]},
        {"version": 1, "complete": True, "clusters": ["edge"]},
    ]
    found = dataset("cloud", "edge", versions=versions)
    assert holdings("edge", (), [found]).only_copies == ("lab/d version 1",)
    assert holdings("cloud", (), [found]).only_copies == ()
