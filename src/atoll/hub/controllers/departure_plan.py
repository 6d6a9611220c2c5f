"""How a cluster leaves: from what is known of it to the next step. Pure.

Its runs end or go elsewhere, as in a drain; its orders are taken back; its agent clears the rest.
A cluster that is silent is waited for until its time is over: what it holds then stays there, and is named.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from atoll.federation.bus.farewell import FarewellOrder, FarewellReport, Leftover
from atoll.federation.capacity import parse_duration
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import Cluster, Run
from atoll.federation.resources.cluster import ClusterSpec

LEAVING = "Leaving"
# How a leave shall be done: what `atoll cluster leave` was told, on the object before it is deleted.
FORCE_ANNOTATION, DELETE_DATA_ANNOTATION = "atoll.dev/leave-force", "atoll.dev/leave-delete-data"
TIMEOUT_ANNOTATION = "atoll.dev/leave-timeout"
# Long enough for a node that reboots and for an image that is pulled, short enough for the one who waits.
_TIMEOUT = timedelta(minutes=10)
_SHOWN = 5


@dataclass(frozen=True)
class Departure:
    """A cluster that is deleted: its runs that are not over, what is ordered and reported, and its farewell so far."""

    cluster: Cluster
    runs: tuple[Run, ...] = ()
    orders: tuple[str, ...] = ()
    reported: tuple[str, ...] = ()
    order: FarewellOrder | None = None
    report: FarewellReport | None = None


@dataclass(frozen=True)
class Step:
    """What to do now, in the order of the fields. After the last step the cluster is no member any more."""

    reason: str
    message: str
    spec: ClusterSpec | None = None
    withdraw: tuple[str, ...] = ()
    order: FarewellOrder | None = None
    kept: tuple[Leftover, ...] = ()
    is_last: bool = False
    again_seconds: float | None = None


def plan_departure(departure: Departure, now: datetime) -> Step:
    """Decide the next step."""
    cluster = departure.cluster
    status, force = cluster.status, _says(cluster, FORCE_ANNOTATION)
    if status.last_proven_at is None and not departure.reported:
        return Step("Left", "its agent was never heard", is_last=True)
    if status.is_silent:
        return _wait_for_silent(departure, now, force=force)
    drained = cluster.spec.model_copy(update={"draining": True, "evict": "All" if force else cluster.spec.evict})
    spec = drained if drained != cluster.spec else None
    if departure.runs:
        count = len(departure.runs)
        remedy = "" if force else f"; 'atoll cluster leave {cluster.metadata.name} --force' stops them"
        return Step("Draining", f"waiting for {count} run{'s'[: count != 1]}{remedy}", spec=spec)
    return replace(_clear(departure, now), spec=spec)


def _wait_for_silent(departure: Departure, now: datetime, *, force: bool) -> Step:
    cluster = departure.cluster
    since = cluster.status.silent_since
    silence = f"not heard since {since:%Y-%m-%d %H:%M:%S} UTC" if since is not None else "not heard"
    deadline = _deadline(departure, now)
    if force or deadline <= now:
        return Step("Left", silence, kept=_abandoned(departure, silence), is_last=True)
    message = f"{silence}; at {deadline:%H:%M:%S} UTC it is sent away without being cleared"
    return Step("Silent", message, again_seconds=(deadline - now).total_seconds())


def _clear(departure: Departure, now: datetime) -> Step:
    """Have the cluster cleared once every order was taken back."""
    cluster, order, report = departure.cluster, departure.order, departure.report
    if departure.orders:
        # Of a run that is over the order stands until somebody deletes the run; all others are their controllers'.
        over = tuple(rest for rest in departure.orders if rest.startswith("run/"))
        return Step("Withdrawing", f"taking back {_some(departure.orders)}", withdraw=over)
    ident = cluster.metadata.uid or ""
    if order is None or order.id != ident:
        wanted = FarewellOrder(id=ident, delete_data=_says(cluster, DELETE_DATA_ANNOTATION), at=now)
        return Step("Clearing", "the agent is told to clear the cluster", order=wanted, again_seconds=1.0)
    if report is not None and report.id == ident and report.is_done:
        return Step("Left", f"removed {_some(report.removed)}", kept=report.kept, is_last=True)
    deadline = _deadline(departure, now)
    if deadline <= now:
        problem = "its agent did not clear it in time"
        return Step("Left", problem, kept=_abandoned(departure, problem), is_last=True)
    going = report.waiting_for if report is not None and report.id == ident else ()
    message = f"waiting for {_some(going)}" if going else "waiting for the agent"
    return Step("Clearing", message, again_seconds=(deadline - now).total_seconds())


def _abandoned(departure: Departure, why: str) -> tuple[Leftover, ...]:
    """Name what the agent reported last, and itself: nothing else is known to be there."""
    agent = Leftover(what="the agent", why="remove it by hand: it cannot reach the hub any more")
    return (*(Leftover(what=rest.replace("/", " ", 1), why=why) for rest in departure.reported), agent)


def _deadline(departure: Departure, now: datetime) -> datetime:
    """Give until when an answer is waited for: some time after the newest thing that was asked."""
    deleted_at = departure.cluster.metadata.deletion_timestamp or now
    asked_at = departure.order.at if departure.order is not None else deleted_at
    return max(deleted_at, asked_at) + _timeout(departure.cluster)


def _timeout(cluster: Cluster) -> timedelta:
    try:
        return timedelta(seconds=parse_duration(cluster.metadata.annotations[TIMEOUT_ANNOTATION]))
    except (KeyError, InvalidInput):
        return _TIMEOUT


def _says(cluster: Cluster, annotation: str) -> bool:
    return cluster.metadata.annotations.get(annotation) == "true"


def _some(names: tuple[str, ...]) -> str:
    """List a few of many."""
    more = len(names) - _SHOWN
    return (", ".join(names[:_SHOWN]) or "nothing") + (f" and {more} more" if more > 0 else "")
