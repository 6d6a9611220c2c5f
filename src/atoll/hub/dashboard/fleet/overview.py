"""The fleet at a glance: the map, its figures, and the list below it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from atoll.hub.dashboard.ask import Ask, link
from atoll.hub.dashboard.chips import Chip, chips
from atoll.hub.dashboard.data.transfers import TransferRow, flows_of
from atoll.hub.dashboard.fleet.chart import Chart, draw, water_of
from atoll.hub.dashboard.fleet.clusters import ClusterRow
from atoll.hub.dashboard.jobs.book import JobBook
from atoll.hub.dashboard.paging import Paged, paged
from atoll.hub.dashboard.tones import tone

ROWS = 50
PHASES = ("all", "Ready", "Degraded", "Unreachable", "Asleep", "Pending")


@dataclass(frozen=True)
class FleetScope:
    """What the fleet is drawn from."""

    clusters: Mapping[str, ClusterRow]
    transfers: Mapping[str, TransferRow]
    book: JobBook


@dataclass(frozen=True)
class ClusterLine:
    """One cluster in the list; `running` counts the jobs there that the user may see."""

    row: ClusterRow
    tone: str
    used: float
    running: int
    url: str


@dataclass(frozen=True)
class FleetModel:
    """What the page shows."""

    chart: Chart
    page: Paged[ClusterLine]
    phases: tuple[Chip, ...]
    there_are: int
    gpus: int
    free_gpus: int
    running: int
    copying: int
    bytes_per_second: float
    words: str
    phase: str
    region: str
    site: str
    regions: tuple[str, ...]


def view_fleet(scope: FleetScope, ask: Ask) -> FleetModel:
    """Choose what the filter lets through, and draw it."""
    words, phase, region = ask.text("q").lower(), ask.choice("phase", PHASES), ask.text("region")
    rows = list(scope.clusters.values())
    site = ask.text("site")
    near = [row for row in rows if region in ("", water_of(row)) and site in ("", row.site) and _has(row, words)]
    shown = [row for row in near if phase in ("all", row.phase)]
    places = places_by_cluster(scope.book, ask)
    flows = flows_of(scope.transfers.values())
    lines = [_line(row, places.get(row.name, 0)) for row in sorted(shown, key=_unwell_first)]
    return FleetModel(
        chart=draw(shown, flows, ask),
        page=paged(lines, ask.number("page"), size=ROWS),
        phases=chips(ask, "phase", PHASES, lambda each: sum(each in ("all", row.phase) for row in near)),
        there_are=len(rows),
        gpus=sum(row.gpus for row in shown),
        free_gpus=sum(row.free_gpus for row in shown),
        running=sum(places.get(row.name, 0) for row in shown),
        copying=sum(flow.count for flow in flows),
        bytes_per_second=sum(flow.bytes_per_second for flow in flows),
        words=ask.text("q"),
        phase=phase,
        region=region,
        site=site,
        regions=tuple(sorted({water_of(row) for row in rows})),
    )


def places_by_cluster(book: JobBook, ask: Ask) -> dict[str, int]:
    """Count the jobs that have a place in each cluster, of those that the user may see."""
    seen = ask.rights.namespaces("jobs")
    found: dict[str, int] = {}
    for (namespace, cluster), count in book.places.items():
        if seen is None or namespace in seen:
            found[cluster] = found.get(cluster, 0) + count
    return found


def _has(row: ClusterRow, words: str) -> bool:
    models = " ".join(model for model, _, _ in row.models)
    return not words or words in f"{row.name} {row.region} {row.site} {models}".lower()


def _unwell_first(row: ClusterRow) -> tuple[int, str]:
    order = ("Unreachable", "Degraded", "Pending", "Ready", "Asleep")
    return (order.index(row.phase) if row.phase in order else 0, row.name)


def _line(row: ClusterRow, running: int) -> ClusterLine:
    used = (row.gpus - row.free_gpus) / row.gpus if row.gpus else 0.0
    return ClusterLine(row, tone(row.phase), used, running, link("clusters", row.name))
