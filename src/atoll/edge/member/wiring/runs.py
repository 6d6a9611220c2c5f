"""Runs are reconciled when their order, their Job or their pods change."""

from functools import partial

from atoll.edge.member.desired import RUNS
from atoll.edge.member.ended_pods import EndedPods
from atoll.edge.member.fence import Fence
from atoll.edge.member.followed import Followed
from atoll.edge.member.gangs import Gangs
from atoll.edge.member.ordered import kinds_of
from atoll.edge.member.runs import RunController
from atoll.edge.member.sight import sight_of
from atoll.edge.member.wiring.parts import Parts, all_of, now
from atoll.edge.member.work import Worker
from atoll.edge.member.workload import Workloads


async def keep_runs(parts: Parts) -> None:
    """Keep what is ordered, for ever."""
    workloads = Workloads(parts.kube, now, ended=_ended_pods(parts).of)
    gangs = Gangs(workloads, parts.orders, records=parts.run_records, sight=sight_of(parts.view), now=now)
    controller = RunController(
        workloads,
        parts.orders,
        records=parts.run_records,
        reports=parts.reporter,
        fence=Fence(parts.lease, parts.recency, records=parts.run_records, workloads=workloads),
        gangs=gangs,
        words=parts.words,
        now=now,
    )
    worker = Worker("runs", controller.reconcile)
    parts.orders.on_change(RUNS, worker.add)
    parts.recency.on_read(lambda: parts.leases.each(worker.add))
    news = _News(parts, controller, worker)
    followed = Followed(parts.kube, on_change=news.of_object, on_list=lambda: parts.add_all(RUNS, worker))
    parts.orders.on_change(RUNS, lambda key: followed.add(kinds_of(parts.orders, key)))
    parts.view.pods.on_change(news.of_pod)
    watches = parts.leases.watch(parts.lease.lease, worker.add), gangs.watch(worker.add)
    await all_of(worker.run(), followed.run(), *watches, parts.end_leftovers(parts.run_records, worker))


def _ended_pods(parts: Parts) -> EndedPods:
    """Count what pods that are gone have used, as long as their run is ordered."""
    orders, pods = parts.orders, parts.view.pods
    ended = EndedPods(is_ordered=partial(orders.has, RUNS), has_seen=pods.has_synced.is_set)
    pods.on_news(lambda key: ended.put(key, pods.items.get(key)))
    orders.on_change(RUNS, ended.settle)
    return ended


class _News:
    """Finds the run that a change concerns."""

    def __init__(self, parts: Parts, controller: RunController, worker: Worker) -> None:
        self._parts, self._controller, self._worker = parts, controller, worker

    def of_object(self, key: str) -> None:
        # Each pod of a group is an object of its own, named after the run and its number.
        for run in (key, key.rpartition("-")[0]):
            if self._parts.orders.has(RUNS, run):
                self._worker.add(run, within_seconds=self._controller.patience_seconds(run))

    def of_pod(self, key: str) -> None:
        pod = self._parts.view.pods.items.get(key)
        if pod and pod.run:
            if pod.is_ending and pod.is_live and self._parts.orders.has(RUNS, pod.run):
                self._parts.words.note_ending(pod.run)
            self.of_object(pod.run)
