"""Audit records: halves become whole whatever is lost, twice or late, and a query wants exactly what it says."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.hub.access.audit_records import (
    PATIENCE,
    AuditQuery,
    Joiner,
    asked_at,
    completed,
    decode,
    encode,
    requested,
)
from atoll.hub.http.audit import parse_query
from atoll.kubeapi.errors import BadRequest, Forbidden
from atoll.kubeapi.http.access import Action, Mutation, Outcome, User
from atoll.kubeapi.http.target import Target

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
CREDENTIAL = "authentication.kubernetes.io/credential-id"
ALICE = User("alice", ("seismologists", "system:authenticated"), "", {CREDENTIAL: ("token/7",)})
JOB = Target("atoll.dev", "v1alpha1", "jobs", "seismology", "picks")


def asked(number: int = 0, *, seconds: float = 0.0, **changes: Any) -> Mutation:
    """Describe a request that came some seconds after noon."""
    defaults: dict[str, Any] = {
        "id": f"id-{number}",
        "at": NOON + timedelta(seconds=seconds),
        "user": ALICE,
        "action": Action("update", "", JOB),
        "source": "10.0.0.7",
        "user_agent": "kubectl/v1.34",
    }
    return Mutation(**{**defaults, **changes})


def done(mutation: Mutation, code: int = 200, **details: Any) -> dict[str, Any]:
    return completed(mutation, Outcome(code, **details), mutation.at + timedelta(milliseconds=12.3))


def joined(*halves: dict[str, Any]) -> list[dict[str, Any]]:
    """Join halves after they went over the wire."""
    joiner = Joiner()
    found = [record for half in decode(b"\n".join(map(encode, halves))) for record in joiner.take(half)]
    return [*found, *joiner.drain()]


def test_a_record_says_who_asked_what_from_where_and_what_came_of_it() -> None:
    mutation = asked(dry_run=True)
    assert joined(requested(mutation), done(mutation, 409, reason="Conflict", message="changed meanwhile")) == [
        {
            "id": "id-0",
            "at": "2026-11-22T12:00:00.000000Z",
            "user": "alice",
            "groups": ["seismologists", "system:authenticated"],
            "credential": "token/7",
            "source": "10.0.0.7",
            "userAgent": "kubectl/v1.34",
            "verb": "update",
            "group": "atoll.dev",
            "resource": "jobs",
            "namespace": "seismology",
            "name": "picks",
            "dryRun": True,
            "code": 409,
            "reason": "Conflict",
            "message": "changed meanwhile",
            "durationMs": 12.3,
            "result": "Failed",
        }
    ]


def test_a_record_of_a_plain_path_names_the_path() -> None:
    mutation = asked(action=Action("post", "/access/tokens"))
    (record,) = joined(done(mutation, 201))
    assert record["path"] == "/access/tokens"
    assert "resource" not in record


def test_a_record_names_the_object_whose_name_the_server_chose() -> None:
    mutation = asked(action=Action("create", "", Target("atoll.dev", "v1alpha1", "jobs", "seismology")))
    (record,) = joined(requested(mutation), done(mutation, 201, name="picks-x7f2q"))
    assert record["name"] == "picks-x7f2q"


def test_a_record_of_an_impersonated_request_names_both_and_the_credential_that_was_used() -> None:
    admin = User("root", (), "", {CREDENTIAL: ("X509SHA256=ab",)})
    (record,) = joined(done(asked(user=User("bob"), acting=admin)))
    assert (record["user"], record["acting"], record["credential"]) == ("bob", "root", "X509SHA256=ab")


def test_a_request_without_an_end_is_unknown_and_a_refusal_alone_is_failed() -> None:
    lost, refused = asked(1), asked(2)
    found = joined(requested(lost), done(refused, 403, reason="Forbidden"))
    assert {record["id"]: record["result"] for record in found} == {"id-1": "Unknown", "id-2": "Failed"}


def test_an_end_that_was_written_twice_is_shown_once() -> None:
    mutation = asked()
    assert len(joined(requested(mutation), done(mutation), done(mutation))) == 1
    assert len(joined(done(mutation), requested(mutation), done(mutation))) == 1


def test_a_request_that_takes_very_long_is_unknown_first_and_has_its_result_in_the_end() -> None:
    slow, later = asked(1), asked(2, seconds=PATIENCE.total_seconds() + 1)
    found = joined(requested(slow), requested(later), done(later), done(slow))
    assert [(record["id"], record["result"]) for record in found] == [
        ("id-1", "Unknown"),
        ("id-2", "Succeeded"),
        ("id-1", "Succeeded"),
    ]


def test_a_reader_keeps_a_bounded_number_of_open_requests_in_mind_and_loses_none() -> None:
    joiner, shown, most = Joiner(), 0, 0
    for number in range(25_000):
        shown += len(list(joiner.take(requested(asked(number)))))
        most = max(most, number + 1 - shown)
    assert most <= 10_001
    assert shown + len(list(joiner.drain())) == 25_000


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"7",
        b"null",
        b'{"id": 7}',
        b'{"id": "a", "stage": "Requested", "at": "yesterday"}',
    ],
)
def test_what_is_no_record_is_passed_over(garbage: bytes) -> None:
    line = encode(done(asked()))
    assert [record["id"] for record in decode(b"\n".join((garbage, line, garbage)))] == ["id-0"]


@given(st.lists(st.tuples(st.integers(0, 7), st.sampled_from(("Requested", "Completed"))), max_size=40))
def test_every_request_is_shown_once_with_its_result_whatever_the_order_of_halves(
    halves: list[tuple[int, str]],
) -> None:
    wire = [requested(asked(n)) if stage == "Requested" else done(asked(n)) for n, stage in halves]
    found = joined(*wire)
    ended = {f"id-{n}" for n, stage in halves if stage == "Completed"}
    assert {record["id"] for record in found if record["result"] == "Succeeded"} == ended
    assert {record["id"] for record in found} == {f"id-{n}" for n, _ in halves}
    assert len({record["id"] for record in found}) == len(found)


WANTS: dict[str, tuple[dict[str, Any], bool]] = {
    "everything": ({}, True),
    "from its very instant on": ({"since": NOON}, True),
    "from after it": ({"since": NOON + timedelta(seconds=1)}, False),
    "until its very instant": ({"until": NOON}, True),
    "until before it": ({"until": NOON - timedelta(seconds=1)}, False),
    "its user": ({"user": "alice"}, True),
    "who acted as its user": ({"user": "root"}, True),
    "another user": ({"user": "ali"}, False),
    "one's own": ({"own": "alice"}, True),
    "one's own, as somebody else": ({"own": "bob"}, False),
    "its verb": ({"verb": "update"}, True),
    "another verb": ({"verb": "create"}, False),
    "its resource": ({"resource": "jobs"}, True),
    "its resource with the group": ({"resource": "jobs.atoll.dev"}, True),
    "a resource of another group": ({"resource": "jobs.batch"}, False),
    "its subresource": ({"resource": "jobs/status"}, True),
    "another subresource": ({"resource": "jobs/log"}, False),
    "another resource": ({"resource": "runs"}, False),
    "its namespace and name": ({"namespace": "seismology", "name": "picks"}, True),
    "another name": ({"name": "pick"}, False),
    "failures": ({"failed": True}, False),
}


@pytest.mark.parametrize("case", WANTS)
def test_a_query_wants_exactly_what_it_says(case: str) -> None:
    changes, is_wanted = WANTS[case]
    target = Target("atoll.dev", "v1alpha1", "jobs", "seismology", "picks", "status")
    (record,) = joined(done(asked(action=Action("update", "", target), acting=User("root"))))
    query = AuditQuery(**{"since": NOON - timedelta(days=1), **changes})
    assert query.wants(record) is is_wanted


def test_failures_are_what_failed_and_what_has_no_known_end() -> None:
    query = AuditQuery(since=NOON, failed=True)
    found = joined(requested(asked(1)), done(asked(2), 500), done(asked(3)), done(asked(4), 404))
    assert {record["id"] for record in found if query.wants(record)} == {"id-1", "id-2", "id-4"}


# --- the query as a user writes it

BAD_QUERIES: dict[str, tuple[dict[str, str], str]] = {
    "an unknown parameter": ({"usr": "alice"}, "usr: unknown parameter: use some of since, until, user"),
    "no instant": ({"since": "yesterday"}, "since: Invalid value: 'yesterday': must be an instant such as"),
    "an instant without a zone": ({"until": "2026-11-22T08:00:00"}, "until: Invalid value"),
    "an instant before all records": ({"since": "0001-01-01T00:00:00+14:00"}, "since: Invalid value"),
    "an instant at the end of time": ({"until": "9999-12-31T23:59:59Z"}, "until: Invalid value"),
    "a duration longer than all time": ({"since": "99999999999999d"}, "since: Invalid value"),
    "an end before the beginning": ({"since": "1h", "until": "2h"}, "until: is before since"),
    "an end of what goes on": ({"follow": "true", "until": "1h"}, "until: contradicts follow"),
    "no truth": ({"failed": "yes"}, "failed: Invalid value: 'yes': must be true or false"),
    "no number": ({"limit": "many"}, "limit: Invalid value: 'many': must be a whole number from 1 to 10000"),
    "a number of another script": ({"limit": "\u0663"}, "limit: Invalid value"),
    "none at all": ({"limit": "0"}, "limit: Invalid value: '0'"),
    "too many": ({"limit": "10001"}, "limit: Invalid value: '10001'"),
    "a number without end": ({"limit": "9" * 5000}, "limit: Invalid value"),
}


@pytest.mark.parametrize("case", BAD_QUERIES)
def test_a_bad_parameter_is_refused_by_its_name(case: str) -> None:
    parameters, message = BAD_QUERIES[case]
    with pytest.raises(BadRequest) as refused:
        parse_query(parameters, now=NOON, own=None)
    assert refused.value.message.startswith(message)
    assert len(refused.value.message) < 300


def test_a_query_is_read_as_written() -> None:
    parameters = {
        "since": "2h",
        "until": "2026-11-22T11:30:00+00:00",
        "user": "alice",
        "resource": "jobs",
        "limit": "5",
    }
    assert parse_query(parameters, now=NOON, own=None) == AuditQuery(
        since=NOON - timedelta(hours=2),
        until=NOON - timedelta(minutes=30),
        user="alice",
        resource="jobs",
        limit=5,
    )
    assert parse_query({}, now=NOON, own="bob") == AuditQuery(since=NOON - timedelta(days=1), own="bob")


def test_who_is_no_admin_may_name_only_themselves() -> None:
    assert parse_query({"user": "bob"}, now=NOON, own="bob").own == "bob"
    with pytest.raises(Forbidden, match="only an Admin sees the audit records of others"):
        parse_query({"user": "alice"}, now=NOON, own="bob")


@given(
    st.dictionaries(st.sampled_from(("since", "until", "limit", "failed", "follow", "name", "x")), st.text(max_size=12))
)
def test_no_query_does_anything_but_be_read_or_be_refused(parameters: dict[str, str]) -> None:
    try:
        query = parse_query(parameters, now=NOON, own=None)
    except BadRequest:
        return
    assert query.wants(joined(done(asked()))[0]) in (True, False)
    assert asked_at({"at": "2026-11-22T12:00:00Z"}) == NOON
