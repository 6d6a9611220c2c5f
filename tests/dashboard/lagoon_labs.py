"""The labs of the federation that the dashboard is looked at with: gateways and their streams."""

from collections.abc import Callable
from typing import Any

Ago = Callable[..., str]
Stated = tuple[str, str, str | None, dict[str, Any], dict[str, Any]]


def labs(ago: Ago) -> list[Stated]:
    def row(stream: str, received: int, waiting: int, lag: float, rate: float, **more: Any) -> dict[str, Any]:
        return {
            "stream": stream,
            "received": received,
            "committed": received - waiting,
            "outboxReadings": waiting,
            "lagSeconds": lag,
            "readingsPerSecond": rate,
            "forwardedPerSecond": more.pop("out", rate),
            **more,
        }

    def gateway(name: str, site: str, phase: str, rows: list[dict[str, Any]], **status: Any) -> Any:
        sums = {
            "outboxReadings": sum(each["outboxReadings"] for each in rows),
            "readingsPerSecond": sum(each["readingsPerSecond"] for each in rows),
            "forwardedPerSecond": sum(each["forwardedPerSecond"] for each in rows),
            "lagSeconds": max((each["lagSeconds"] for each in rows), default=0.0),
        }
        spec = {"site": site, "broker": f"mqtt://broker.{site}:1883", "outboxBytes": 10_000_000}
        return (
            "Gateway",
            name,
            None,
            spec,
            {
                "phase": phase,
                "ledger": rows,
                "lastProvenAt": ago(seconds=3),
                "brokerConnected": phase != "Degraded",
                **sums,
                **status,
            },
        )

    down = {
        "type": "Ready",
        "status": "False",
        "reason": "BrokerDown",
        "message": "broker.basel:1883 refused the connection",
        "lastTransitionTime": ago(minutes=12),
    }
    good = {"type": "BrokerConnected", "status": "True", "reason": "Connected", "lastTransitionTime": ago(days=3)}
    found = [
        gateway(
            "balances",
            "geneva",
            "Ready",
            [row("chemistry/balances", 482_113, 40, 0.8, 210.5)],
            outboxBytes=92_000,
            conditions=[good],
        ),
        gateway(
            "seismometers",
            "zurich",
            "Ready",
            [row("seismology/shots", 9_114_882, 1200, 2.4, 1840.0), row("seismology/drums", 71_332, 12, 1.1, 12.5)],
            outboxBytes=1_400_000,
        ),
        gateway(
            "microscopes",
            "basel",
            "Degraded",
            [row("imaging/slides", 90_112, 88_000, 1450.0, 0.0)],
            outboxBytes=8_900_000,
            reason="BrokerDown",
            conditions=[down],
            shed=1200,
            files=[
                {
                    "stream": "imaging/slides",
                    "waiting": 12,
                    "sending": "slide-7/raw.tif 42%",
                    "committed": 190,
                    "committedBytes": 88_000_000_000,
                    "bytesPerSecond": 52_000_000,
                }
            ],
        ),
        gateway(
            "buoys",
            "north-sea",
            "Unreachable",
            [row("ocean/buoys", 22_918, 4_100, 9000.0, 0.0, out=0.0)],
            outboxBytes=2_100_000,
            lostSince=ago(hours=2, minutes=12),
        ),
        gateway(
            "spectra",
            "geneva",
            "Ready",
            [row("chemistry/spectra", 7_733, 3100, 44.0, 220.0, out=31.0)],
            outboxBytes=5_200_000,
        ),
    ]
    for name, namespace, at, dataset in (
        ("balances", "chemistry", "balances", "balances.2026-11-23"),
        ("spectra", "chemistry", "spectra", "spectra.run-12"),
        ("shots", "seismology", "seismometers", "shots.2026-11-23"),
        ("drums", "seismology", "seismometers", "drums.2026-11-23"),
        ("slides", "imaging", "microscopes", "slides.7"),
        ("buoys", "ocean", "buoys", "buoys.2026-11"),
    ):
        spec = {"gateway": at, "topics": [f"lab/{name}/#"], "dataset": "d.{date}", "home": "onprem"}
        found.append(("Stream", name, namespace, spec, {"dataset": dataset, "received": 10, "committed": 10}))
    return found
