"""The pages of this room: what each reads, and where it stands."""

from collections.abc import Sequence

from atoll.hub.dashboard.data.closely import fetch_dataset, fetch_gateway, view_dataset, view_gateway
from atoll.hub.dashboard.data.lists import view_datasets, view_transfers
from atoll.hub.dashboard.data.overview import view_overview
from atoll.hub.dashboard.data.shelves import fetch_data
from atoll.hub.dashboard.page import Page

_ALL = ("gateways", "streams", "datasets", "transfers", "clusters")

PAGES: Sequence[Page] = (
    Page("data", "/data", "Data", "data/overview.html", fetch_data, view_overview, watches=_ALL, nav="Data"),
    Page(
        "datasets", "/data/datasets", "Datasets", "data/datasets.html", fetch_data, view_datasets,
        watches=("datasets",), parent="data",
    ),
    Page(
        "transfers", "/data/transfers", "Copies", "data/transfers.html", fetch_data, view_transfers,
        watches=("transfers",), parent="data",
    ),
    Page(
        "dataset", "/data/datasets/{namespace}/{name}", "Dataset", "data/dataset.html", fetch_dataset, view_dataset,
        watches=("datasets", "transfers", "clusters"), parent="data",
    ),
    Page(
        "gateway", "/data/gateways/{name}", "Gateway", "data/gateway.html", fetch_gateway, view_gateway,
        watches=("gateways", "streams"), parent="data",
    ),
)  # fmt: skip
