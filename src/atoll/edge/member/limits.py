"""Time limits of workloads whose kind has no field for one: nobody in the cluster keeps them, the agent does. Pure."""

from datetime import datetime

from atoll.edge.member.ordered import workloads_of
from atoll.edge.member.run_status import RunState
from atoll.federation.bus.messages import RunOrder
from atoll.federation.workloads import adapter_of, at_time_limit, time_limit_of


def at_limit(order: RunOrder, state: RunState, now: datetime) -> RunState | None:
    """Tell how a run ends whose time is over; None while it is not."""
    if state.is_finished or seconds_left(order, state, now) > 0:
        return None
    end = at_time_limit(workloads_of(order)[0])
    return RunState(end.phase, end.reason, end.message)


def seconds_left(order: RunOrder, state: RunState, now: datetime) -> float:
    """Give the seconds that are left of a limit that the agent keeps; infinite if there is none or it has not begun."""
    limits = [time_limit_of(each) for each in workloads_of(order) if adapter_of(each).time_limit is None]
    limit = min((each for each in limits if each is not None), default=None)
    if limit is None or state.started_at is None:
        return float("inf")
    return limit - (now - state.started_at).total_seconds()
