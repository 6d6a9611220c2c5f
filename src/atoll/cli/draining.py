"""What `cluster drain` does: asks for the drain, then tells who has left until nobody is there who has to go.

The hub moves the runs, whether anybody waits for it or not.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from atoll.cli import kinds
from atoll.cli.api import Api
from atoll.cli.jobs import UNMET
from atoll.cli.output import hint, plural, say
from atoll.cli.progress import waiting
from atoll.federation.resources import FINISHED_RUN_PHASES, Job, Run
from atoll.federation.resources.run import DISPLACED_REASONS

_POLL_SECONDS = 0.5
# What became of a run that made place for another attempt (hub/controllers/run_plan.py).
_EVICTED = DISPLACED_REASONS | {"StaleEpoch"}


@dataclass(frozen=True)
class Leaving:
    """A run on the cluster that is drained, and what its job says about that."""

    run: Run
    loss_policy: str

    @property
    def name(self) -> str:
        """The run as results name it."""
        return f"run/{self.run.metadata.name} -n {self.run.metadata.namespace}"


def drain(api: Api, name: str, *, force: bool, timeout_seconds: float | None, dry_run: bool) -> int:
    """Drain a cluster and wait until it is empty; give the exit code."""
    path = kinds.atoll("Cluster").path(None, name)
    was_cordoned = bool(api.get(path)["spec"].get("unschedulable"))
    change = {"unschedulable": True, "draining": True, "evict": "All" if force else "ByPolicy"}
    api.merge(path, {"spec": change}, dry_run=dry_run)
    suffix = " (dry run)" if dry_run else ""
    say(f"cluster/{name} {'already cordoned' if was_cordoned else 'cordoned'}{suffix}")
    if dry_run:
        for leaving in _announced(api, name, force=force).values():
            if force or leaving.loss_policy != "Wait":
                say(f"{leaving.name} evicted{suffix}")
        return 0
    try:
        there = _announced(api, name, force=force)
        with waiting(f"cluster/{name} is draining"):
            return _wait(api, name, there, timeout_seconds=timeout_seconds)
    except KeyboardInterrupt:
        hint(f"cluster/{name} is still draining; atoll cluster uncordon {name} ends that")
        raise


def _announced(api: Api, cluster: str, *, force: bool) -> dict[str, Leaving]:
    """Find the runs on a cluster, and say what becomes of each."""
    there = _there(api, cluster)
    for leaving in there.values():
        hint(_prospect(leaving, force=force))
    return there


def _wait(api: Api, name: str, there: dict[str, Leaving], *, timeout_seconds: float | None) -> int:
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    while there:
        if deadline is not None and time.monotonic() > deadline:
            hint(f"{plural(len(there), 'run')} still there after {timeout_seconds:g} s: {', '.join(_names(there))}")
            hint(f"cluster/{name} is still draining; atoll cluster uncordon {name} ends that")
            return UNMET
        time.sleep(_POLL_SECONDS)
        now = _there(api, name)
        for key in there.keys() - now.keys():
            say(f"{there[key].name} {_outcome(api, there[key].run)}")
        there = now
    say(f"cluster/{name} drained")
    return 0


def _there(api: Api, cluster: str) -> dict[str, Leaving]:
    """Find the runs on a cluster that are not over."""
    runs = [Run.model_validate(item) for item in api.get(kinds.atoll("Run").collection())["items"]]
    found = [run for run in runs if run.spec.cluster == cluster and run.status.phase not in FINISHED_RUN_PHASES]
    return {run.key: Leaving(run, _loss_policy(api, run)) for run in found}


def _loss_policy(api: Api, run: Run) -> str:
    job = api.find(kinds.atoll("Job").path(run.metadata.namespace, run.spec.job))
    return Job.model_validate(job).spec.loss_policy if job is not None else "Wait"


def _prospect(leaving: Leaving, *, force: bool) -> str:
    policy = leaving.loss_policy
    what = {
        "Wait": "goes on to its end; --force stops it",
        "Failover": "is stopped and placed elsewhere",
        "Duplicate": "goes on until another attempt runs elsewhere",
    }[policy]
    return f"{leaving.name} (lossPolicy {policy}) {'is stopped' if force and policy == 'Wait' else what}"


def _outcome(api: Api, run: Run) -> str:
    found = api.find(kinds.atoll("Run").path(run.metadata.namespace, run.metadata.name))
    if found is None:
        return "deleted"
    status = Run.model_validate(found).status
    return "evicted" if status.reason in _EVICTED else f"ended: {status.phase}"


def _names(there: Mapping[str, Leaving]) -> list[str]:
    return [leaving.name for leaving in there.values()]
