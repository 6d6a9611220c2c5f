"""Waves: a commit goes no further than it is held, a silent cluster holds nobody up, what fails is taken back."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.resources import ClusterPolicyStatus
from atoll.federation.resources.policyset_rollout import RolloutSpec, RolloutStatus
from atoll.hub.controllers.policy_rollout import Candidate, Place, Step, next_step, wave_of

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD, NEW, NEWER = "a" * 40, "b" * 40, "c" * 40
SPEC = RolloutSpec.model_validate(
    {
        "waves": [
            {"name": "canary", "clusters": {"matchLabels": {"wave": "canary"}}, "wait": "10m"},
            {"name": "labs", "clusters": {"matchLabels": {"wave": "labs"}}},
        ],
        "stallAfter": "5m",
    }
)
LABELS = {"can": {"wave": "canary"}, "lab-a": {"wave": "labs"}, "lab-b": {"wave": "labs"}, "far": {}}
COMPLETE = RolloutStatus(commit=OLD, good=OLD, phase="Complete")


def places(holds: Mapping[str, str], *, silent: tuple[str, ...] = (), **phases: str) -> list[Place]:
    return [
        Place(
            name,
            labels,
            None if name in silent else NOW - timedelta(days=1),
            ClusterPolicyStatus(cluster=name, commit=holds[name], phase=phases.get(name.replace("-", "_"), "Applied")),
        )
        for name, labels in LABELS.items()
    ]


def everywhere(commit: str) -> dict[str, str]:
    return dict.fromkeys(LABELS, commit)


def step(
    old: RolloutStatus | None,
    commit: str,
    where: list[Place],
    *,
    minutes: float = 0,
    spec: Any = SPEC,
    approved: str = "",
) -> Step:
    return next_step(spec, old, Candidate(commit, approved), where, now=NOW + timedelta(minutes=minutes))


def test_without_waves_every_cluster_gets_a_commit_at_once() -> None:
    first = step(None, NEW, places(everywhere("")), spec=RolloutSpec())
    assert first.commits == everywhere(NEW)
    assert step(first.status, NEW, places(everywhere(NEW)), spec=RolloutSpec()).status.phase == "Complete"


def test_a_commit_goes_from_wave_to_wave_as_it_is_held() -> None:
    held = everywhere(OLD)
    began = step(COMPLETE, NEW, places(held))
    assert began.commits == {"can": NEW} and began.status.wave_name == "canary"
    held["can"] = NEW
    waiting = step(began.status, NEW, places(held), minutes=1)
    assert (waiting.status.phase, waiting.commits, waiting.due_seconds) == ("Waiting", {"can": NEW}, 600)
    second = step(waiting.status, NEW, places(held), minutes=11)
    assert second.commits == {"can": NEW, "lab-a": NEW, "lab-b": NEW}
    held |= {"lab-a": NEW, "lab-b": NEW}
    third = step(second.status, NEW, places(held), minutes=12)
    assert third.commits == everywhere(NEW) and third.status.wave_name == "rest"
    done = step(third.status, NEW, places(everywhere(NEW)), minutes=13)
    assert (done.status.phase, done.status.good, done.status.previous) == ("Complete", NEW, OLD)
    assert done.due_seconds is None


def test_a_cluster_that_is_silent_holds_nobody_up_and_has_its_order_when_it_comes_back() -> None:
    where = places(everywhere(OLD) | {"can": NEW}, silent=("lab-a",))
    began = RolloutStatus(commit=NEW, good=OLD, phase="Waiting", wave_began_at=NOW, wave_held_at=NOW)
    labs = step(began, NEW, where, minutes=10)
    assert labs.commits["lab-a"] == NEW
    rest = step(labs.status, NEW, places(everywhere(OLD) | {"can": NEW, "lab-b": NEW}, silent=("lab-a",)), minutes=11)
    assert rest.commits == everywhere(NEW)


def test_a_cluster_that_came_back_a_moment_ago_has_not_failed_yet() -> None:
    where = places(everywhere(OLD))
    late = [Place(p.cluster, p.labels, NOW + timedelta(minutes=59), p.row) if p.cluster == "can" else p for p in where]
    began = RolloutStatus(commit=NEW, good=OLD, phase="Rolling", wave_began_at=NOW)
    found = step(began, NEW, late, minutes=60)
    assert (found.status.phase, found.due_seconds) == ("Rolling", 240)


@pytest.mark.parametrize(
    ("phase", "commit", "minutes"), [("Failed", NEW, 1), ("Unenforceable", OLD, 1), ("Applied", OLD, 6)]
)
def test_what_fails_or_stalls_is_taken_back_and_not_tried_again(phase: str, commit: str, minutes: float) -> None:
    began = RolloutStatus(commit=NEW, good=OLD, phase="Rolling", wave_began_at=NOW)
    failed = step(began, NEW, places(everywhere(OLD) | {"can": commit}, can=phase), minutes=minutes)
    assert (failed.status.phase, failed.status.refused) == ("RolledBack", NEW)
    assert failed.commits == everywhere(OLD)
    assert "can" in failed.status.message
    again = step(failed.status, NEW, places(everywhere(OLD)), minutes=60)
    assert again.commits == everywhere(OLD)
    other = step(again.status, NEWER, places(everywhere(OLD)), minutes=61)
    assert (other.status.phase, other.commits) == ("Rolling", {"can": NEWER})


def test_a_set_that_only_halts_stays_where_it_is() -> None:
    spec = SPEC.model_copy(update={"on_failure": "Halt"})
    began = RolloutStatus(commit=NEW, good=OLD, phase="Rolling", wave_began_at=NOW)
    halted = step(began, NEW, places(everywhere(OLD), can="Failed"), minutes=6, spec=spec)
    assert (halted.status.phase, halted.commits) == ("Halted", {"can": NEW})


def test_a_wave_that_asks_begins_when_the_commit_is_approved_and_is_not_late_by_the_wait() -> None:
    spec = SPEC.model_copy(update={"waves": (SPEC.waves[0], SPEC.waves[1].model_copy(update={"approval": True}))})
    held = everywhere(OLD) | {"can": NEW}
    began = RolloutStatus(commit=NEW, good=OLD, phase="Waiting", wave_began_at=NOW, wave_held_at=NOW)
    asking = step(began, NEW, places(held), minutes=10, spec=spec, approved=OLD)
    assert (asking.status.phase, asking.commits) == ("AwaitingApproval", {"can": NEW})
    let_in = step(asking.status, NEW, places(held), minutes=600, spec=spec, approved=NEW)
    assert let_in.commits == {"can": NEW, "lab-a": NEW, "lab-b": NEW}
    assert (let_in.status.phase, let_in.due_seconds) == ("Rolling", 300)


def test_a_newer_commit_begins_with_the_first_wave_and_takes_nothing_back() -> None:
    under_way = RolloutStatus(commit=NEW, good=OLD, phase="Rolling", wave=1, wave_name="labs", wave_began_at=NOW)
    newer = step(under_way, NEWER, places(everywhere(NEW)))
    assert newer.commits == {"can": NEWER}
    assert newer.status.good == OLD


def test_a_cluster_that_is_new_gets_what_was_complete_while_its_wave_waits() -> None:
    where = places(everywhere(OLD) | {"far": ""})
    began = RolloutStatus(commit=NEW, good=OLD, phase="Rolling", wave_began_at=NOW)
    assert step(began, NEW, where).commits == {"can": NEW, "far": OLD}


@given(st.data())
def test_no_history_gives_a_wave_what_the_waves_before_it_do_not_hold(data: st.DataObject) -> None:
    """Clusters obey, fail, fall silent and come back as they like; commits come at any time."""
    status: RolloutStatus | None = None
    held, ordered, commit, minutes = everywhere(""), everywhere(""), OLD, 0.0
    for _ in range(data.draw(st.integers(1, 25))):
        minutes += data.draw(st.sampled_from((0.0, 1.0, 11.0)))
        commit = data.draw(st.sampled_from((commit, commit, commit, OLD, NEW, NEWER)))
        silent = tuple(data.draw(st.sets(st.sampled_from(sorted(LABELS)), max_size=2)))
        for name in data.draw(st.sets(st.sampled_from(sorted(LABELS)))):
            held[name] = ordered[name] if name not in silent else held[name]
        found = step(status, commit, places(held, silent=silent), minutes=minutes)
        status = found.status
        ordered |= found.commits
        assert found.due_seconds is None or found.due_seconds > 0
        if status.phase in ("Rolling", "Waiting") and status.good:
            behind = {name for name in LABELS if wave_of(SPEC, LABELS[name]) > status.wave}
            assert not any(found.commits.get(name) == status.commit for name in behind if status.commit != status.good)
        if status.phase == "RolledBack":
            assert found.commits == everywhere(status.good)
