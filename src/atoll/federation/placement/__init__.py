"""Placement: which cluster a job would finish on first, and why, in seconds.

Owns feasible → score → selected, the diagnosis and the decision record. Pure: it takes values and gives values, and
must not know how they were got or what is done with them.
"""

from atoll.federation.placement.case import Case
from atoll.federation.placement.claims import Claim, Claims, Openness, broken
from atoll.federation.placement.decide import Choice, choose, decide
from atoll.federation.placement.decision import (
    ClusterTerms,
    Decision,
    StagedInput,
    Suggestion,
    Verdict,
    decided_at,
    outline,
    record_of,
    recorded_claim,
    recorded_source,
    recorded_terms,
)
from atoll.federation.placement.demand import (
    DatasetKey,
    Demand,
    InputDemand,
    PodDemand,
    Pods,
    demand_of_job,
    duration_of_job,
    input_keys,
    pods_of_job,
)
from atoll.federation.placement.feasible import could_hold
from atoll.federation.placement.floor import Floor
from atoll.federation.placement.gangs import has_room, taken
from atoll.federation.placement.links import Links
from atoll.federation.placement.preemption import Candidate, Cost, cheapest, cost, is_room_sure
from atoll.federation.placement.prospects import Prospect, Scored
from atoll.federation.placement.reasons import Reason
from atoll.federation.placement.reservations import Keeping, amount, keepings, pieces
from atoll.federation.placement.shapes import Blocks
from atoll.federation.placement.speeds import relative_speed
from atoll.federation.placement.table import ClusterTable
from atoll.federation.placement.views import (
    ClusterView,
    Columns,
    Occupation,
    Occupations,
    StorageView,
    amounts_of_run,
    view_of_cluster,
)
from atoll.federation.placement.waiting import End, seconds_until_free

__all__ = [
    "Blocks", "Candidate", "Case", "Choice", "Claim", "Claims", "ClusterTable", "ClusterTerms", "ClusterView",
    "Columns", "Cost", "DatasetKey", "Decision", "Demand", "End", "Floor", "InputDemand", "Keeping", "Links",
    "Occupation", "Occupations", "Openness", "PodDemand", "Pods", "Prospect", "Reason", "Scored", "StagedInput",
    "StorageView", "Suggestion", "Verdict", "amount", "amounts_of_run", "broken", "cheapest", "choose", "cost",
    "could_hold", "decide", "decided_at", "demand_of_job", "duration_of_job", "has_room", "input_keys", "is_room_sure",
    "keepings", "outline", "pieces", "pods_of_job", "record_of", "recorded_claim", "recorded_source", "recorded_terms",
    "relative_speed", "seconds_until_free", "taken", "view_of_cluster",
]  # fmt: skip
