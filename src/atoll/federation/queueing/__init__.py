"""Queueing: who may start next. The tree of queues, its limits and guarantees, and fair turns between queues.

Owns may-start, the order, and the accounts of queues. Pure: it takes values and gives values; on which cluster a job
goes is placement's matter, and nothing here stops work that runs.
"""

from atoll.federation.queueing.accounts import Soundness, borrowed, fair_shares, guaranteed, held, share, soundness
from atoll.federation.queueing.amounts import Axes, Vector, base_of, written
from atoll.federation.queueing.budgets import Account, BudgetObstacle, Budgets, Days, Outlook, Period, period_at
from atoll.federation.queueing.limits import Obstacle, is_within, obstacle, refused_priority
from atoll.federation.queueing.rights import Grounds, Party, Rights, without
from atoll.federation.queueing.shares import Measure, Past, past_at, past_use
from atoll.federation.queueing.spending import Spending, spoken
from atoll.federation.queueing.tree import Grant, Holder, QueueTree, lineage
from atoll.federation.queueing.turns import Line, Turns
from atoll.federation.queueing.users import UserObstacle, UserTallies

__all__ = [
    "Account", "Axes", "BudgetObstacle", "Budgets", "Days", "Grant", "Grounds", "Holder", "Line", "Measure", "Obstacle",
    "Outlook", "Party", "Past", "Period", "QueueTree", "Rights", "Soundness", "Spending", "Turns", "UserObstacle",
    "UserTallies", "Vector", "base_of", "borrowed", "fair_shares", "guaranteed", "held", "is_within", "lineage",
    "obstacle", "past_at", "past_use", "period_at", "refused_priority", "share", "soundness", "spoken", "without",
    "written",
]  # fmt: skip
