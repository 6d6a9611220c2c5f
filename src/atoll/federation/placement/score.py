"""The score of every cluster: when the job would have finished there, in seconds, money included.

total = max(wait, staging) + run + money * the queue's seconds per currency. Waiting and staging overlap, since inputs
can move while the capacity is still taken. Inputs move one after the other over the same downlink.
"""

from dataclasses import dataclass

import numpy as np

from atoll.federation.placement.case import Case
from atoll.federation.placement.shapes import Floats
from atoll.federation.placement.speeds import relative_speed

_HOUR_SECONDS = 3600.0
# Absurd prices count as this much: sums stay finite, so that every total can be compared and written as JSON.
_MOST = 1e15


@dataclass(frozen=True)
class Terms:
    """The terms of every cluster; infinite where the term cannot be told. Times are seconds."""

    wait: Floats
    staging: Floats
    run: Floats
    speed: Floats
    money: Floats
    money_seconds: Floats
    total: Floats


def score(case: Case) -> Terms:
    """Score every cluster, feasible or not."""
    demand, table = case.demand, case.table
    staging = sum((stage.seconds for stage in case.staging), np.zeros(len(table)))
    egress = sum((stage.money for stage in case.staging), np.zeros(len(table)))
    speed = _speeds(case)
    run = demand.duration_seconds / speed
    hourly = table.gpu_hour * demand.gpus + table.cpu_hour * (demand.pod.resources.millicores * demand.count / 1000)
    with np.errstate(over="ignore"):
        money = np.minimum(egress + hourly * run / _HOUR_SECONDS, _MOST)
        money_seconds = np.minimum(money * demand.seconds_per_currency, _MOST)
    total = np.maximum(case.wait_seconds, staging) + run + money_seconds
    return Terms(case.wait_seconds, staging, run, speed, money, money_seconds, total)


def _speeds(case: Case) -> Floats:
    """Give each cluster's GPU speed relative to the GPU that the expected duration is meant for.

    A cluster counts as fast as the slowest of its suitable GPUs: its own scheduler chooses the node, and pods that work
    together go at the pace of the slowest. Work without GPUs runs equally fast everywhere.
    """
    demand, shapes = case.demand, case.table.shapes
    if not demand.gpus:
        return np.ones(len(case.table))
    usable = case.suitable.labels & shapes.holding(demand.pod.resources, shapes.whole)
    slowest = shapes.lowest(np.where(usable, shapes.speeds(), np.inf))
    return np.where(np.isfinite(slowest), slowest, 1.0) / reference_speed(demand.duration_gpu)


def reference_speed(model: str | None) -> float:
    """Give the relative speed of the GPU that a duration is meant for; 1.0 where none is named or known."""
    return (relative_speed(model) or 1.0) if model else 1.0
