"""Estimates: what ended runs and finished copies teach about the next ones.

Owns how long work like a job's has run, how fast links have carried data, and what is under way on them. Pure: it takes
values and gives values; what is kept, and where, is the hub's business. It must not know of placement.
"""

from atoll.federation.estimates.learning import NOTHING_LEARNED, Estimates
from atoll.federation.estimates.run_times import (
    ANY_COMMAND,
    History,
    RunTime,
    Sample,
    differs,
    learned,
    ran_seconds,
    with_sample,
)
from atoll.federation.estimates.subjects import Subject, command_of, subject_of
from atoll.federation.estimates.traffic import NO_TRAFFIC, LinkRate, Moving, Traffic
from atoll.federation.estimates.traffic_log import TrafficLog

__all__ = [
    "ANY_COMMAND", "NOTHING_LEARNED", "NO_TRAFFIC", "Estimates", "History", "LinkRate", "Moving", "RunTime", "Sample",
    "Subject", "Traffic", "TrafficLog", "command_of", "differs", "learned", "ran_seconds", "subject_of", "with_sample",
]  # fmt: skip
