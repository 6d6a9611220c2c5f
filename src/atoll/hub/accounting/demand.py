"""What a run holds while it runs, by the record of the decision that made it, and what its cluster asks for that. Pure.

The record is read and not the job: a job may be changed, and what a run holds was settled when it was placed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.federation.queueing import Spending
from atoll.federation.resources import Cluster, Run
from atoll.federation.resources.cluster import Costs

_GIB = 2.0**30


@dataclass(frozen=True)
class Held:
    """What all pods of a run hold together; nothing where its decision does not say."""

    gpus: int = 0
    millicores: int = 0
    memory_bytes: int = 0
    gpu_models: tuple[str, ...] = ()

    def hourly(self, cluster: Cluster | None) -> Spending:
        """Tell what an hour of that is, and costs on a cluster; one that is gone asks for nothing."""
        costs, cores = costs_of(cluster), self.millicores / 1000
        return Spending(self.gpus, cores, costs.gpu_hour * self.gpus + costs.cpu_hour * cores)


def held_by(run: Run) -> Held:
    """Read a run's decision record: all groups of its pods, and of an array as many tasks as may run at once.

    People may have written the record, so nothing is assumed of it.
    """
    demand = run.spec.decision.get("demand")
    if not isinstance(demand, Mapping):
        return Held()
    groups, tasks = _objects(demand.get("groups")) or [demand], run.spec.parallelism or 1
    models = [str(model) for group in groups for model in _list(group.get("gpuModels"))]
    return Held(
        gpus=sum(_count(group, "gpus") * _count(group, "pods") for group in groups) * tasks,
        millicores=sum(_count(group, "millicores") * _count(group, "pods") for group in groups) * tasks,
        memory_bytes=sum(_count(group, "memoryBytes") * _count(group, "pods") for group in groups) * tasks,
        gpu_models=tuple(dict.fromkeys(models)),
    )


def copies_of(record: Mapping[str, Any], cluster: str) -> dict[str, int]:
    """Tell how many bytes a run was expected to bring to its cluster, by the clusters that they come from."""
    copies: dict[str, int] = {}
    for verdict in _objects(record.get("clusters")):
        if verdict.get("cluster") == cluster:
            for staged in _objects(verdict.get("staging")):
                source = str(staged.get("source", ""))
                copies[source] = copies.get(source, 0) + _count(staged, "bytes")
    return copies


def copying(copies: Mapping[str, int], clusters: Mapping[str, Cluster]) -> Spending:
    """Tell what copies take, and cost by the clusters that the bytes leave."""
    sizes = {source: size / _GIB for source, size in copies.items()}
    money = sum(costs_of(clusters.get(source)).egress_gib * size for source, size in sizes.items())
    return Spending(money=money, egress_gib=sum(sizes.values()))


def costs_of(cluster: Cluster | None) -> Costs:
    """Give the prices of a cluster; of one that is gone none are known."""
    return cluster.spec.costs if cluster is not None else Costs()


def _count(values: Mapping[str, Any], name: str) -> int:
    value = values.get(name)
    return max(0, int(value)) if isinstance(value, int) and not isinstance(value, bool) else 0


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [each for each in _list(value) if isinstance(each, Mapping)]


def _list(value: object) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
