"""The fuse: a lease's end for workloads of every kind, kept by the cluster itself. Pure (docs/adr/0025).

A batch/v1 Job of no pods owns the workload. Its activeDeadlineSeconds ends with the lease; the agent moves it along.
If the agent is dead, the Job fails, its ttlSecondsAfterFinished removes it, and the garbage collector removes what it
owns with all that the workload owns in turn. No operator has to know of it, and it costs no pod: with `parallelism` 0
and one completion a Job has begun and never ends by itself (kubernetes/kubernetes, pkg/controller/job, syncJob).
"""

import hashlib
from typing import Any

from atoll.edge.member.objects import EPOCH_ANNOTATION, RUN_LABEL, Kind, Object, ObjectRef

JOB = Kind("batch/v1", "Job")
_SUFFIX = "-fuse"
# A Job's name becomes a label of its pods: 63 characters (validation of batch/v1 Job, Kubernetes 1.27).
_LONGEST_NAME, _KEPT = 63, 48


def fuse_ref(namespace: str, run: str) -> ObjectRef:
    """Name the fuse of a run."""
    if len(run) + len(_SUFFIX) > _LONGEST_NAME:
        run = f"{run[:_KEPT].rstrip('.-')}-{hashlib.sha256(run.encode()).hexdigest()[:8]}"
    return ObjectRef(JOB, namespace, f"{run}{_SUFFIX}")


def fuse(namespace: str, run: str, *, epoch: int, seconds: int) -> Object:
    """Give the manifest of a fuse that burns for so many seconds."""
    ref = fuse_ref(namespace, run)
    # Never started; a Job must have a template, and its pods one container.
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "none", "image": "none"}]}}
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "metadata": {
            "name": ref.name,
            "namespace": namespace,
            "labels": {RUN_LABEL: run},
            "annotations": {EPOCH_ANNOTATION: str(epoch)},
        },
        "spec": {
            "parallelism": 0,
            "completions": 1,
            "backoffLimit": 0,
            "activeDeadlineSeconds": seconds,
            "ttlSecondsAfterFinished": 0,
            "template": template,
        },
    }


def owned_by(manifest: Object, owner: Object) -> Object:
    """Give a manifest whose object goes with a fuse.

    Not as its controller: the controllers of other kinds, and Kueue, look at that one only.
    """
    metadata: dict[str, Any] = manifest["metadata"]
    reference = {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    return manifest | {"metadata": metadata | {"ownerReferences": [*metadata.get("ownerReferences", ()), reference]}}
