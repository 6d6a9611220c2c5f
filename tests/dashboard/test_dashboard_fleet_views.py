"""The map of the fleet: nothing covers anything, everything is on it, and what is wrong is seen. Pure."""

import math
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from atoll.hub.access.grant import Grant
from atoll.hub.dashboard.data.transfers import Flow
from atoll.hub.dashboard.fleet.chart import HEIGHT, MOST_ISLANDS, WIDTH, draw
from atoll.hub.dashboard.fleet.clusters import ClusterRow, LinkRow, read_cluster
from atoll.hub.dashboard.fleet.overview import FleetScope, view_fleet
from atoll.hub.dashboard.fleet.packing import pack
from atoll.hub.dashboard.jobs.book import JobBook
from dashboard.asking import NOW, asking
from dashboard.test_dashboard_job_views import row as job


def cluster(name: str, region: str = "eu", **changes) -> ClusterRow:
    known = {"phase": "Ready", "gpus": 8, "free_gpus": 2, "mesh_name": name, "proven_at": NOW}
    return ClusterRow(name=name, region=region, **{**known, **changes})


@given(st.lists(st.floats(0.5, 60), max_size=60))
def test_circles_lie_side_by_side_and_cover_none(radii: list[float]) -> None:
    circles = pack(radii)
    assert [circle.r for circle in circles] == radii
    for number, one in enumerate(circles):
        for other in circles[:number]:
            assert math.hypot(one.x - other.x, one.y - other.y) >= one.r + other.r - 1e-3


@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.integers(0, 512)), min_size=1, max_size=130))
def test_every_cluster_is_on_the_map_within_its_frame_and_covers_no_other(given_: list[tuple[str, int]]) -> None:
    rows = [cluster(f"c{number}", region, gpus=gpus) for number, (region, gpus) in enumerate(given_)]
    chart = draw(rows, (), asking())
    assert sorted(each.row.name for each in chart.islands) == sorted(row.name for row in rows)
    for each in (*chart.islands, *chart.lagoons):
        assert each.x - each.r >= 0 and each.x + each.r <= WIDTH
        assert each.y - each.r >= 0 and each.y + each.r <= HEIGHT
    for number, one in enumerate(chart.islands):
        for other in chart.islands[:number]:
            assert math.hypot(one.x - other.x, one.y - other.y) >= one.r + other.r - 1


def test_a_map_of_many_clusters_links_regions_and_a_region_leads_to_itself() -> None:
    links = (LinkRow("us-0", is_ready=True, is_connected=True),)
    many = [cluster(f"eu-{number}", links=links) for number in range(MOST_ISLANDS)] + [cluster("us-0", "us")]
    chart = draw(many, (), asking())
    assert chart.is_dense
    (strait,) = chart.straits
    assert "eu and us: 80 of 80 links ready" in strait.label
    assert {each.name: each.url for each in chart.lagoons}["eu"] == "/dashboard/here?region=eu"
    assert not draw(many[:3], (), asking()).is_dense


def test_clusters_of_one_region_lie_in_the_waters_of_their_sites() -> None:
    chart = draw([cluster("a", site="lab"), cluster("b", site="hall")], (), asking())
    assert {each.name: each.url for each in chart.lagoons} == {
        "lab": "/dashboard/here?site=lab",
        "hall": "/dashboard/here?site=hall",
    }


def test_a_strait_is_as_bad_as_the_worse_of_its_ends_and_carries_what_is_copied() -> None:
    up, down = LinkRow("b", is_ready=True, is_connected=True, latency_seconds=0.01), LinkRow("a", False, False)
    rows = [cluster("a", links=(up,)), cluster("b", links=(down,)), cluster("c")]
    (strait,) = draw(rows, [Flow("b", "a", 5e6), Flow("a", "b", 1e6), Flow("a", "gone", 9e9)], asking()).straits
    assert (strait.tone, strait.bytes_per_second) == ("bad", 6e6)
    assert strait.label == "a and b: 1 of 2 links ready, 10 ms"


def test_an_island_says_how_old_its_proof_is() -> None:
    ages = {"fresh": 5, "old": 60, "stale": 4000}
    rows = [cluster(word, proven_at=NOW - timedelta(seconds=age)) for word, age in ages.items()]
    rows.append(cluster("never", proven_at=None))
    assert all(each.proof == each.row.name for each in draw(rows, (), asking()).islands)


def test_a_filter_changes_map_list_and_figures_alike() -> None:
    book = JobBook()
    book.turn("optics/j", None, job("j", cluster="a"))
    book.turn("seismology/k", None, job("k", cluster="a", namespace="seismology"))
    rows = {each.name: each for each in (cluster("a"), cluster("b", "us", phase="Unreachable"), cluster("c", gpus=0))}
    scope = FleetScope(rows, {}, book)
    everything = view_fleet(scope, asking())
    assert [line.row.name for line in everything.page.items] == ["b", "a", "c"]  # what needs a look comes first
    unwell = view_fleet(scope, asking(phase="Unreachable"))
    assert [each.row.name for each in unwell.chart.islands] == ["b"] == [line.row.name for line in unwell.page.items]
    assert {each.word: each.count for each in unwell.phases} == {
        "all": 3, "Ready": 2, "Degraded": 0, "Unreachable": 1, "Asleep": 0, "Pending": 0,
    }  # fmt: skip
    assert (everything.running, view_fleet(scope, asking(Grant("Viewer", ("optics",)))).running) == (2, 1)


def test_a_cluster_is_read_from_what_is_stored_with_the_free_never_more_than_there_are() -> None:
    shape = {"model": "A100", "memoryBytes": 1, "count": 4}
    stored = {
        "metadata": {"name": "a", "labels": {"region": "eu", "topology.kubernetes.io/region": "eu-west"}},
        "spec": {"draining": True},
        "status": {"phase": "Ready", "inventory": {"gpus": [shape], "freeGpus": [{**shape, "count": 9}]}},
    }
    found = read_cluster(stored)
    assert (found.region, found.gpus, found.free_gpus, found.is_draining) == ("eu-west", 4, 4, True)
    assert read_cluster({"metadata": {"name": "new"}}).phase == "Pending"
