"""What the audit page makes of records."""

from datetime import UTC, datetime, timedelta

from atoll.hub.dashboard.audit.records import BINS, audit_row, view_of

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def record(minutes_ago=0, user="ada", verb="patch", result="Succeeded", **fields):
    about = {"group": "atoll.dev", "resource": "clusters", "name": "hpc"}
    at = (NOW - timedelta(minutes=minutes_ago)).isoformat().replace("+00:00", "Z")
    return {"id": f"{minutes_ago}-{user}", "at": at, "user": user, "verb": verb, "result": result, **about, **fields}


def view(*records, is_cut=False):
    return view_of(records, since=NOW - DAY, until=NOW, is_cut=is_cut)


def test_the_newest_request_comes_first():
    assert [row.user for row in view(record(5, "old"), record(1, "new")).rows] == ["new", "old"]


def test_a_request_names_its_object_or_its_path():
    job = audit_row(record(resource="jobs", subresource="status", namespace="chem", name="picks"))
    route = {key: value for key, value in record(path="/access/tokens").items() if key not in ("resource", "name")}
    assert (job.what, audit_row(route).what) == ("jobs/status chem/picks", "/access/tokens")
    assert job.done == "changed"


def test_bars_count_every_record_once_by_what_came_of_it():
    found = view(record(0), record(30, result="Failed"), record(1439, result="Unknown"), record(1440))
    assert len(found.bins) == BINS
    assert sum(each.count for each in found.bins) == 4
    assert (found.bins[0].unknown, found.bins[0].succeeded, found.bins[-1].succeeded) == (1, 1, 1)
    assert (found.failed, found.unknown) == (1, 1)


def test_bars_of_a_cut_window_begin_with_the_oldest_record_that_was_read():
    found = view(record(10), record(2), is_cut=True)
    assert found.bins[0].begins_at == NOW - timedelta(minutes=10)


def test_people_are_counted_by_who_really_asked():
    assert view(record(1, "eve", acting="root"), record(2, "root"), record(3, "root")).people == 1


def test_facets_name_the_most_frequent_values_and_skip_what_is_empty():
    found = view(record(1), record(2), record(3, "bob"), record(4, "bob", namespace="chem"), record(5))
    facets = {facet.field: facet.values for facet in found.facets}
    assert facets["user"] == (("ada", 3), ("bob", 2))
    assert facets["namespace"] == (("chem", 1),)


def test_no_record_is_no_bar_and_no_error():
    found = view()
    assert (found.rows, found.people, sum(each.count for each in found.bins)) == ((), 0, 0)
