"""The pages of the dashboard, in the order of its navigation. A new page is one import and one entry here."""

from collections.abc import Sequence

from atoll.hub.dashboard.audit.page import PAGES as AUDIT
from atoll.hub.dashboard.data.page import PAGES as DATA
from atoll.hub.dashboard.fleet.page import PAGES as FLEET
from atoll.hub.dashboard.jobs.page import PAGES as JOBS
from atoll.hub.dashboard.page import Page
from atoll.hub.dashboard.policy.page import PAGES as POLICY
from atoll.hub.dashboard.queues.page import PAGES as QUEUES

PAGES: Sequence[Page] = (*FLEET, *QUEUES, *JOBS, *DATA, *POLICY, *AUDIT)
