"""What the hub counts, in the format that Prometheus scrapes. The only door to prometheus-client in this room.

Owns names and labels: closed label values, no ids and no error text.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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

    def forged(self, kind: str) -> None:
        """Count one message that nobody who may send it has sent."""
        self._forged.labels(kind).inc()

    def reconciled(self, controller: str, result: str, seconds: float) -> None:
        """Count one reconcile."""
        self._reconciles.labels(controller, result).inc()
        self._seconds.labels(controller).observe(seconds)

    def leads(self, is_leader: bool) -> None:
        """Say whether this hub leads."""
        self._is_leader.set(1 if is_leader else 0)

    def authenticated(self, method: str, result: str) -> None:
        """Count one attempt to say who one is."""
        self._authentications.labels(method, result).inc()

    def expose(self) -> bytes:
        """Write all metrics for a scrape."""
        return generate_latest(self._registry)
