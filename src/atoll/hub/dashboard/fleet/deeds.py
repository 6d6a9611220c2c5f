"""What can be done to a cluster. Pure."""

from collections.abc import Mapping

from atoll.hub.dashboard.actions import Deed, setting, unless

DEEDS: Mapping[str, Deed] = {
    "cordon": Deed(
        "clusters",
        "Cordon",
        "atoll cluster cordon {name}",
        setting("clusters", unschedulable=True),
        unless("unschedulable", False, "it is cordoned already"),
    ),
    "uncordon": Deed(
        "clusters",
        "Uncordon",
        "atoll cluster uncordon {name}",
        setting("clusters", unschedulable=False, draining=False, evict="ByPolicy"),
        unless("unschedulable", True, "it takes work already"),
    ),
    "drain": Deed(
        "clusters",
        "Drain",
        "atoll cluster drain {name}",
        setting("clusters", unschedulable=True, draining=True, evict="ByPolicy"),
        unless("draining", False, "it is being drained"),
        confirm="Drain {name}? Nothing new is placed there, and runs leave it as their job's lossPolicy says.",
        tone="danger",
    ),
}
