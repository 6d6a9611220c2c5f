"""The pages of this room: what each reads, and where it stands."""

from collections.abc import Sequence

from atoll.federation.resources import Cluster
from atoll.hub.dashboard.ask import Ask
from atoll.hub.dashboard.data.shelves import TRANSFERS
from atoll.hub.dashboard.fleet.closely import ClusterScope, view_cluster
from atoll.hub.dashboard.fleet.clusters import CLUSTERS
from atoll.hub.dashboard.fleet.overview import FleetScope, view_fleet
from atoll.hub.dashboard.jobs.book import JOBS, JobBook
from atoll.hub.dashboard.page import NoSuchThing, Page
from atoll.hub.dashboard.sources import Sources


async def fetch_fleet(sources: Sources, ask: Ask) -> FleetScope:
    """Read all clusters, what is being copied between them, and what is counted of jobs."""
    await sources.rows(JOBS)
    transfers = await sources.rows(TRANSFERS)
    clusters = await sources.rows(CLUSTERS) if ask.rights.sees("clusters") else {}
    return FleetScope(clusters, transfers, sources.shelf(JOBS).book)


async def fetch_cluster(sources: Sources, ask: Ask) -> ClusterScope:
    """Read one cluster, and the rows of the jobs that have a place there."""
    name = ask.params["name"]
    jobs = await sources.rows(JOBS)
    rows = await sources.rows(CLUSTERS) if ask.rights.sees("clusters") else {}
    cluster = await sources.get(Cluster, None, name) if name in rows else None
    if cluster is None:
        raise NoSuchThing(f"There is no cluster {name} that you may see.", "atoll cluster list")
    seen = ask.rights.namespaces("jobs")
    book: JobBook = sources.shelf(JOBS).book
    there = [jobs[key] for key in book.of_cluster(name)]
    return ClusterScope(cluster, rows[name], tuple(row for row in there if seen is None or row.namespace in seen))


_FLEET = ("clusters", "transfers", "jobs")

PAGES: Sequence[Page] = (
    Page("fleet", "/fleet", "Fleet", "fleet/fleet.html", fetch_fleet, view_fleet, watches=_FLEET, nav="Fleet"),
    Page(
        "cluster",
        "/clusters/{name}",
        "Cluster",
        "fleet/cluster.html",
        fetch_cluster,
        view_cluster,
        watches=("clusters", "jobs"),
        parent="fleet",
    ),
)
