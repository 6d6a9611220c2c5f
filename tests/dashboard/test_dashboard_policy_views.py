"""What the policy pages make of policy sets: proof with its age, waves, and never more than was proven."""

from datetime import UTC, datetime, timedelta

import pytest

from atoll.federation.resources import PolicySet
from atoll.hub.dashboard.policy.deeds import DEEDS, earlier
from atoll.hub.dashboard.policy.matrix import matrix_of, summary_of, words_of
from atoll.hub.dashboard.policy.standing import standing_of
from atoll.hub.dashboard.policy.waves import rollout_of

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NEW, OLD, OLDER = "a" * 40, "b" * 40, "c" * 40


def ago(seconds):
    return (NOW - timedelta(seconds=seconds)).isoformat()


def row(cluster, phase="Applied", rung="Realized", commit=NEW, **fields):
    times = {name: ago(10 * (index + 1)) for index, name in enumerate(("applied", "valid", "realized", "resolved"))}
    proof = {"rung": rung, "nodes": 3, "realizedNodes": 3, "provenAt": times} if rung else None
    return {"cluster": cluster, "phase": phase, "commit": commit, "proof": proof, **fields}


def policyset(name="campus", *rows, rollout=None, waves=(), spec=None, **status):
    return PolicySet.model_validate(
        {
            "metadata": {"name": name},
            "spec": {"source": {"repository": "/git/p"}, "rollout": {"waves": list(waves)}, **(spec or {})},
            "status": {"commit": NEW, "clusters": list(rows), "rollout": rollout, **status},
        }
    )


def standing(**fields):
    return standing_of(policyset("s", row("c", **fields)).status.clusters[0], NEW)


def standings(made):
    return [standing_of(each, NEW) for each in made.status.clusters]


def matrix(*sets, **options):
    return matrix_of({each.metadata.name: standings(each) for each in sets}, **options)


def summary(*rows, **fields):
    made = policyset("a", *rows, **fields)
    return summary_of(made, standings(made))


class TestStanding:
    def test_a_rung_is_shown_with_the_time_of_its_own_proof(self):
        found = standing(rung="Valid")
        assert (found.word, found.height) == ("Valid", 2)
        assert found.proven_at == NOW - timedelta(seconds=20)
        assert [rung.is_proven for rung in found.rungs][:4] == [True, True, False, False]

    def test_a_rung_that_was_lost_keeps_its_time_and_is_not_proven(self):
        lost = standing(rung="Applied").rungs[2]
        assert (lost.is_proven, lost.proven_at) == (False, NOW - timedelta(seconds=30))

    @pytest.mark.parametrize("phase", ["Failed", "Drifted", "Unenforceable", "Unreachable", "Pending"])
    def test_no_rung_counts_while_the_phase_says_otherwise(self, phase):
        found = standing(phase=phase, rung="Resolved")
        assert (found.word, found.height) == (phase, 0)
        assert not any(rung.is_proven for rung in found.rungs)

    def test_a_cluster_that_holds_the_commit_and_has_proven_nothing_is_only_ordered(self):
        assert standing(rung=None).word == "Ordered"

    def test_an_older_commit_is_not_the_newest_however_well_it_is_proven(self):
        assert not standing(commit=OLD).is_newest
        assert standing().is_newest


class TestMatrix:
    def test_clusters_that_need_somebody_come_first_and_then_those_proven_least(self):
        sets = [
            policyset("a", row("fine"), row("bad"), row("low", rung="Applied")),
            policyset("b", row("bad", phase="Drifted"), row("fine")),
        ]
        found = matrix(*sets)
        assert found.columns == ("a", "b")
        assert [each.cluster for each in found.rows] == ["bad", "low", "fine"]
        assert found.rows[1].cells[1] is None

    def test_rows_can_be_filtered_by_name_and_by_what_is_wrong(self):
        sets = [policyset("a", row("lab-1"), row("lab-2", commit=OLD), row("hpc", widenedBy=["x"]), row("hpc-2"))]
        assert [each.cluster for each in matrix(*sets, text="LAB").rows] == ["lab-1", "lab-2"]
        assert [each.cluster for each in matrix(*sets, wanted="behind").rows] == ["lab-2"]
        assert [each.cluster for each in matrix(*sets, wanted="attention").rows] == ["hpc"]
        assert len(matrix(*sets, wanted="Realized").rows) == 4

    def test_more_sets_than_fit_are_counted(self):
        found = matrix(*(policyset(f"s{index:02}") for index in range(15)))
        assert (len(found.columns), found.hidden_columns) == (12, 3)

    def test_a_set_is_summed_up_by_states_the_best_proven_first_and_its_oldest_proof(self):
        found = summary(row("x"), row("y", rung="Resolved"), row("z", phase="Failed", commit=OLD))
        assert found.counts == (("Resolved", 1), ("Realized", 1), ("Failed", 1))
        assert found.oldest_proof_at == NOW - timedelta(seconds=40)
        assert found.behind == 1
        assert words_of([found, found])[0] == ("Resolved", 2)

    def test_the_trouble_of_the_source_is_told_before_that_of_the_rollout(self):
        wrong = {"type": "SourceReady", "status": "False", "reason": "SourceUnreadable", "message": "no route",
                 "lastTransitionTime": NOW.isoformat()}  # fmt: skip
        halted = {"phase": "Halted", "message": "wave lab: c failed"}
        assert summary(rollout=halted, conditions=[wrong]).problem == "no route"
        assert summary(rollout=halted).problem == "wave lab: c failed"


WAVES = (
    {"name": "canary", "clusters": {"matchLabels": {"ring": "0"}}},
    {"name": "labs", "clusters": {"matchLabels": {"ring": "1"}}, "approval": True, "proof": "Realized"},
)


class TestWaves:
    @pytest.mark.parametrize(
        ("phase", "wave", "states"),
        [
            ("Rolling", 0, ["current", "next", "next"]),
            ("AwaitingApproval", 1, ["held", "approval", "next"]),
            ("Waiting", 1, ["held", "waiting", "next"]),
            ("Halted", 1, ["held", "halted", "next"]),
            ("Complete", 2, ["held", "held", "held"]),
        ],
    )
    def test_each_wave_says_whether_it_was_is_or_comes(self, phase, wave, states):
        found = policyset(
            "a", row("c0"), row("c1"), row("c2"), waves=WAVES, rollout={"phase": phase, "wave": wave, "commit": NEW}
        )
        view = rollout_of(found, {"c0": {"ring": "0"}, "c1": {"ring": "1"}, "c2": {}})
        assert [each.state for each in view.waves] == states
        assert [each.name for each in view.waves] == ["canary", "labs", "rest"]

    def test_a_wave_counts_which_of_its_clusters_hold_the_commit(self):
        rows = row("c0"), row("c1", commit=OLD), row("c2", phase="Failed")
        found = policyset("a", *rows, waves=WAVES[:1], rollout={"phase": "Rolling", "commit": NEW})
        view = rollout_of(found, {f"c{n}": {"ring": "0"} for n in range(3)})
        assert [(each.clusters, each.holding) for each in view.waves] == [(3, 1)]

    def test_a_wave_that_asks_for_a_rung_counts_only_who_has_proven_it(self):
        rows = row("c1"), row("c2", rung="Valid"), row("c3", rung=None)
        found = policyset("a", *rows, waves=WAVES[1:], rollout={"phase": "Rolling", "commit": NEW})
        view = rollout_of(found, {f"c{n}": {"ring": "1"} for n in range(1, 4)})
        assert [(each.clusters, each.holding) for each in view.waves] == [(3, 1)]

    def test_without_waves_all_clusters_are_one(self):
        view = rollout_of(policyset("a", row("c"), rollout={"phase": "Complete", "commit": NEW}), {"c": {}})
        assert [(each.name, each.holding) for each in view.waves] == [("all at once", 1)]

    @pytest.mark.parametrize(
        ("good", "previous", "target"), [(OLD, OLDER, OLD), (NEW, OLD, OLD), (NEW, "", ""), ("", "", "")]
    )
    def test_a_rollback_goes_to_the_commit_that_was_complete_before(self, good, previous, target):
        rollout = {"phase": "Rolling", "commit": NEW, "good": good, "previous": previous}
        assert earlier(policyset("a", rollout=rollout).wire()) == target

    def test_what_is_pinned_has_no_waves_and_can_only_be_resumed(self):
        found = policyset("a", rollout={"phase": "AwaitingApproval", "commit": NEW, "good": OLD},
                          waves=WAVES, spec={"pinnedCommit": OLD})  # fmt: skip
        view = rollout_of(found, {})
        assert (view.waves, view.pinned) == ((), OLD)
        assert [word for word, deed in DEEDS.items() if not deed.moot(found.wire())] == ["resume"]

    def test_before_anything_was_read_there_is_no_rollout(self):
        assert rollout_of(policyset("a"), {}) is None
