"""Clusters x policy sets: what is proven where. Pure.

Owns the rows of the matrix, their order and filter, and the bar that sums a set up however many clusters it has.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from atoll.federation.resources import PolicySet
from atoll.hub.dashboard.policy.standing import WORDS, Standing, Word, is_wanted, rank
from atoll.policies.remotes.url import public_url

# Columns that can be told apart on a wide screen; others are a filter away.
MOST_COLUMNS = 12


@dataclass(frozen=True)
class SetSummary:
    """One policy set: how many clusters stand where, and what keeps it from being ready."""

    name: str
    repository: str
    revision: str
    path: str
    commit: str
    committed_at: datetime | None
    manifests: int
    pinned: str
    observes_only: bool
    is_signed: bool
    clusters: int
    counts: tuple[tuple[Word, int], ...]
    uniform: bool
    behind: int
    oldest_proof_at: datetime | None
    ready: bool
    problem: str
    rollout: str
    wave: str
    widened: int


@dataclass(frozen=True)
class MatrixRow:
    """One cluster; `cells` are in the order of the columns, None where the set does not mean the cluster."""

    cluster: str
    cells: tuple[Standing | None, ...]


@dataclass(frozen=True)
class Matrix:
    """The rows that are wanted, the clusters that need somebody first."""

    columns: tuple[str, ...]
    hidden_columns: int
    rows: tuple[MatrixRow, ...]


def summary_of(policyset: PolicySet, standings: Sequence[Standing]) -> SetSummary:
    """Sum a set up; `standings` are those of all its clusters."""
    spec, status = policyset.spec, policyset.status
    counts = Counter(standing.word for standing in standings)
    proofs = [standing.proven_at for standing in standings if standing.proven_at is not None]
    rollout = status.rollout
    ready = next((each for each in status.conditions if each.type == "Ready"), None)
    return SetSummary(
        name=policyset.metadata.name,
        repository=public_url(spec.source.repository),
        revision=spec.source.revision,
        path=spec.source.path,
        commit=status.commit,
        committed_at=status.committed_at,
        manifests=status.manifests,
        pinned=spec.pinned_commit or "",
        observes_only=spec.mode == "ObserveOnly",
        is_signed=spec.source.signed_by is not None,
        clusters=len(standings),
        counts=tuple((word, counts[word]) for word in reversed(WORDS) if counts[word]),
        uniform=status.uniform,
        behind=sum(not standing.is_newest for standing in standings),
        oldest_proof_at=min(proofs, default=None),
        ready=ready is not None and ready.status == "True",
        problem=_problem(policyset),
        rollout=rollout.phase if rollout is not None else "",
        wave=rollout.wave_name if rollout is not None else "",
        widened=sum(bool(standing.widened_by) for standing in standings),
    )


def matrix_of(sets: Mapping[str, Sequence[Standing]], *, text: str = "", wanted: str = "") -> Matrix:
    """Give the matrix of sets.

    Args:
        sets: by name, the states of each set's clusters; of too many sets the first by name are the columns.
        text: part of the names of the clusters that are wanted.
        wanted: which cells a row must have one of; see `is_wanted`.
    """
    names = tuple(sorted(sets))[:MOST_COLUMNS]
    found: dict[str, dict[str, Standing]] = {}
    for name in names:
        for standing in sets[name]:
            found.setdefault(standing.cluster, {})[name] = standing
    rows = [
        MatrixRow(cluster, tuple(cells.get(name) for name in names))
        for cluster, cells in found.items()
        if text.lower() in cluster and any(is_wanted(cell, wanted) for cell in cells.values())
    ]
    return Matrix(names, len(sets) - len(names), tuple(sorted(rows, key=_row_rank)))


def _row_rank(row: MatrixRow) -> tuple[int, str]:
    return min((rank(cell) for cell in row.cells if cell is not None), default=len(WORDS)), row.cluster


def _problem(policyset: PolicySet) -> str:
    """Give what a person should read first: the source's trouble, then what halts the rollout."""
    status = policyset.status
    source = next((each for each in status.conditions if each.type == "SourceReady"), None)
    if source is not None and source.status != "True":
        return source.message or source.reason
    rollout = status.rollout
    return rollout.message if rollout is not None and rollout.phase in ("Halted", "RolledBack") else ""


def words_of(summaries: Iterable[SetSummary]) -> tuple[tuple[Word, int], ...]:
    """Add up the states of all sets, the best proven first."""
    total: Counter[Word] = Counter()
    for summary in summaries:
        total.update(dict(summary.counts))
    return tuple((word, total[word]) for word in reversed(WORDS) if total[word])
