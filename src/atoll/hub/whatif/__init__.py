"""What if: a snapshot of the live state, changed as somebody asks, and decided about by the scheduler's own code. Pure.

Owns the changes and the comparison of two plans. It writes nothing, and decides nothing that the scheduler, the run
controller or the job controller would not decide.
"""

from atoll.hub.whatif.drain import Evict, drain
from atoll.hub.whatif.jobs import job
from atoll.hub.whatif.queues import queue

__all__ = ["Evict", "drain", "job", "queue"]
