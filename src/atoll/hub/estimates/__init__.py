"""What the hub has learned of run times and links, kept and followed.

Owns the table of run times, who writes it, and the watch of Transfers; what the numbers mean stands in
federation/estimates. It must not decide where anything goes.
"""

from atoll.hub.estimates.knowledge import Knowledge
from atoll.hub.estimates.learner import RunTimeLearner
from atoll.hub.estimates.table import Histories

__all__ = ["Histories", "Knowledge", "RunTimeLearner"]
