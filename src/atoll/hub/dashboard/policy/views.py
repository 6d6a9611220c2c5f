"""The pages of policy sets: all of them against the clusters, and one with its rollout and its ladders. Pure.

Owns what is on them and how much of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.federation.resources.policyset import PolicySetStatus
from atoll.federation.resources.policyset_plan import PolicyPlan
from atoll.hub.dashboard.actions import Action, offered
from atoll.hub.dashboard.ask import Ask
from atoll.hub.dashboard.paging import Paged, paged
from atoll.hub.dashboard.policy.deeds import DEEDS, earlier
from atoll.hub.dashboard.policy.matrix import MatrixRow, SetSummary, matrix_of, words_of
from atoll.hub.dashboard.policy.shelves import SetScope, SetsScope
from atoll.hub.dashboard.policy.standing import WORDS, Standing, Word, is_wanted, rank
from atoll.hub.dashboard.policy.waves import RolloutView, rollout_of

_ROWS = 60
_TROUBLES = frozenset({"Widened", "RolloutFailed"})  # conditions that are well when they are False
WANTED = ("", "attention", "behind", *reversed(WORDS))


@dataclass(frozen=True)
class SetsPage:
    """Clusters x policy sets; `words` counts the cells of all sets."""

    summaries: Sequence[SetSummary]
    words: Sequence[tuple[Word, int]]
    columns: Sequence[str]
    hidden_columns: int
    rows: Paged[MatrixRow]
    text: str
    wanted: str
    only: str
    clusters: int


@dataclass(frozen=True)
class SetPage:
    """One policy set. A rollback `goes_back_to` a commit; `plan` is what the one that is rolled out does, if known."""

    summary: SetSummary
    rollout: RolloutView | None
    goes_back_to: str
    plan: PolicyPlan | None
    ladders: Paged[Standing]
    text: str
    wanted: str
    actions: Sequence[Action]
    conditions: Sequence[tuple[str, str]]


def view_sets(scope: SetsScope, ask: Ask) -> SetsPage:
    """Make the page of all sets."""
    text, wanted, only = ask.text("q"), ask.choice("show", WANTED), ask.text("set")
    chosen = {name: row.standings for name, row in scope.sets.items() if only in ("", name)}
    matrix = matrix_of(chosen, text=text, wanted=wanted)
    summaries = sorted((row.summary for row in scope.sets.values()), key=lambda each: (each.ready, each.name))
    clusters = {standing.cluster for row in scope.sets.values() for standing in row.standings}
    return SetsPage(
        summaries=summaries,
        words=words_of(summaries),
        columns=matrix.columns,
        hidden_columns=matrix.hidden_columns,
        rows=paged(matrix.rows, ask.number("page"), size=_ROWS),
        text=text,
        wanted=wanted,
        only=only,
        clusters=len(clusters),
    )


def view_set(scope: SetScope, ask: Ask) -> SetPage:
    """Make the page of one set."""
    policyset, text, wanted = scope.row.policyset, ask.text("q"), ask.choice("show", WANTED)
    chosen = [each for each in scope.row.standings if text.lower() in each.cluster and is_wanted(each, wanted)]
    return SetPage(
        summary=scope.row.summary,
        rollout=rollout_of(policyset, scope.labels),
        goes_back_to="" if policyset.spec.pinned_commit else earlier(scope.row.stored),
        plan=_plan(policyset.status),
        ladders=paged(sorted(chosen, key=lambda each: (rank(each), each.cluster)), ask.number("page"), size=_ROWS),
        text=text,
        wanted=wanted,
        actions=offered(ask, DEEDS, scope.row.stored),
        conditions=[
            (each.type, each.message or each.reason)
            for each in policyset.status.conditions
            if (each.status == "True") is (each.type in _TROUBLES)
        ],
    )


def _plan(status: PolicySetStatus) -> PolicyPlan | None:
    commit = status.rollout.commit if status.rollout is not None else ""
    return status.plan if status.plan is not None and status.plan.commit == commit else None
