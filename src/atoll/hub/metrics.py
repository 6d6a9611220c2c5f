"""What the hub counts, in the format that Prometheus scrapes. The only door to prometheus-client in this room.

Owns names and labels: closed label values, no ids and no error text.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from math import nan

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from atoll.federation.mesh import Census
from atoll.federation.resources.cluster import CLUSTER_PHASES, ClusterPhase

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
        self._authentications = Counter(
            "atoll_hub_authentications_total",
            "Requests by what their sender showed (token, oidc, certificate, other, none) and by result: accepted, "
            "refused, or unknown where nobody could tell.",
            ["method", "result"],
            registry=self._registry,
        )
        self._forged = Counter(
            "atoll_hub_forged_messages_total",
            "Messages from the field with a token that is not their member's, by what they were: report or call.",
            ["kind"],
            registry=self._registry,
        )
        self._clusters = Gauge("atoll_hub_clusters", "Clusters by phase.", ["phase"], registry=self._registry)
        self._mesh = _MeshGauges(self._registry)

    def forged(self, kind: str) -> None:
        """Count one message that nobody who may send it has sent."""
        self._forged.labels(kind).inc()

    def reconciled(self, controller: str, result: str, seconds: float) -> None:
        """Count one reconcile."""
        self._counts(controller, result).inc()
        self._times(controller).observe(seconds)

    def leads(self, is_leader: bool) -> None:
        """Say whether this hub leads."""
        self._is_leader.set(1 if is_leader else 0)

    def authenticated(self, method: str, result: str) -> None:
        """Count one attempt to say who one is."""
        self._authentications.labels(method, result).inc()

    def clusters(self, counts: Mapping[ClusterPhase, int]) -> None:
        """Say how many clusters are in which phase."""
        for phase in CLUSTER_PHASES:
            self._clusters.labels(phase).set(counts.get(phase, 0))

    def mesh(self, counted: Census, now: datetime) -> None:
        """Say how the mesh is."""
        self._mesh.set(counted, now)

    def expose(self) -> bytes:
        """Write all metrics for a scrape."""
        return generate_latest(self._registry)


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
