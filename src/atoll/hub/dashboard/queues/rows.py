"""Rows of queues, read from the stored object. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.federation.resources import Queue
from atoll.hub.dashboard.rows import Shelf
from atoll.kubeapi.resource import Object


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One budget: its period, and the largest part of it that is spent, and that is expected to be beside that."""

    period: str
    spent: float
    expected: float
    word: str


@dataclass(frozen=True, slots=True)
class QueueRow:
    """One queue. GPUs: what it holds, is guaranteed, and may hold at most (None: unlimited)."""

    name: str
    parent: str = ""
    weight: int = 1
    pending: int = 0
    barred: int = 0
    running: int = 0
    used_gpus: int = 0
    guaranteed_gpus: int | None = None
    limit_gpus: int | None = None
    share: float = 0.0
    fair_share: float = 0.0
    most_running: int | None = None
    budgets: tuple[BudgetRow, ...] = ()
    problems: tuple[str, ...] = ()


def read_queue(obj: Object) -> QueueRow:
    """Read a stored Queue."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    quota = spec.get("quota") or {}
    limit = (quota.get("limit") or {}).get("gpus")
    return QueueRow(
        name=obj["metadata"]["name"],
        parent=spec.get("parent") or "",
        weight=spec.get("weight", 1),
        pending=status.get("pending", 0),
        barred=status.get("barred", 0),
        running=status.get("running", 0),
        used_gpus=status.get("usedGpus", 0),
        guaranteed_gpus=(quota.get("guaranteed") or {}).get("gpus"),
        limit_gpus=spec.get("maxGpus") if limit is None else limit,
        share=status.get("share", 0.0),
        fair_share=status.get("fairShare", 0.0),
        most_running=spec.get("maxRunningJobs"),
        budgets=tuple(_budget(each, found) for each, found in _budgets(spec, status)),
        problems=tuple(_problem(each) for each in status.get("conditions", ()) if each.get("status") == "False"),
    )


def _budgets(spec: Mapping[str, Any], status: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    return list(zip(spec.get("budgets", ()), status.get("budgets", ()), strict=False))


def _budget(budget: Mapping[str, Any], found: Mapping[str, Any]) -> BudgetRow:
    """Find the amount of which the largest part is spent: it is the one that ends the budget."""
    spent, expected = found.get("spent") or {}, found.get("expected") or {}
    parts = [
        (
            spent.get(name, 0.0) / most,
            expected.get(name, 0.0) / most,
            f"{spent.get(name, 0.0):.6g} of {most:.6g} {name}",
        )
        for name, most in budget.items()
        if isinstance(most, int | float) and not isinstance(most, bool) and most > 0
    ]
    part = max(parts, default=(0.0, 0.0, ""))
    return BudgetRow(str(budget.get("period", "")), *part)


def _problem(condition: Mapping[str, Any]) -> str:
    return f"{condition.get('reason', '')}: {condition.get('message', '')}"


QUEUES: Shelf[QueueRow] = Shelf(Queue, read_queue)
