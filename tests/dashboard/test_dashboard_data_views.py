"""What the data pages make of gateways, datasets, copies and clusters."""

from datetime import UTC, datetime, timedelta

import pytest

from atoll.federation.resources import Dataset, Gateway, Stream, Transfer
from atoll.hub.dashboard.data import clustermap, dataset, datasets, lanes, transfers
from atoll.hub.dashboard.fleet.clusters import read_cluster

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def gateway(name="lab-a", **status):
    return Gateway.model_validate({"metadata": {"name": name}, "spec": {"outboxBytes": 1_000_000}, "status": status})


def stream(name, gateway_name="lab-a", **status):
    spec = {"gateway": gateway_name, "topics": ["lab/#"], "dataset": "d.{date}", "home": "onprem"}
    return Stream.model_validate({"metadata": {"name": name, "namespace": "chem"}, "spec": spec, "status": status})


def made_dataset(name="runs.1", namespace="chem", *, spec=None, **status):
    return Dataset.model_validate(
        {"metadata": {"name": name, "namespace": namespace}, "spec": spec or {"home": "onprem"}, "status": status}
    )


def row(name="runs.1", namespace="chem", **status):
    return datasets.row_of(made_dataset(name, namespace, **status).wire())


def copy(name, **fields):
    return transfers.transfer_row(transfer(name, **fields).wire())


def version(number, *clusters, complete=True, **fields):
    return {"version": number, "complete": complete, "bytes": 100, "files": 1, "clusters": list(clusters), **fields}


def transfer(name, source="onprem", to="cloud", phase="Copying", **status):
    spec = {"dataset": "runs.1", "version": 1, "source": source, "destination": to}
    found = {"phase": phase, **status}
    return Transfer.model_validate({"metadata": {"name": name, "namespace": "chem"}, "spec": spec, "status": found})


def cluster(name, region="", phase="Ready", residency=()):
    labels = {"region": region} if region else {}
    return read_cluster(
        {"metadata": {"name": name, "labels": labels}, "spec": {"residency": residency}, "status": {"phase": phase}}
    )


def condition(kind, status="False", message="why"):
    return {"type": kind, "status": status, "reason": "R", "message": message, "lastTransitionTime": NOW.isoformat()}


class TestLanes:
    def test_gateways_that_need_a_person_come_first_and_then_those_furthest_behind(self):
        found = lanes.lanes_of(
            [
                gateway("fine", phase="Ready", lagSeconds=2),
                gateway("late", phase="Ready", lagSeconds=900),
                gateway("gone", phase="Unreachable"),
                gateway("ill", phase="Degraded"),
            ],
            [],
        )
        assert [lane.name for lane in found] == ["gone", "ill", "late", "fine"]

    @pytest.mark.parametrize(
        ("rate_in", "rate_out", "waiting", "flow"),
        [
            (0, 0, 0, "still"),
            (0, 0, 9, "held"),
            (100, 95, 9, "through"),
            (100, 10, 9, "filling"),
            (10, 100, 9, "draining"),
        ],
    )
    def test_the_flow_says_what_becomes_of_an_outbox(self, rate_in, rate_out, waiting, flow):
        assert lanes.flow_of(rate_in, rate_out, waiting=waiting) == flow

    def test_an_outbox_is_filled_by_its_bytes_and_never_more_than_full(self):
        half, over = gateway(outboxBytes=500_000), gateway(outboxBytes=3_000_000)
        assert [lanes.lane_of(each, ()).fill for each in (half, over)] == [0.5, 1.0]

    def test_lag_is_on_a_logarithmic_scale_from_a_second_to_a_day(self):
        assert lanes.lag_scale(0) == 0
        assert lanes.lag_scale(86_400 * 3) == 1
        assert lanes.lag_scale(294) == pytest.approx(0.5, abs=0.01)

    def test_a_stream_is_told_by_what_its_gateway_counts_and_without_it_by_what_the_hub_wrote(self):
        ledger = [{"stream": "chem/counted", "received": 12, "outboxReadings": 3, "readingsPerSecond": 4.0}]
        lane = lanes.lane_of(
            gateway(ledger=ledger), [stream("counted", committed=9), stream("silent", received=5, committed=5)]
        )
        counted, silent = sorted(lane.streams, key=lambda row: row.key)
        assert (counted.received, counted.committed, counted.waiting, counted.rate_in) == (12, 9, 3, 4.0)
        assert (silent.received, silent.is_reported) == (5, False)

    def test_totals_tell_the_gateway_that_is_furthest_behind(self):
        found = lanes.lanes_of([gateway("a", lagSeconds=3, shed=2), gateway("b", lagSeconds=70, shed=1)], [])
        total = lanes.totals_of(found)
        assert (total.lag_seconds, total.shed, total.gateways, total.ready) == (70, 3, 2, 0)


class TestDatasets:
    @pytest.mark.parametrize(
        ("status", "state"),
        [
            ({}, "Empty"),
            ({"version": 1}, "Growing"),
            ({"version": 1, "complete": True}, "Complete"),
            ({"version": 1, "complete": True, "conditions": [condition("Replicated")]}, "Lacking"),
            ({"version": 1, "ledger": {"shed": 1}, "conditions": [condition("Replicated")]}, "Incomplete"),
            ({"version": 1, "ledger": {"gaps": 1}, "conditions": [condition("Healthy")]}, "Damaged"),
        ],
    )  # fmt: skip
    def test_the_worst_that_is_true_names_the_state(self, status, state):
        assert row(**status).state == state

    def test_the_reason_of_a_damaged_dataset_is_what_its_condition_says(self):
        found = row(version=1, conditions=[condition("Healthy", message="file a is gone")])
        assert found.why == "file a is gone"

    def test_what_is_wrong_comes_first_and_then_what_is_newest(self):
        def at(minutes, **status):
            when = (NOW + timedelta(minutes=minutes)).isoformat()
            return row(f"d{minutes}", version=1, complete=True, completedAt=when, **status)

        rows = [at(1), at(3), at(0, ledger={"gaps": 1}), at(2)]
        assert [each.name for each in datasets.ordered(rows)] == ["d0", "d3", "d2", "d1"]

    def test_filters_of_a_list_hold_together(self):
        held = row(version=1, versions=[version(1, "onprem", "cloud")])
        assert datasets.DatasetFilter(text="RUNS", cluster="cloud", state="Growing").wants(held)
        assert not datasets.DatasetFilter(text="runs", cluster="edge").wants(held)
        assert not datasets.DatasetFilter(namespace="bio").wants(held)

    def test_small_namespaces_share_the_last_bar(self):
        rows = [row(f"d{index}", f"ns{index % 15}") for index in range(31)]
        bars = datasets.bars_of(rows)
        assert bars[0].namespace == "ns0"
        assert (bars[-1].namespace, bars[-1].others, bars[-1].count) == ("", 3, 6)
        assert sum(bar.count for bar in bars) == 31
        assert bars[0].states["Empty"] == 3


class TestTransfers:
    def test_a_copy_says_how_long_it_still_takes_at_its_rate(self):
        found = copy("t", totalBytes=100, copiedBytes=25, bytesPerSecond=25.0)
        assert (found.done, found.left_seconds) == (0.25, 3.0)

    def test_nobody_can_tell_the_end_of_a_copy_that_waits(self):
        found = copy("t", phase="Pending", totalBytes=100, bytesPerSecond=9.0)
        assert (found.left_seconds, found.bytes_per_second) == (None, 0.0)

    def test_copies_under_way_come_before_failed_waiting_and_ended_ones(self):
        rows = transfers.ordered_transfers(
            [
                copy("done", phase="Succeeded"),
                copy("half", totalBytes=10, copiedBytes=5),
                copy("most", totalBytes=10, copiedBytes=9),
                copy("waits", phase="Pending"),
                copy("broke", phase="Failed"),
            ]
        )
        assert [each.name for each in rows] == ["most", "half", "broke", "waits", "done"]
        total = transfers.transfer_totals(rows)
        assert (total.copying, total.waiting, total.failed, total.succeeded, total.left_bytes) == (2, 1, 1, 1, 6)


class TestMap:
    def test_a_tile_is_filled_by_what_its_cluster_holds(self):
        rows = [row(version=1, bytes=1000, versions=[version(1, "onprem", "cloud")])]
        marks = clustermap.holding_marks(clustermap.holdings_of(rows))
        drawn = clustermap.draw([cluster("onprem", "eu"), cluster("cloud", "us"), cluster("idle", "us")], marks, ())
        by_name = {tile.name: tile.mark for tile in drawn.tiles}
        assert (by_name["onprem"].role, by_name["cloud"].role, by_name["idle"].role) == ("home", "copy", "none")
        assert by_name["cloud"].level == 1.0
        assert [block.region for block in drawn.blocks] == ["eu", "us"]

    def test_copies_between_the_same_clusters_share_an_arc_whose_width_is_their_rate(self):
        rows = transfers.ordered_transfers(
            [
                copy("a", bytesPerSecond=10.0),
                copy("b", bytesPerSecond=30.0),
                copy("c", to="edge", bytesPerSecond=20.0),
                copy("d", to="edge", phase="Pending"),
            ]
        )
        names = ("onprem", "cloud", "edge")
        drawn = clustermap.draw([cluster(name) for name in names], {}, transfers.flows_of(rows))
        assert [(arc.destination, arc.words[:8]) for arc in drawn.arcs] == [("cloud", "2 copies"), ("edge", "1 copy f")]
        assert drawn.arcs[0].thickness > drawn.arcs[1].thickness

    @pytest.mark.parametrize("count", [1, 9, 60, 240, 1000])
    @pytest.mark.parametrize("width", [clustermap.WIDE, clustermap.NARROW])
    def test_tiles_never_overlap_nor_leave_the_drawing(self, count, width):
        drawn = clustermap.draw([cluster(f"c{n:04}", f"r{n % 7}") for n in range(count)], {}, (), width=width)
        places = {(tile.x, tile.y) for tile in drawn.tiles}
        size = drawn.tiles[0].size
        assert len(places) == len(drawn.tiles) == min(count, 240)
        assert drawn.hidden == max(0, count - 240)
        assert all(x >= 0 and x + size <= width and y >= 0 and y + size <= drawn.height for x, y in places)
        for one in drawn.tiles[:40]:
            for other in drawn.tiles:
                assert one is other or abs(one.x - other.x) >= size or abs(one.y - other.y) >= size

    def test_of_a_thousand_clusters_those_that_hold_most_and_what_flows_are_drawn(self):
        clusters = [cluster(f"c{n:04}") for n in range(1000)]
        flow = transfers.Flow("c0999", "c0998", 5.0)
        drawn = clustermap.draw(clusters, {"c0500": clustermap.Mark(1.0)}, (flow,))
        assert {"c0999", "c0998", "c0500", "c0000"} <= {tile.name for tile in drawn.tiles}
        assert len(drawn.arcs) == 1

    def test_a_dataset_on_the_map_shows_home_copies_and_what_is_coming(self):
        found = row(version=1, versions=[version(1, "onprem", "cloud")])
        coming = copy("t", to="edge", totalBytes=4, copiedBytes=1)
        marks = clustermap.dataset_marks(found, [coming])
        assert {name: (mark.role, mark.level) for name, mark in marks.items()} == {
            "onprem": ("home", 1.0),
            "cloud": ("copy", 1.0),
            "edge": ("coming", 0.25),
        }


class TestDetail:
    def test_versions_stand_against_clusters_with_what_each_has(self):
        gone = NOW.isoformat()
        found = made_dataset(
            version=3,
            versions=[
                version(3, "onprem", complete=False),
                version(2, "onprem", "cloud", surplus={"cloud": gone}),
                version(1, "onprem", obsoleteSince=gone),
            ],
        )
        coming = copy("t", to="edge")
        view = dataset.detail_of(found, [coming])
        assert view.clusters == ("onprem", "cloud", "edge")
        assert [line.cells for line in view.versions] == [
            ("growing", "none", "none"),
            ("whole", "going", "none"),
            ("going", "none", "coming"),
        ]

    def test_copies_of_other_datasets_are_not_its_own(self):
        foreign = copy("t")
        assert dataset.detail_of(made_dataset("runs.2"), [foreign]).copies == ()

    def test_instruments_are_compared_with_the_one_that_delivered_most(self):
        def source(name, received):
            return {
                "gateway": "g",
                "stream": "s",
                "source": name,
                "file": "f",
                "received": received,
                "bytes": 1,
                "sha256": "",
            }

        found = made_dataset(version=1, ledger={"sources": [source("b1", 25), source("b2", 100)]})
        assert [(bar.source, bar.share) for bar in dataset.detail_of(found, ()).sources] == [("b2", 1.0), ("b1", 0.25)]

    def test_a_copy_may_go_where_it_is_not_yet_and_the_residency_lets_it(self):
        found = made_dataset(version=1, spec={"home": "onprem", "residency": ["eu"]}, versions=[version(1, "onprem")])
        places = [
            cluster("onprem", residency=["eu"]),
            cluster("far", residency=["us"]),
            cluster("near", residency=["eu"]),
            cluster("lost", residency=["eu"], phase="Unreachable"),
        ]
        assert dataset.destinations_of(found, places) == ("near",)

    def test_a_cluster_without_a_region_is_where_its_residency_says(self):
        assert [cluster("a", "north", residency=["eu"]).region, cluster("b", residency=["eu"]).region] == [
            "north",
            "eu",
        ]

    def test_what_still_grows_can_be_copied_nowhere(self):
        found = made_dataset(version=1, versions=[version(1, "onprem", complete=False)])
        assert dataset.destinations_of(found, [cluster("cloud")]) == ()
