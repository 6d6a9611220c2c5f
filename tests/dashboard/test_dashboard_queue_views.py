"""The tree of queues as the page shows it. Pure."""

from datetime import timedelta

from atoll.hub.access.grant import Grant
from atoll.hub.dashboard.jobs.book import JobBook
from atoll.hub.dashboard.queues.rows import QueueRow, read_queue
from atoll.hub.dashboard.queues.tree import gauge, view_queue, view_queues
from atoll.hub.dashboard.queues.trend import Sample, Trend, look, view_trend
from dashboard.asking import NOW, asking
from dashboard.test_dashboard_fleet_views import cluster
from dashboard.test_dashboard_job_views import row as job


def tree(*rows: QueueRow) -> dict[str, QueueRow]:
    return {row.name: row for row in rows}


def test_each_queue_stands_below_its_parent_however_deep() -> None:
    rows = tree(QueueRow("b"), QueueRow("a.x.y", "a.x"), QueueRow("a"), QueueRow("a.x", "a"), QueueRow("o", "gone"))
    lines = view_queues(rows, JobBook(), asking()).lines
    assert [(line.row.name, line.depth) for line in lines] == [("a", 0), ("a.x", 1), ("a.x.y", 2), ("b", 0), ("o", 0)]


def test_queues_that_are_each_other_s_parent_are_shown_all_the_same() -> None:
    lines = view_queues(tree(QueueRow("a", "b"), QueueRow("b", "a")), JobBook(), asking()).lines
    assert [line.row.name for line in lines] == ["a", "b"]


def test_a_filter_keeps_what_is_above_what_it_finds() -> None:
    rows = tree(QueueRow("lab"), QueueRow("lab.night", "lab"), QueueRow("lab.day", "lab"), QueueRow("other"))
    lines = view_queues(rows, JobBook(), asking(q="NIGHT")).lines
    assert [line.row.name for line in lines] == ["lab", "lab.night"]


def test_a_gauge_is_measured_by_the_widest_queue_and_says_what_is_borrowed_and_what_is_full() -> None:
    cases = {
        "": QueueRow("a", used_gpus=2, guaranteed_gpus=4, limit_gpus=8),
        "warn": QueueRow("a", used_gpus=5, guaranteed_gpus=4, limit_gpus=8),
        "bad": QueueRow("a", used_gpus=8, guaranteed_gpus=4, limit_gpus=8),
    }
    for tone, row in cases.items():
        found = gauge(row, 16)
        assert (found.tone, found.used, found.limit) == (tone, row.used_gpus / 16, 0.5)
    assert gauge(QueueRow("a"), 0).label == "0 GPUs held"


def test_reasons_count_the_waiting_jobs_of_namespaces_that_one_sees() -> None:
    book = JobBook()
    for number in range(5):
        where = {"namespace": "optics" if number < 2 else "seismology", "queue": "q"}
        book.turn(str(number), None, job(f"j{number}", "Pending", reason="NoRoom", **where))
    book.turn("new", None, job("new", "Pending", reason="", queue="q"))
    line = view_queues(tree(QueueRow("q")), book, asking()).lines[0]
    assert [(each.reason, each.count) for each in line.waiting] == [("NoRoom", 5), ("NotLookedAtYet", 1)]
    assert line.waiting[0].url == "/dashboard/jobs?queue=q&state=waiting&reason=NoRoom"
    limited = view_queue("q", tree(QueueRow("q")), book, asking(Grant("Viewer", ("optics",))))
    assert [each.count for each in limited.waiting] == [2, 1]


def test_a_queue_is_read_with_its_short_limit_and_the_budget_that_ends_first() -> None:
    stored = {
        "metadata": {"name": "q"},
        "spec": {"maxGpus": 4, "budgets": [{"period": "Day", "gpuHours": 10, "money": 100}]},
        "status": {"usedGpus": 3, "budgets": [{"spent": {"gpuHours": 2, "money": 90}, "expected": {"money": 5}}]},
    }
    found = read_queue(stored)
    assert (found.limit_gpus, found.used_gpus, found.guaranteed_gpus) == (4, 3, None)
    assert (found.budgets[0].spent, found.budgets[0].word) == (0.9, "90 of 100 money")


def test_the_last_hour_is_kept_and_what_is_older_goes() -> None:
    trend = Trend()
    for number in range(400):
        trend.take(Sample(NOW + timedelta(seconds=10 * number), 8, number, 0, 0))
    model = view_trend(trend.samples)
    assert model is not None and len(model.data["times"]) == 360
    assert model.data["series"][0]["values"][0] == 40
    assert model.rows[-1].used_gpus == 399 and len(model.rows) <= 12
    assert view_trend(trend.samples[:1]) is None


def test_a_look_at_the_whole_counts_each_job_once_however_deep_its_queue() -> None:
    queues = tree(
        QueueRow("a", running=5, pending=3), QueueRow("a.b", "a", running=4, pending=3), QueueRow("c", running=1)
    )
    sample = look({"x": cluster("x"), "y": cluster("y", gpus=0, free_gpus=0)}, queues, NOW)
    assert sample == Sample(NOW, gpus=8, used_gpus=6, running=6, waiting=3)
