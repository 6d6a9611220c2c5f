"""Which versions of a dataset are to go by its retention. Pure.

The newest complete version stays, and so does all that grows; what unfinished jobs read stays as long as they do.
"""

from collections.abc import Iterable
from datetime import datetime

from atoll.federation.capacity import parse_duration
from atoll.federation.resources import Dataset
from atoll.federation.resources.dataset import VersionStatus


def obsolete(dataset: Dataset, versions: Iterable[VersionStatus], *, now: datetime) -> frozenset[int]:
    """Name the versions that retention wants gone."""
    rule = dataset.spec.retention
    if rule is None or dataset.spec.pinned:
        return frozenset()
    complete = sorted((each for each in versions if each.complete), key=lambda each: -each.version)
    found = set()
    for number, each in enumerate(complete[1:], start=1):
        age = (now - each.completed_at).total_seconds() if each.completed_at is not None else 0.0
        is_old = rule.age is not None and age > parse_duration(rule.age)
        if is_old or (rule.versions is not None and number >= rule.versions):
            found.add(each.version)
    return frozenset(found)


def next_seconds(dataset: Dataset, versions: Iterable[VersionStatus], *, now: datetime) -> float | None:
    """Give how long until the next version is too old; None if none will be."""
    rule = dataset.spec.retention
    if rule is None or rule.age is None or dataset.spec.pinned:
        return None
    age = parse_duration(rule.age)
    complete = sorted((each for each in versions if each.complete), key=lambda each: -each.version)
    left = (age - (now - each.completed_at).total_seconds() for each in complete[1:] if each.completed_at is not None)
    return min((seconds for seconds in left if seconds > 0), default=None)
