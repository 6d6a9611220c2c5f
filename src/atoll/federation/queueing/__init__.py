"""Queueing: who may start next. The tree of queues, its limits and guarantees, and fair turns between queues.

Owns may-start, the order, and the accounts of queues. Pure: it takes values and gives values; on which cluster a job
goes is placement's matter, and nothing here stops work that runs.
"""

from atoll.federation.queueing.accounts import Soundness, borrowed, fair_shares, held, share, soundness
from atoll.federation.queueing.amounts import Axes, Vector, base_of, written
from atoll.federation.queueing.limits import Obstacle, obstacle, refused_priority
from atoll.federation.queueing.shares import Measure, Past, past_at, past_use
from atoll.federation.queueing.tree import Grant, Holder, QueueTree, lineage
from atoll.federation.queueing.turns import Turns

__all__ = [
    "Axes", "Grant", "Holder", "Measure", "Obstacle", "Past", "QueueTree", "Soundness", "Turns", "Vector", "base_of",
    "borrowed", "fair_shares", "held", "lineage", "obstacle", "past_at", "past_use", "refused_priority", "share",
    "soundness", "written",
]  # fmt: skip
