"""The pages of this room: what each reads, and where it stands."""

from collections.abc import Sequence

from atoll.hub.dashboard.page import Page
from atoll.hub.dashboard.policy.reaching import fetch_reach, view_reach
from atoll.hub.dashboard.policy.shelves import fetch_set, fetch_sets
from atoll.hub.dashboard.policy.views import view_set, view_sets

PAGES: Sequence[Page] = (
    Page(
        "policies", "/policies", "Policies", "policy/sets.html", fetch_sets, view_sets,
        watches=("policysets",), nav="Policies",
    ),
    Page(
        "reach", "/reach", "Who may talk to whom", "policy/reach.html", fetch_reach, view_reach,
        watches=("policysets",), parent="policies",
    ),
    Page(
        "policyset", "/policies/{name}", "Policy set", "policy/set.html", fetch_set, view_set,
        watches=("policysets", "clusters"), parent="policies",
    ),
)  # fmt: skip
