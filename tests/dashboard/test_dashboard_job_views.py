"""Jobs as pages show them: counts that add up, filters, lanes, and the decision table. Pure."""

import tracemalloc
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.hub.access.grant import Grant
from atoll.hub.dashboard.jobs.book import PHASES, JobBook, JobRow, read_job
from atoll.hub.dashboard.jobs.decision import view_decision
from atoll.hub.dashboard.jobs.listing import ROWS, list_jobs
from atoll.hub.dashboard.jobs.timeline import CELLS, timeline
from dashboard.asking import NOW, asking

OLGA = Grant("Submitter", namespaces=("optics",))


def row(name: str, phase: str = "Running", **changes) -> JobRow:
    known = {"namespace": "optics", "queue": "optics.batch", "cluster": "onprem", "created_at": NOW}
    return JobRow(name=name, phase=phase, **{**known, **changes})


def shelf(*rows: JobRow):
    book, found = JobBook(), {}
    for each in rows:
        key = f"{each.namespace}/{each.name}"
        found[key] = each
        book.turn(key, None, each)
    return found, book


@st.composite
def rows(draw) -> JobRow:
    return row(
        draw(st.sampled_from("abc")),
        draw(st.sampled_from(PHASES)),
        namespace=draw(st.sampled_from(("optics", "seismology"))),
        queue=draw(st.sampled_from(("q", "r"))),
        cluster=draw(st.sampled_from(("", "here", "there"))),
        reason=draw(st.sampled_from(("", "NoRoom"))),
        created_at=NOW + timedelta(seconds=draw(st.integers(0, 3))),
    )


@given(st.lists(st.tuples(rows(), st.booleans()), max_size=30), st.booleans())
def test_the_book_counts_what_a_count_of_all_rows_would(turns: list[tuple[JobRow, bool]], looks: bool) -> None:
    book, current = JobBook(), {}
    for each, stays in turns:
        key = f"{each.namespace}/{each.name}"
        book.turn(key, current.pop(key, None), each if stays else None)
        if stays:
            current[key] = each
        if looks:  # whoever looks in between sees the same as who looks once
            list(book.newest_first())
    assert book.phases == Counter((each.namespace, each.queue, each.phase) for each in current.values())
    assert sum(book.reasons.values()) == sum(each.phase == "Pending" for each in current.values())
    newest = list(book.newest_first())
    assert sorted(newest) == sorted(current)
    assert [current[key].created_at for key in newest] == sorted(
        (each.created_at for each in current.values()), reverse=True
    )
    for cluster in ("here", "there"):
        assert set(book.of_cluster(cluster)) == {key for key, each in current.items() if each.cluster == cluster}


def test_jobs_that_went_are_not_kept_though_nobody_looks() -> None:
    book, made = JobBook(), [row(f"j{number}", cluster=f"c{number}") for number in range(10_000)]
    tracemalloc.start()
    for each in made:
        book.turn(each.name, None, each)
    assert len(list(book.newest_first())) == len(made)
    most, _ = tracemalloc.get_traced_memory()
    for each in made:
        book.turn(each.name, each, None)
    left, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert left < most / 2
    assert list(book.newest_first()) == []


def test_a_job_is_read_as_it_is_stored_with_what_is_absent_left_out() -> None:
    bare = {"metadata": {"namespace": "optics", "name": "a"}, "spec": {"queue": "q"}}
    found = read_job(bare)
    assert (found.phase, found.gpus, found.started_at, found.user) == ("Pending", 0, None, "")
    full = {
        "metadata": {**bare["metadata"], "annotations": {"atoll.dev/submitter": "ada"}},
        "spec": {"queue": "q", "gpu": {"models": ["A100"]}, "held": True},
        "status": {"phase": "Running", "array": {"progress": "3/9"}, "startedAt": "2026-11-23T11:00:00Z"},
    }
    found = read_job(full)
    assert (found.user, found.gpus, found.tasks, found.is_held) == ("ada", 1, "3/9", True)
    assert found.started_at == NOW - timedelta(hours=1)


def test_a_filter_lets_through_what_all_of_its_words_fit() -> None:
    found = shelf(
        row("picks", user="ada", reason="NoRoom", phase="Pending"),
        row("picks-2", user="bo"),
        row("other", user="picks"),
        row("gone", "Failed", cluster="cloud"),
    )
    cases = {
        "picks picks-2 other": {"q": "PICKS"},
        "picks-2": {"q": "picks", "user": "bo"},
        "picks": {"reason": "NoRoom"},
        "gone": {"state": "failed"},
        "picks-2 other": {"state": "running", "cluster": "onprem"},
        "": {"queue": "nobody's"},
        "picks picks-2 other gone": {"state": "no such state"},
    }
    for names, query in cases.items():
        assert {each.name for each in list_jobs(*found, asking(**query)).page.items} == set(names.split()), query


def test_who_sees_one_namespace_counts_and_filters_by_nothing_of_another() -> None:
    found = shelf(row("mine"), row("theirs", namespace="seismology", queue="secret", cluster="hidden"))
    model = list_jobs(*found, asking(OLGA))
    assert ([each.name for each in model.page.items], model.there_are) == (["mine"], 1)
    assert (model.queues, model.clusters) == (("optics.batch",), ("onprem",))
    assert sum(state.count for state in model.states if state.word == "all") == 1


def test_a_page_past_the_end_is_the_last_one() -> None:
    many = shelf(*(row(f"j{number:03d}", created_at=NOW + timedelta(seconds=number)) for number in range(ROWS + 5)))
    model = list_jobs(*many, asking(page="99"))
    assert (model.page.number, model.page.items[0].name) == (2, "j004")


def test_jobs_that_ran_at_once_lie_in_rows_of_their_own_and_within_the_window() -> None:
    hour, half = NOW - timedelta(hours=2), NOW - timedelta(minutes=30)
    lanes = timeline(
        [row("long", started_at=hour), row("beside", started_at=half), row("over", started_at=hour, finished_at=hour)],
        asking(window="1h"),
    ).lanes
    assert [(bar.begin, bar.end, bar.row) for bar in lanes[0].bars] == [(0.0, 1.0, 0), (0.5, 1.0, 1)]


def test_many_jobs_of_a_cluster_are_drawn_as_one_outline() -> None:
    half = NOW - timedelta(minutes=30)
    lane = timeline([row(f"j{number}", started_at=half) for number in range(1000)], asking(window="1h")).lanes[0]
    assert (lane.count, lane.busiest, lane.bars) == (1000, 1000, ())
    assert lane.outline.count("h1") == CELLS
    assert lane.outline.startswith("M0 10V10h1") and lane.outline.endswith("V0h1V10Z")


RECORD = {
    "selected": "onprem",
    "startsNow": True,
    "decidedAt": "2026-11-23T11:59:00Z",
    "clusters": [
        {
            "cluster": "onprem",
            "isFeasible": True,
            "terms": {"waitSeconds": 10, "stagingSeconds": 25, "runSeconds": 60, "moneySeconds": 5, "totalSeconds": 90},
            "staging": [{"dataset": "lab/shots", "source": "cloud"}],
        },
        {"cluster": "lab", "isFeasible": False, "reasons": [{"reason": "GpuModel", "message": "it has no A100"}]},
    ],
    "omitted": {"GpuModel": 936},
    "diagnosis": [{"cluster": "cloud", "message": "uncordon cloud", "savesSeconds": 330.0}],
}


def test_the_terms_of_a_score_lie_one_after_another_and_end_at_its_total() -> None:
    model = view_decision(RECORD)
    assert model is not None
    (best,) = model.candidates
    assert best.is_selected and best.notes == ("copies lab/shots from cloud",)
    assert [(each.term, each.seconds) for each in best.slices] == [
        ("wait", 10.0),
        ("staging", 25.0),
        ("run", 60.0),
        ("cost", 5.0),
    ]
    ends = [each.begin + each.width for each in best.slices]
    assert [each.begin for each in best.slices][1:] == pytest.approx(ends[:-1], abs=1e-3)
    assert ends[-1] == pytest.approx(1.0, abs=1e-3)


def test_clusters_that_are_out_for_one_reason_are_told_together_with_those_left_out() -> None:
    model = view_decision(RECORD)
    assert model is not None
    (refusal,) = model.refusals
    assert (refusal.reason, refusal.clusters, refusal.more) == ("GpuModel", ("lab",), 936)
    assert model.helps == ("uncordon cloud (5m 30s sooner)",)
    assert model.headline == "It goes to onprem"


@pytest.mark.parametrize("record", [None, {}, {"clusters": 3}, {"clusters": [None, {"terms": "x"}], "omitted": []}])
def test_a_record_that_somebody_wrote_by_hand_breaks_no_page(record) -> None:
    model = view_decision(record)
    assert model is None or model.candidates == ()


def test_a_change_of_phase_moves_a_job_and_leaves_its_place_in_the_order() -> None:
    found, book = shelf(row("a"), row("b", created_at=NOW + timedelta(seconds=1)))
    book.turn("optics/a", found["optics/a"], replace(found["optics/a"], phase="Succeeded"))
    assert list(book.newest_first()) == ["optics/b", "optics/a"]
    assert dict(book.phase_counts(None)) == {"Running": 1, "Succeeded": 1}
