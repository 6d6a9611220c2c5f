"""Which batch engine of a member runs a workload, and what the workload says to it (docs/adr/0025). Pure.

The hub decides, since it alone knows what the operator has set (Cluster.spec.batch) beside what the agent has seen
(Cluster.status.inventory.batchEngines). So an order says all that is applied, and an agent suspends nothing that an
engine lets go.
"""

from atoll.federation.bus.messages import Manifest
from atoll.federation.resources import Cluster, Job
from atoll.federation.resources.inventory import BatchEngine, BatchEngineInfo
from atoll.federation.workloads import Engine, adapter_of, can_suspend, with_engine, with_suspend

# The LocalQueue that Kueue takes for work that names none (KEP-2936), and the Queue that Volcano is installed with.
_DEFAULT = "default"
_BY_PODS = frozenset({"Pod", "PodList"})


def handed_over(workload: Manifest, job: Job, cluster: Cluster) -> Manifest:
    """Give a workload as it goes to its cluster: handed to a batch engine if there is one for it.

    Args:
        workload: with its name in that cluster.
        job: whose queue decides about the engine's.
        cluster: what its operator has set, and what its agent has seen.
    """
    engine = engine_for(workload, job, cluster)
    if engine is None:
        return workload
    given = with_engine(workload, engine)
    # Kueue takes what is made suspended, and lets it go when it has quota.
    is_held = engine.name == "Kueue" and can_suspend(given) and given.get("kind") not in _BY_PODS
    return with_suspend(given, True) if is_held else given


def engine_for(workload: Manifest, job: Job, cluster: Cluster) -> Engine | None:
    """Choose the engine and its queue; None if the workload is left to the cluster's ordinary scheduler."""
    settings, inventory = cluster.spec.batch, cluster.status.inventory
    seen = inventory.batch_engines if inventory is not None else ()
    wanted = settings.queues.get(job.spec.queue) or settings.queue
    if settings.engine == "None":
        return None
    if settings.engine is not None:
        info = next((each for each in seen if each.engine == settings.engine), None)
        chosen: list[tuple[BatchEngine, BatchEngineInfo | None]] = [(settings.engine, info)]
    else:
        # slurm-bridge serves namespaces that its own settings name: it is used where an operator says so.
        chosen = [(each.engine, each) for each in seen if each.is_running and each.engine != "Slinky"]
    namespace = job.metadata.namespace or "default"
    for name, info in chosen:
        queue = _queue(name, info, wanted, namespace, is_explicit=settings.engine is not None)
        if queue is not None and _takes(name, workload):
            return Engine(name, queue)
    return None


def _queue(
    name: BatchEngine, info: BatchEngineInfo | None, wanted: str | None, namespace: str, *, is_explicit: bool
) -> str | None:
    """Choose the engine's queue; empty leaves it to the engine, None says that it has none for this namespace."""
    if name in ("YuniKorn", "Slinky"):
        return wanted or ""
    if name == "Volcano":
        return wanted or _DEFAULT
    local = [queue.name for queue in info.queues if queue.namespace == namespace] if info is not None else []
    if is_explicit or wanted in local:
        return wanted or (local[0] if len(local) == 1 else _DEFAULT)
    if wanted is not None or not local:
        return None
    return _DEFAULT if _DEFAULT in local else local[0] if len(local) == 1 else None


def _takes(name: BatchEngine, workload: Manifest) -> bool:
    """Tell whether an engine knows a kind. Kueue would need each pod of a group to say how many they are."""
    return name != "Kueue" or (adapter_of(workload).kueue is not None and workload.get("kind") != "PodList")
