"""The Cluster Mesh: link states from two views, and the invariants of membership."""

from datetime import UTC, datetime, timedelta

import pytest

from atoll.federation.mesh import LinkState, Member, Uplink, link, round_trip_seconds, transfer_rate, violations
from atoll.federation.resources import MeshLink

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)


def view(connected=True, ready=True, reason="", age_seconds=10):
    """One side's view of the other, some seconds old; None: it was never proven."""
    proven = None if age_seconds is None else NOW - timedelta(seconds=age_seconds)
    return MeshLink(peer="x", is_connected=connected, is_ready=ready, reason=reason, last_proven_at=proven)


LINKS = {
    "both ready": (view(), view(), LinkState.READY, ""),
    "one side not synchronised": (
        view(),
        view(ready=False, reason="waiting for identities"),
        LinkState.CONNECTED,
        "waiting for",
    ),
    "one direction only": (
        view(),
        view(connected=False, ready=False, reason="i/o timeout"),
        LinkState.ASYMMETRIC,
        "a reaches b, not the reverse: i/o timeout",
    ),
    "the other direction only": (view(connected=False, ready=False), view(), LinkState.ASYMMETRIC, "b reaches a"),
    "neither": (view(connected=False, ready=False), view(connected=False, ready=False), LinkState.DOWN, "neither side"),
    "old proof": (view(age_seconds=301), view(), LinkState.STALE, "last proven 301 s ago"),
    "no proof": (view(age_seconds=None), view(), LinkState.STALE, "never proven"),
    "one side has no view": (None, view(), LinkState.UNKNOWN, "a reported no link"),
    "no side has a view": (None, None, LinkState.UNKNOWN, "a and b reported no link"),
}


@pytest.mark.parametrize(("ours", "theirs", "state", "message"), LINKS.values(), ids=LINKS)
def test_a_link_is_what_both_sides_say(ours, theirs, state, message):
    """Both views decide the state; only a ready link is usable; the order of the sides does not matter."""
    judged = link(("a", ours), ("b", theirs), now=NOW)
    assert judged.state is state
    assert message in judged.message
    assert judged.is_usable is (state is LinkState.READY)
    assert judged == link(("b", theirs), ("a", ours), now=NOW)


def test_a_link_is_as_proven_as_its_older_view():
    """The older of both proofs dates the link."""
    judged = link(("a", view(age_seconds=5)), ("b", view(age_seconds=200)), now=NOW)
    assert judged.proven_at == NOW - timedelta(seconds=200)


VIOLATIONS = {
    "an id used twice": ([Member("a", "a", 1), Member("b", "b", 1)], [("DuplicateId", ("a", "b"))]),
    "a name used twice": ([Member("a", "x", 1), Member("b", "x", 2)], [("DuplicateName", ("a", "b"))]),
    "the reserved name": ([Member("a", "default", 1)], [("InvalidName", ("a",))]),
    "a name with a dot": ([Member("a", "a.b", 1)], [("InvalidName", ("a",))]),
    "a name of 33 characters": ([Member("a", "a" * 33, 1)], [("InvalidName", ("a",))]),
    "id 0 is not meshed": ([Member("a", "a", 0)], [("InvalidId", ("a",))]),
    "id 512 is too large": ([Member("a", "a", 512)], [("InvalidId", ("a",))]),
    "good members": ([Member("a", "a", 1), Member("b", "b", 511)], []),
    "nobody": ([], []),
}


@pytest.mark.parametrize(("members", "found"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_broken_mesh_rule_is_named_with_its_clusters(members, found):
    """Every broken invariant is found once, with everybody who breaks it."""
    assert [(each.reason, each.clusters) for each in violations(members)] == found


def test_a_transfer_goes_at_the_narrower_uplink_until_it_was_measured():
    """The smaller declared uplink bounds the rate; a measured rate wins; round trips add up."""
    fast, slow = Uplink(1e9, 0.01), Uplink(1e6, 0.03)
    assert transfer_rate(fast, slow) == 1e6
    assert transfer_rate(fast, slow, measured=5e5) == 5e5
    assert round_trip_seconds(fast, slow) == pytest.approx(0.04)
