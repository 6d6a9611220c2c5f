"""All that can be done from pages, by its word in URLs. A new room's deeds are one import and one entry here."""

from collections.abc import Mapping

from atoll.hub.dashboard.actions import Deed
from atoll.hub.dashboard.data.deeds import DEEDS as DATA
from atoll.hub.dashboard.fleet.deeds import DEEDS as FLEET
from atoll.hub.dashboard.jobs.deeds import DEEDS as JOBS
from atoll.hub.dashboard.policy.deeds import DEEDS as POLICY

DEEDS: Mapping[str, Deed] = {**JOBS, **FLEET, **DATA, **POLICY}
