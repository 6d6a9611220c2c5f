"""What the hub counts, in the format that Prometheus scrapes. The only door to prometheus-client in this room.

Owns names and labels: closed label values, and names of clusters, gateways and policy sets, of which there are not too
many; no other ids, and no error text. Of the fleet nothing is kept: it is what statuses say at the scrape.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from math import nan
from typing import NamedTuple, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from atoll.federation.mesh import Census
from atoll.federation.resources import BY_NAME, Cluster, Gateway, PolicySet
from atoll.federation.resources.cluster import CLUSTER_PHASES, ClusterPhase
from atoll.federation.resources.policyset import PolicyPhase
from atoll.federation.resources.transfer import TransferPhase
from atoll.hub.glances import Tally

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The metrics of one hub process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._reconciles = Counter(
            "atoll_controller_reconciles_total",
            "Reconciles by controller and result.",
            ["controller", "result"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "atoll_controller_reconcile_duration_seconds",
            "How long reconciles took.",
            ["controller"],
            registry=self._registry,
        )
        # Prometheus' client checks the labels at each look, which costs more than to count.
        self._counts, self._times = cache(self._reconciles.labels), cache(self._seconds.labels)
        self._is_leader = Gauge(
            "atoll_hub_leader", "1 while this hub runs the controllers, else 0.", registry=self._registry
        )
        self._unreadable = Gauge(
            "atoll_hub_unreadable_objects",
            "Stored objects that are not valid for this version, as far as this hub has met them: they are left out.",
            ["kind"],
            registry=self._registry,
        )
        self._clusters = Gauge("atoll_hub_clusters", "Clusters by phase.", ["phase"], registry=self._registry)
        self._door, self._mesh, self._fleet = _Door(self._registry), _MeshGauges(self._registry), _FleetCollector()
        self._registry.register(self._fleet)

    def forged(self, kind: str) -> None:
        """Count one message that nobody who may send it has sent."""
        self._door.forged.labels(kind).inc()

    def reconciled(self, controller: str, result: str, seconds: float) -> None:
        """Count one reconcile."""
        self._counts(controller, result).inc()
        self._times(controller).observe(seconds)

    def leads(self, is_leader: bool) -> None:
        """Say whether this hub leads."""
        self._is_leader.set(1 if is_leader else 0)

    def authenticated(self, method: str, result: str) -> None:
        """Count one attempt to say who one is."""
        self._door.authentications.labels(method, result).inc()

    def clusters(self, counts: Mapping[ClusterPhase, int]) -> None:
        """Say how many clusters are in which phase."""
        for phase in CLUSTER_PHASES:
            self._clusters.labels(phase).set(counts.get(phase, 0))

    def unreadable(self, counts: Mapping[str, int]) -> None:
        """Say how many objects of which kind cannot be read; of the kinds not named there are none."""
        for kind in BY_NAME:
            self._unreadable.labels(kind).set(counts.get(kind, 0))

    def mesh(self, counted: Census, now: datetime) -> None:
        """Say how the mesh is."""
        self._mesh.set(counted, now)

    def fleet(self, told: "Fleet") -> None:
        """Say what there is of the fleet; what it does not name is not exposed any more."""
        self._fleet.told = told

    def expose(self) -> bytes:
        """Write all metrics for a scrape. In any thread."""
        return generate_latest(self._registry)


class _Door:
    """What is counted of those who come to the hub."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.authentications = Counter(
            "atoll_hub_authentications_total",
            "Requests by what their sender showed (token, oidc, certificate, other, none) and by result: accepted, "
            "refused, or unknown where nobody could tell.",
            ["method", "result"],
            registry=registry,
        )
        self.forged = Counter(
            "atoll_hub_forged_messages_total",
            "Messages from the field with a token that is not their member's, by what they were: report or call.",
            ["kind"],
            registry=registry,
        )


class _MeshGauges:
    """What is told of the mesh."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._links = Gauge(
            "atoll_mesh_links",
            "Links of the mesh by how the cluster at one end sees the other: each link counts once for either end. "
            "Stale is what was not seen of late, or is ready on an old cache only.",
            ["state"],
            registry=registry,
        )
        self._violations = Gauge(
            "atoll_mesh_violations", "Broken rules of the mesh, as mesh check names them.", ["rule"], registry=registry
        )
        self._services = Gauge(
            "atoll_mesh_services", "Services that clusters share, by who serves them.", ["state"], registry=registry
        )
        self._expiry = Gauge(
            "atoll_mesh_certificate_expiry_seconds",
            "Until the first certificate of the mesh ends, below zero once one has; NaN if none is known.",
            registry=registry,
        )

    def set(self, counted: Census, now: datetime) -> None:
        """Tell what was counted."""
        for state, count in counted.sides.items():
            self._links.labels(state).set(count)
        for rule, count in counted.violations.items():
            self._violations.labels(rule).set(count)
        for service_state, count in counted.services.items():
            self._services.labels(service_state).set(count)
        ends = counted.expires_at
        self._expiry.set((ends - now).total_seconds() if ends is not None else nan)


class Fleet(NamedTuple):
    """What a monitor is told of objects, as they are when it asks."""

    clusters: Sequence[Cluster] = ()
    gateways: Sequence[Gateway] = ()
    policysets: Sequence[PolicySet] = ()
    datasets: Tally = Tally()
    transfers: Tally = Tally()


class _FleetCollector(Collector):
    """Makes the metrics of the fleet at each scrape: an object that is gone leaves none behind."""

    def __init__(self) -> None:
        self.told = Fleet()

    def collect(self) -> "Iterator[_Family]":
        """Give them all."""
        told = self.told
        yield from _hearing("cluster", told.clusters)
        yield from _hearing("gateway", told.gateways)
        for gauge in _GATEWAY_GAUGES:
            yield _labelled(gauge, "gateway", [(one.metadata.name, gauge.value(one)) for one in told.gateways])
        for counter in _GATEWAY_COUNTERS:
            rows = [(one.metadata.name, counter.value(one)) for one in told.gateways]
            yield _labelled(counter, "gateway", rows, family=CounterMetricFamily)
        yield from _of_policysets(told.policysets)
        yield _labelled(_DATASETS, "condition", [(each, told.datasets.unmet.get(each, 0)) for each in _CONDITIONS])
        yield _labelled(_TRANSFERS, "phase", _transfers(told.transfers))


_Family = GaugeMetricFamily | CounterMetricFamily


class _Told(NamedTuple):
    """A metric."""

    name: str
    documentation: str


class _ToldOfGateway(NamedTuple):
    """A metric of each gateway."""

    name: str
    documentation: str
    value: Callable[[Gateway], float]


_GATEWAY_GAUGES = (
    _ToldOfGateway(
        "atoll_gateway_outbox_bytes",
        "What waits on a gateway's disk for the hub, as it said last.",
        lambda gateway: gateway.status.outbox_bytes,
    ),
    _ToldOfGateway(
        "atoll_gateway_outbox_limit_bytes",
        "Most that may wait there: outboxBytes of the Gateway.",
        lambda gateway: gateway.spec.outbox_bytes,
    ),
    _ToldOfGateway(
        "atoll_gateway_lag_seconds",
        "How long the oldest reading of a gateway has waited to be in a file, as it said last; 0 if none waits.",
        lambda gateway: gateway.status.lag_seconds,
    ),
)


def _sum_of(field: str) -> Callable[[Gateway], float]:
    return lambda gateway: sum(getattr(row, field) for row in gateway.status.ledger)


# Sums over Streams: to remove one is a step back, which Prometheus takes for a restart.
_GATEWAY_COUNTERS = tuple(
    _ToldOfGateway(f"atoll_gateway_readings_{field}", f"{what} Since a gateway's outbox was made.", _sum_of(field))
    for field, what in (
        ("received", "Readings that it took in."),
        ("committed", "Readings that are in files."),
        ("refused", "Readings that were not stored; lastRefusal of their Stream says why."),
        ("shed", "Readings that were given up for want of room, by their Stream's buffer."),
        ("damaged", "Readings that were lost with its disk."),
    )
)
_DATASETS = _Told(
    "atoll_dataset_conditions_false",
    "Datasets of which a condition is False, by condition. Complete: they still grow, which is no failure.",
)
_CONDITIONS = ("Complete", "Healthy", "Registered", "Replicated", "Volume")
_TRANSFERS = _Told("atoll_transfers", "Transfers by phase; those that have ended are kept for some time.")
_UNIFORM = _Told(
    "atoll_policyset_uniform",
    "1 while every cluster has proven the same rung of a policy set's newest commit, else 0.",
)
_CURRENT = _Told("atoll_policyset_clusters_current", "Clusters of a policy set that hold its newest commit.")


def _labelled(
    told: _Told | _ToldOfGateway,
    label: str,
    rows: Iterable[tuple[str, float]],
    *,
    family: type[_Family] = GaugeMetricFamily,
) -> _Family:
    found = family(told.name, told.documentation, labels=[label])
    for value_of_label, value in rows:
        found.add_metric([value_of_label], value)
    return found


def _hearing(kind: str, members: Sequence[Cluster] | Sequence[Gateway]) -> Iterator[_Family]:
    """Tell the phase of each member, and when it was heard last; of one that never was, nothing."""
    documentation = f"1 for the phase that a {kind} is in; the other phases have no sample."
    phases = GaugeMetricFamily(f"atoll_{kind}_phase", documentation, labels=[kind, "phase"])
    documentation = f"Date of the newest sign of life of a {kind}, in seconds since 1970; none before the first."
    dates = GaugeMetricFamily(f"atoll_{kind}_last_proven_timestamp_seconds", documentation, labels=[kind])
    for member in members:
        name, status = member.metadata.name, member.status
        phases.add_metric([name, status.phase], 1)
        if status.last_proven_at is not None:
            dates.add_metric([name], status.last_proven_at.timestamp())
    yield from (phases, dates)


def _of_policysets(policysets: Sequence[PolicySet]) -> Iterator[_Family]:
    """Tell where each policy set is held, and how far its newest commit has come."""
    documentation = "Clusters that a policy set is meant for, by phase."
    clusters = GaugeMetricFamily("atoll_policyset_clusters", documentation, labels=["policyset", "phase"])
    documentation = "1 for the phase that the newest commit of a policy set is in; the other phases have no sample."
    rollouts = GaugeMetricFamily("atoll_policyset_rollout_phase", documentation, labels=["policyset", "phase"])
    for policyset in policysets:
        name, status = policyset.metadata.name, policyset.status
        found = [row.phase for row in status.clusters]
        for phase in get_args(PolicyPhase):
            clusters.add_metric([name, phase], found.count(phase))
        if status.rollout is not None:
            rollouts.add_metric([name, status.rollout.phase], 1)
    yield from (clusters, rollouts)
    yield _labelled(_UNIFORM, "policyset", [(each.metadata.name, each.status.uniform) for each in policysets])
    yield _labelled(_CURRENT, "policyset", [(each.metadata.name, _current(each)) for each in policysets])


def _current(policyset: PolicySet) -> int:
    status = policyset.status
    return sum(row.phase == "Applied" and row.commit == status.commit for row in status.clusters)


def _transfers(tally: Tally) -> Iterator[tuple[str, float]]:
    for phase in get_args(TransferPhase):
        is_first = phase == "Pending"  # one that nobody has looked at yet says none
        yield phase, tally.phases.get(phase, 0) + (tally.phases.get("", 0) if is_first else 0)
