"""The scheduler: a numbered cycle on a snapshot that gives every pending Job a Run on the cluster chosen by placement.

Owns the order of jobs, queue limits and assumed capacity. It makes Runs, and says in a pending Job's status why it
waits; what a Run means for its Job afterwards is the job controller's business.
"""

from atoll.hub.scheduler.loop import SchedulerLoop

__all__ = ["SchedulerLoop"]
