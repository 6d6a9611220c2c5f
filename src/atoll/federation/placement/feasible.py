"""Feasible or not: every check on every cluster, and every reason why not."""

import numpy as np

from atoll.federation.placement.case import Case
from atoll.federation.placement.check_cluster import CLUSTER_CHECKS
from atoll.federation.placement.check_data import DATA_CHECKS
from atoll.federation.placement.check_nodes import NODE_CHECKS
from atoll.federation.placement.reasons import Check, Reason
from atoll.federation.placement.shapes import Bools

CHECKS: tuple[Check, ...] = (*CLUSTER_CHECKS, *NODE_CHECKS, *DATA_CHECKS)


def obstacles(case: Case) -> Bools:
    """Run every check; the row of a check tells which clusters fail it."""
    return np.array([check.fails(case) for check in CHECKS], np.bool_).reshape(len(CHECKS), len(case.table))


def feasible(case: Case) -> Bools:
    """Tell which clusters could take the job, now or when capacity becomes free.

    The same answer as `obstacles`, sooner: a cluster that passes no check of its nodes has no known wait.
    """
    result = np.isfinite(case.wait_seconds)
    for check in (*CLUSTER_CHECKS, *DATA_CHECKS):
        result &= ~check.fails(case)
    return result


def reasons(case: Case, position: int, failed: Bools) -> tuple[Reason, ...]:
    """Give every reason why not of one cluster, out of what `obstacles` found."""
    return tuple(check.at(case, position) for check, fails in zip(CHECKS, failed[:, position], strict=True) if fails)


def could_hold(case: Case) -> Bools:
    """Tell which clusters could take the job if less ran there."""
    result = np.asarray(case.room_empty >= case.demand.count)
    for check in (*CLUSTER_CHECKS, *DATA_CHECKS):
        result = result & ~check.fails(case)
    return result
