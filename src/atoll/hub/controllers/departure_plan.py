"""How a cluster leaves: from what is known of it to the next step. Pure.

Its runs end or go elsewhere, as in a drain; its orders are taken back; its agent clears the rest.
A cluster that is silent is waited for until its time is over: what it holds then stays there, and is named.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from atoll.federation.bus.farewell import FarewellOrder, FarewellReport, Leftover
from atoll.federation.capacity import parse_duration
from atoll.federation.errors import InvalidInput
from atoll.federation.holdings import Holdings
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
    """A cluster that is deleted: its runs that are not over, what is ordered and reported, and its farewell so far.

    `leased` are the runs whose jobs fail over, and which may be running: `<namespace>/<name>`.
    """

    cluster: Cluster
    runs: tuple[Run, ...] = ()
    leased: tuple[str, ...] = ()
    holdings: Holdings | None = None
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
        if departure.leased:  # that it left says nothing of what it runs: see docs/adr/0021; their ends wake the key
            waits = f"waiting until {_some(departure.leased)} cannot be running there any more: lossPolicy Failover"
            return Step("Fencing", f"{silence}; {waits}")
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
        wanted = FarewellOrder(id=ident, delete_data=_deletes_data(departure), at=now)
        return Step("Clearing", "the agent is told to clear the cluster", order=wanted, again_seconds=1.0)
    if report is not None and report.id == ident and report.is_done:
        removed = f"removed {_some(report.removed)}" if report.removed else "nothing of what it had was left to remove"
        return Step("Left", removed, kept=report.kept, is_last=True)
    deadline = _deadline(departure, now)
    if deadline <= now:
        problem = "its agent did not clear it in time"
        return Step("Left", problem, kept=_abandoned(departure, problem), is_last=True)
    going = report.waiting_for if report is not None and report.id == ident else ()
    message = f"waiting for {_some(going)}" if going else "waiting for the agent"
    return Step("Clearing", message, again_seconds=(deadline - now).total_seconds())


def warnings_of(departure: Departure) -> tuple[tuple[str, str], ...]:
    """Give what whoever deletes the cluster should know at once, as reasons and sentences."""
    held = departure.holdings
    if held is None:
        return ()
    found = []
    if held.streams:
        found.append(("HomeLeaves", f"{held.of_streams()}: nothing of them is written until it is another one"))
    if held.only_copies:
        end = "it is deleted" if _deletes_data(departure) else "it stays there, and nobody reaches it any more"
        found.append(("OnlyCopy", f"{held.of_copies()}: {end}"))
    return tuple(found)


def _deletes_data(departure: Departure) -> bool:
    """Tell whether volumes with datasets go; what is whole nowhere else, only by force."""
    cluster, held = departure.cluster, departure.holdings
    is_alone = held is not None and bool(held.only_copies)
    return _says(cluster, DELETE_DATA_ANNOTATION) and (not is_alone or _says(cluster, FORCE_ANNOTATION))


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
