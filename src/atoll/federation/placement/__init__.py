"""Placement: which cluster a job would finish on first, and why, in seconds.

Owns feasible → score → selected, the diagnosis and the decision record. Pure: it takes values and gives values, and
must not know how they were got or what is done with them.
"""

from atoll.federation.placement.case import Case
from atoll.federation.placement.decide import Choice, choose, decide
from atoll.federation.placement.decision import (
    ClusterTerms,
    Decision,
    StagedInput,
    Suggestion,
    Verdict,
    decided_at,
    outline,
    recorded_terms,
)
from atoll.federation.placement.demand import (
    DatasetKey,
    Demand,
    InputDemand,
    PodDemand,
    demand_of_job,
    duration_of_job,
    input_keys,
    pods_of_job,
)
from atoll.federation.placement.links import Links
from atoll.federation.placement.reasons import Reason
from atoll.federation.placement.speeds import relative_speed
from atoll.federation.placement.table import ClusterTable
from atoll.federation.placement.views import ClusterView, Occupation, StorageView, view_of_cluster

__all__ = [
    "Case", "Choice", "ClusterTable", "ClusterTerms", "ClusterView", "DatasetKey", "Decision", "Demand", "InputDemand",
    "Links", "Occupation", "PodDemand", "Reason", "StagedInput", "StorageView", "Suggestion", "Verdict", "choose",
    "decide", "decided_at", "demand_of_job", "duration_of_job", "input_keys", "outline", "pods_of_job",
    "recorded_terms", "relative_speed", "view_of_cluster",
]  # fmt: skip
