"""Workloads: every kind of work that Atoll runs, as a small mapping of paths, and what can be read and written by it.

Owns which kinds are known, where in each the pods, their numbers, the fields of suspending, queueing and time limits
and the status stand. A kind is data (kubernetes.py, training.py, engines.py); the code beside it knows none. Standard
library and capacity only; it must not know where work runs or what decided that.
"""

from atoll.federation.workloads.adapter import Adapter, StatePhase
from atoll.federation.workloads.additions import Additions, with_additions
from atoll.federation.workloads.editing import (
    TIME_LIMIT_SECONDS,
    Engine,
    can_suspend,
    is_suspended,
    kinds_of,
    pod_selector,
    time_limit_of,
    with_annotations,
    with_engine,
    with_labels,
    with_suspend,
    with_time_limit,
)
from atoll.federation.workloads.groups import MAX_PODS, PodGroup, check, pod_groups
from atoll.federation.workloads.isolation import DEFAULT_LEVEL, LEVEL_LABEL, Level, breaches, level_of
from atoll.federation.workloads.kubernetes import SUSPENDED_GATE
from atoll.federation.workloads.pods import is_live_pod
from atoll.federation.workloads.registry import ADAPTERS, adapter_of, is_adapted, known_kinds
from atoll.federation.workloads.state import State, at_time_limit, state_of, state_of_all

__all__ = [
    "ADAPTERS", "DEFAULT_LEVEL", "LEVEL_LABEL", "MAX_PODS", "SUSPENDED_GATE", "TIME_LIMIT_SECONDS", "Adapter",
    "Additions", "Engine", "Level", "PodGroup", "State", "StatePhase", "adapter_of", "at_time_limit", "breaches",
    "can_suspend", "check", "is_adapted", "is_live_pod", "is_suspended", "kinds_of", "known_kinds", "level_of",
    "pod_groups", "pod_selector", "state_of", "state_of_all", "time_limit_of", "with_additions", "with_annotations",
    "with_engine", "with_labels", "with_suspend", "with_time_limit",
]  # fmt: skip
