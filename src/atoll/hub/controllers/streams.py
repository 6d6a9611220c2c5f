"""Streams: the sink of the home cluster is told of each; the gateway's ledger becomes Stream.status.

Owns the order `stream/<namespace>/<name>` of the home cluster, and Stream.status.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from atoll.federation.bus.data_messages import CommittedReport, DatasetReport, GatewayReport, StreamOrder
from atoll.federation.bus.log import LogTrimmer
from atoll.federation.bus.subjects import lab_stream
from atoll.federation.errors import NotFound
from atoll.federation.resources import Cluster, Stream, StreamLedger, StreamStatus
from atoll.federation.resources.stream_files import StreamFiles
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.runtime import DONE, Key, Messages, Objects, Outcome, RequeueAfter, Source, own_key
from atoll.hub.members import Path

# The log is made with its Gateway, which may come later, and a sink waits for it meanwhile.
_LOG_SECONDS = 1.0


def plan_status(stream: Stream, report: GatewayReport | None, datasets: Iterable[DatasetReport]) -> StreamStatus:
    """Give a stream's counters as its gateway and its sink report them; they never go back."""
    old = stream.status
    mine = next((row for row in report.ledger if row.stream == stream.key), None) if report is not None else None
    fed = [dataset for dataset in datasets if _feeds(stream, dataset)]
    newest = max(fed, key=lambda dataset: (dataset.at, dataset.dataset), default=None)
    return old.model_copy(
        update={
            "received": max(old.received, mine.received if mine is not None else 0),
            "committed": max(old.committed, mine.committed if mine is not None else 0),
            **_counts(old, mine),
            "files": _files_of(stream, report) or old.files,
            "dataset": newest.dataset if newest is not None else old.dataset,
            "observed_generation": stream.metadata.generation,
        }
    )


def with_writing(status: StreamStatus, stream: Stream, report: CommittedReport | None, now: datetime) -> StreamStatus:
    """Add whether the sink of its home can write what comes; unknown before the sink has said anything of it."""
    commits = report.commits if report is not None else ()
    mine = next((commit for commit in commits if commit.stream == stream.metadata.name), None)
    problem = mine.problem if mine is not None else ""
    conditions = with_condition(
        status.conditions,
        "Writing",
        None if mine is None else not problem,
        reason="NothingSaid" if mine is None else ("VolumeRefuses" if problem else "NoProblem"),
        message=problem,
        now=now,
    )
    return status.model_copy(update={"conditions": conditions})


def _files_of(stream: Stream, report: GatewayReport | None) -> StreamFiles | None:
    return next((row for row in report.files if row.stream == stream.key), None) if report is not None else None


def _counts(old: StreamStatus, ledger: StreamLedger | None) -> dict[str, int | float | str]:
    """Give what the gateway counts beside readings."""
    if ledger is None:
        return {}
    names = ("malformed", "refused", "clock_fallbacks", "sequence_gaps", "rebirths", "shed", "damaged")
    counts: dict[str, int | float | str] = {name: max(getattr(old, name), getattr(ledger, name)) for name in names}
    waiting = {"outbox_readings": ledger.outbox_readings, "lag_seconds": ledger.lag_seconds}
    return counts | waiting | {"last_refusal": ledger.last_refusal or old.last_refusal}


def _feeds(stream: Stream, report: DatasetReport) -> bool:
    names = (stream.metadata.name, stream.key)
    return any(row.gateway == stream.spec.gateway and row.stream in names for row in report.ledger.sources)


class StreamController:
    """Keeps StreamOrder in the home cluster, and Stream.status."""

    name = "streams"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._homes: set[str | None] = set()

    def sources(self) -> Sequence[Source]:
        """Watch streams, new clusters, the ledgers of gateways, and what sinks report."""
        context = self._context
        return (
            Objects(context.client, Stream, own_key),
            Objects(context.client, Cluster, self._streams_at),
            Messages(context.observed, self._streams_of),
            Messages(context.desired, _ordered),
        )

    async def _streams_of(self, path: Path) -> Iterable[Key]:
        """Map a gateway's heartbeat to its streams, and a dataset's report to the streams of its namespace."""
        if path.kind == "gateway" and path.topic in ("heartbeat", "committed"):
            streams = [s for s in await self._context.client.list(Stream) if s.spec.gateway == path.member]
        elif path.topic == "dataset" and len(path.names) == 2:
            streams = await self._context.client.list(Stream, path.names[0])
        else:
            return []
        return [(stream.metadata.namespace or "", stream.metadata.name) for stream in streams]

    async def reconcile(self, key: Key) -> Outcome:
        """Bring one stream's order and status up to date."""
        context, (namespace, name) = self._context, key
        stream = await context.client.get(Stream, namespace, name)
        rest = f"stream/{namespace}/{name}"
        home = await self._home_of(stream) if stream is not None else None
        for path in list(context.desired.everywhere("cluster", rest)):
            if path.member != home:
                await context.desired.remove(path)
        if stream is None:
            return DONE
        created = await self._log_created(stream.spec.gateway)
        if home is not None:
            order = StreamOrder(namespace=namespace, name=name, spec=stream.spec, log_created=created)
            await context.desired.put(Path("cluster", home, rest), order)
        await context.client.update_status(stream.model_copy(update={"status": self._status(stream)}))
        return DONE if created else RequeueAfter(_LOG_SECONDS)

    async def _home_of(self, stream: Stream) -> str | None:
        """Name the cluster that keeps the files; None while there is none of that name, which would forget its order
        (departures.py) as soon as it has it."""
        home = await self._context.client.get(Cluster, None, stream.spec.home)
        return None if home is None else stream.spec.home

    async def _streams_at(self, cluster: Cluster) -> Iterable[Key]:
        """Map a cluster that is new to the streams that have it as home; its heartbeats mean nothing to them."""
        if cluster.metadata.uid in self._homes:
            return []
        self._homes.add(cluster.metadata.uid)
        streams = [s for s in await self._context.client.list(Stream) if s.spec.home == cluster.metadata.name]
        return [(stream.metadata.namespace or "", stream.metadata.name) for stream in streams]

    async def _log_created(self, gateway: str) -> str:
        """Tell which log a sink is to read, so that its position means nothing in another; empty if there is none."""
        try:
            return (await LogTrimmer(self._context.bus, lab_stream(gateway)).extent()).created
        except NotFound:
            return ""

    def _status(self, stream: Stream) -> StreamStatus:
        observed = self._context.observed
        report = observed.read(GatewayReport, Path("gateway", stream.spec.gateway, "heartbeat"))
        paths = [
            p for p in observed.paths("cluster", stream.spec.home, "dataset") if p.names[0] == stream.metadata.namespace
        ]
        found = (observed.read(DatasetReport, path) for path in paths)
        status = plan_status(stream, report, [dataset for dataset in found if dataset is not None])
        where = Path("gateway", stream.spec.gateway, f"committed/{stream.metadata.namespace}/{stream.spec.home}")
        commits = observed.read(CommittedReport, where)
        return with_writing(status, stream, commits, self._context.clock())


async def _ordered(path: Path) -> Iterable[Key]:
    """Map an order to its stream, so that orders of streams deleted while no hub ran are found at start."""
    return [(path.names[0], path.names[1])] if path.topic == "stream" and len(path.names) == 2 else []
