"""The score of every cluster: when the job would have finished there, in seconds, money included.

total = max(wait, staging) + run + idle + money * the queue's seconds per currency. Waiting and staging overlap, since
inputs can move while the capacity is still taken. Inputs move one after the other over the same downlink. Idle is a
price, as money is one: for the room and the links that others go without while inputs come (ADR 0009).
"""

from dataclasses import dataclass

import numpy as np

from atoll.federation.placement.case import Case
from atoll.federation.placement.shapes import Floats

_HOUR_SECONDS = 3600.0
# What a second of staging costs others, in seconds of the job: about how likely it is that somebody else would have
# used the room (ADR 0009). With less, jobs pull data about to start a little sooner; with more, they stay with their
# data although there is room elsewhere, and wait longer.
_IDLE_PRICE = 0.5
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
    idle: Floats
    total: Floats


def score(case: Case) -> Terms:
    """Score every cluster, feasible or not."""
    demand, table = case.demand, case.table
    staging = sum((stage.seconds for stage in case.staging), np.zeros(len(table)))
    egress = sum((stage.money for stage in case.staging), np.zeros(len(table)))
    speed = _speeds(case)
    run = demand.duration_seconds / speed
    hourly = table.gpu_hour * demand.gpus + table.cpu_hour * (demand.millicores / 1000)
    with np.errstate(over="ignore"):
        money = np.minimum(egress + hourly * run / _HOUR_SECONDS, _MOST)
        money_seconds = np.minimum(money * demand.seconds_per_currency, _MOST)
    idle = _IDLE_PRICE * staging
    total = np.maximum(case.wait_seconds, staging) + run + money_seconds + idle
    return Terms(case.wait_seconds, staging, run, speed, money, money_seconds, idle, total)


def _speeds(case: Case) -> Floats:
    """Give each cluster's GPU speed relative to the GPU that the expected duration is meant for.

    A cluster counts as fast as the slowest of its suitable GPUs: its own scheduler chooses the node, and pods that work
    together go at the pace of the slowest. Work without GPUs runs equally fast everywhere.
    """
    demand, shapes = case.demand, case.table.shapes
    if not demand.gpus:
        return np.ones(len(case.table))
    usable = np.zeros(len(shapes.nodes), np.bool_)
    for part in case.parts if demand.beside else (case,):
        if part.demand.gpus:
            usable |= part.suitable.labels & shapes.holding(part.demand.pod.resources, shapes.whole)
    slowest = shapes.lowest(np.where(usable, _row_speeds(case), np.inf))
    return np.where(np.isfinite(slowest), slowest, 1.0) / demand.reference_speed


def _row_speeds(case: Case) -> Floats:
    """Give the relative GPU speed of each row: as this very work ran there, else as data sheets say."""
    shapes, demand = case.table.shapes, case.demand
    if not demand.speeds:
        return shapes.speeds()
    speeds = [demand.speed_of(sort.gpu_model) if sort.gpu_model else None for sort in shapes.sorts]
    return np.array([speed or 1.0 for speed in speeds], np.float64)[shapes.sort_of]
