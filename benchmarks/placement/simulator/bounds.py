"""What no policy can be below: bounds of mean wait and makespan, from a federation that is one large machine.

All GPUs are one pool that any task may use in any part, data is everywhere, and tasks may be interrupted. What no
schedule of that can undercut, none of the real federation can.
"""

from collections.abc import Sequence
from heapq import heappop, heappush

from benchmarks.placement.simulator.scenario import Scenario, Task

RESOURCES = ("millicores", "memory_bytes", "gpus")


def least_mean_wait(scenario: Scenario) -> float:
    """Bound the mean wait from below, in seconds: the best that any one resource allows.

    The mean busy time of an uninterrupted task is its start plus half its length. On one machine of the pool's speed,
    that may interrupt, the sum of mean busy times is least if the task with the least work in all goes first (Goemans,
    "Improved approximation algorithms for scheduling with release dates", SODA 1997). So the sum of starts is at least
    that sum without half of all lengths. Tasks without work of a resource wait no less than 0.
    """
    bounds = [0.0]
    for resource in RESOURCES:
        tasks = [task for task in scenario.tasks if getattr(task.size, resource)]
        works = [getattr(task.size, resource) * task.runs_seconds for task in tasks]
        busy = mean_busy_times([task.arrives for task in tasks], works, getattr(scenario.capacity, resource))
        slack = sum(busy) - sum(task.arrives + task.runs_seconds / 2 for task in tasks)
        bounds.append(slack / len(scenario.tasks))
    return max(bounds)


def mean_busy_times(arrivals: Sequence[float], works: Sequence[float], speed: float) -> list[float]:
    """Let one machine work, always on the task of least work in all; give when each was worked on, on average."""
    order = sorted(range(len(works)), key=lambda at: arrivals[at])
    left, moments = list(works), [0.0] * len(works)
    waiting: list[tuple[float, int]] = []
    now, coming = 0.0, 0
    while coming < len(order) or waiting:
        if not waiting:
            now = max(now, arrivals[order[coming]])
        while coming < len(order) and arrivals[order[coming]] <= now:
            heappush(waiting, (works[order[coming]], order[coming]))
            coming += 1
        at = waiting[0][1]
        until = arrivals[order[coming]] if coming < len(order) else float("inf")
        seconds = min(left[at] / speed, until - now)
        moments[at] += seconds * speed * (now + seconds / 2)
        left[at], now = left[at] - seconds * speed, now + seconds
        if left[at] <= works[at] * 1e-12:
            heappop(waiting)
            now = min(now, until)
    return [moment / work for moment, work in zip(moments, works, strict=True)]


def least_makespan(scenario: Scenario) -> float:
    """Bound the last end from below: a task's own length, and the work that comes from any moment on."""
    longest = max(task.arrives + task.runs_seconds for task in scenario.tasks)
    return max(longest, *(_drained(scenario.tasks, scenario, resource) for resource in RESOURCES))


def _drained(tasks: Sequence[Task], scenario: Scenario, resource: str) -> float:
    work = latest = 0.0
    for task in sorted(tasks, key=lambda each: -each.arrives):
        work += getattr(task.size, resource) * task.runs_seconds
        latest = max(latest, task.arrives + work / getattr(scenario.capacity, resource))
    return latest
