"""How long the scheduler thinks about jobs that wait: 200 queues on 8 clusters that are full, nothing to be written.

    python benchmarks/placement/waiting.py [JOBS ...]

Prints, per number of jobs, the CPU seconds of a first cycle, which reads every job, and of a steady one, each with the
search for what is news to whom, as the hub does it. The store's work is not measured.
"""

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from atoll.federation.resources import Cluster, Job, Queue
from atoll.hub.scheduler.cycle import Memory, plan_cycle, run_cycle
from atoll.hub.scheduler.snapshot import Snapshot
from atoll.hub.scheduler.telling import Telling

NOW = datetime(2026, 11, 23, tzinfo=UTC)
LABS, QUEUES_OF_A_LAB, CLUSTERS, LIKENESSES, MODEL = 20, 9, 8, 40, "NVIDIA-A100-SXM4-40GB"


def queues() -> Iterator[Queue]:
    """Give labs of different weights, each with its queues."""
    for lab in range(LABS):
        yield Queue.model_validate({"metadata": {"name": f"lab{lab}"}, "spec": {"weight": 1 + lab % 3}})
        for number in range(QUEUES_OF_A_LAB):
            quota = {"guaranteed": {"gpus": 2}, "limit": {"gpus": 400}}
            spec = {"parent": f"lab{lab}", "weight": 1 + number, "quota": quota}
            yield Queue.model_validate({"metadata": {"name": f"lab{lab}.{number}"}, "spec": spec})


def jobs(count: int) -> Iterator[Job]:
    """Give jobs of some likenesses, spread over the queues."""
    for number in range(count):
        cpu = str(1 + number % LIKENESSES)
        container = {"name": "main", "image": "i", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}
        yield Job.model_validate(
            {
                "metadata": {
                    "name": f"j{number}", "namespace": "lab", "uid": f"u{number}", "generation": 1,
                    "resourceVersion": str(number), "creationTimestamp": NOW - timedelta(seconds=number % 977),
                },
                "spec": {
                    "queue": f"lab{number % LABS}.{number % QUEUES_OF_A_LAB}", "gpu": {"count": 1 + number % 8},
                    "workload": {"spec": {"template": {"spec": {"containers": [container]}}}},
                    "expectedDuration": "10m",
                },
            }
        )  # fmt: skip


def clusters() -> Iterator[Cluster]:
    """Give clusters without a free GPU."""
    for number in range(CLUSTERS):
        shape = {
            "nodes": 16, "freeMillicores": 64_000, "freeMemoryBytes": 2**38, "freeGpus": 0,
            "allocatableMillicores": 64_000, "allocatableMemoryBytes": 2**38, "allocatableGpus": 8,
            "gpuModel": MODEL, "gpuMemoryBytes": 40 * 2**30,
        }  # fmt: skip
        inventory = {"shapes": [shape], "storageClasses": [{"name": "csi", "provisioner": "p", "isDefault": True}]}
        yield Cluster.model_validate(
            {
                "metadata": {"name": f"c{number}"},
                "spec": {},
                "status": {"phase": "Ready", "inventory": inventory, "lastProvenAt": NOW},
            }
        )


def told(snapshot: Snapshot, memory: Memory) -> Snapshot:
    """See the jobs as they are once each was told why it waits."""
    said = {}
    for each in plan_cycle(snapshot, memory).waiting:
        update = {"reason": each.reason, "message": each.message, "decision": each.record()}
        said[each.job.key] = each.job.model_copy(update={"status": each.job.status.model_copy(update=update)})
    return Snapshot(snapshot.taken_at, {**snapshot.jobs, **said}, (), snapshot.clusters, snapshot.queues, {})


def measure(count: int) -> None:
    """Time a first and a steady cycle, each with the search for news."""
    named = {queue.metadata.name: queue for queue in queues()}
    fresh = Snapshot(NOW, {job.key: job for job in jobs(count)}, (), tuple(clusters()), named, {})
    memory, telling = Memory(), Telling()
    seconds = []
    snapshot = told(fresh, Memory())
    for _ in range(3):
        began = time.process_time()
        cycle = run_cycle(snapshot, memory)
        news = telling.of(cycle)
        seconds.append(time.process_time() - began)
        assert not cycle.chosen and not news, "everybody waits, and knows why"
    print(f"{count:>7,} jobs   first cycle {seconds[0]:.2f} s   steady cycle {min(seconds[1:]):.2f} s")


if __name__ == "__main__":
    for argument in sys.argv[1:] or ("2500", "10000"):
        measure(int(argument))
