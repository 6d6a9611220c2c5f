"""Learns from each run that succeeds how long such work takes. It writes only the table of run times."""

from collections.abc import Iterable, Mapping, Sequence

from atoll.federation.capacity import gpu_matches
from atoll.federation.estimates import Sample, ran_seconds, subject_of
from atoll.federation.placement import relative_speed
from atoll.federation.resources import Cluster, Inventory, Job, Run
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.runtime import DONE, Key, Objects, Outcome, Source
from atoll.hub.estimates.table import Histories


class RunTimeLearner:
    """Adds each run once, when it has succeeded. What ended before a hub began to lead was learned by the one before;
    a run that is missed in between leaves the estimate as good as it was.
    """

    name = "run-times"

    def __init__(self, context: Context, histories: Histories) -> None:
        self._context, self._histories = context, histories

    def sources(self) -> Sequence[Source]:
        """Watch runs."""
        return (Objects(self._context.client, Run, _if_succeeded, skips_ended=True),)

    async def reconcile(self, key: Key) -> Outcome:
        """Learn from one run."""
        client, (namespace, name) = self._context.client, key
        run = await client.get(Run, namespace, name)
        job = await client.get(Job, namespace, run.spec.job) if run is not None else None
        if run is None or job is None or run.status.phase != "Succeeded":
            return DONE
        seconds = ran_seconds(run.status.started_at, run.status.finished_at)
        is_rest = job.spec.array is not None and run.spec.epoch > 1  # an array's further attempts run what was left
        if seconds is None or run.status.finished_at is None or is_rest:
            return DONE
        subject = subject_of(job)
        cluster = await client.get(Cluster, None, run.spec.cluster)
        model, speed = _gpu(run, job, cluster.status.inventory if cluster is not None else None)
        sample = Sample(
            run=run.metadata.uid or run.key,
            user=subject.user,
            command=subject.command,
            seconds=seconds,
            model=model,
            speed=speed,
            ended_at=min(run.status.finished_at, self._context.clock()),  # the agent's clock may be ahead
        )
        await self._histories.add(subject.key, sample)
        return DONE


async def _if_succeeded(run: Run) -> Iterable[Key]:
    is_over = run.status.phase == "Succeeded"
    return [(run.metadata.namespace or "", run.metadata.name)] if is_over else []


def _gpu(run: Run, job: Job, inventory: Inventory | None) -> tuple[str, float]:
    """Tell on which GPU product a run was, empty if several would have done, and how fast the slowest of them is."""
    record = run.spec.decision.get("demand")
    if inventory is None or not isinstance(record, Mapping) or not record.get("gpus"):
        return "", 1.0
    wanted = job.spec.gpu.models if job.spec.gpu is not None else ()
    there = {shape.gpu_model for shape in inventory.shapes if shape.gpu_model}
    products = sorted(each for each in there if not wanted or any(gpu_matches(model, each) for model in wanted))
    slowest = min((relative_speed(each) or 1.0 for each in products), default=1.0)
    return products[0] if len(products) == 1 else "", slowest
