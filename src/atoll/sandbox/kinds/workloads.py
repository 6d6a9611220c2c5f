"""Deployment and Job: schemas, defaults, rules and columns.

Owns no behaviour: the controllers do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from atoll.kubeapi.errors import Cause
from atoll.kubeapi.resource import Column, Object, Scale
from atoll.kubeapi.selectors import selector_text
from atoll.sandbox.kinds import wire
from atoll.sandbox.kinds.native import Names, native, with_scale
from atoll.sandbox.kinds.pods import POD_TEMPLATE, default_pod_spec
from atoll.sandbox.kinds.shape import (
    ANY,
    BOOLEAN,
    CONDITIONS,
    INT_OR_STRING,
    INTEGER,
    SELECTOR,
    STRING,
    STRINGS,
    TIME,
    array,
    struct,
)

JOB_NAME = "batch.kubernetes.io/job-name"
JOB_UID = "batch.kubernetes.io/controller-uid"
_NO_LIMIT = 2**31 - 1  # what Kubernetes makes of backoffLimit where indexes have limits of their own


def _default_deployment(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {"maxSurge": "25%", "maxUnavailable": "25%"})
    default_pod_spec(spec["template"]["spec"])


def _deployment_rule(new: Object, old: Object | None) -> Iterable[Cause]:
    spec = new["spec"]
    wanted = spec["selector"].get("matchLabels") or {}
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        yield Cause("spec.template.metadata.labels", "Invalid value: `selector` does not match template `labels`")
    if spec["replicas"] < 0:
        yield Cause("spec.replicas", "Invalid value: must be greater than or equal to 0")
    if old is not None and old["spec"].get("selector") != spec["selector"]:
        yield Cause("spec.selector", "Invalid value: field is immutable")


def _ready(deployment: Mapping[str, Any], _: datetime) -> str:
    return f"{deployment.get('status', {}).get('readyReplicas', 0)}/{deployment['spec'].get('replicas', 1)}"


def _of_containers(field: str) -> Callable[[Mapping[str, Any], datetime], str]:
    def cell(obj: Mapping[str, Any], _: datetime) -> str:
        return ",".join(str(container.get(field, "")) for container in obj["spec"]["template"]["spec"]["containers"])

    return cell


_TEMPLATE_COLUMNS = (
    Column("Containers", "string", priority=1, value=_of_containers("name")),
    Column("Images", "string", priority=1, value=_of_containers("image")),
    Column("Selector", "string", priority=1, value=lambda obj, _: selector_text(obj["spec"]["selector"])),
)

DEPLOYMENT = with_scale(
    native(
        Names("apps/v1", "Deployment", "deployments", short=("deploy",), categories=("all",), shape=wire.DEPLOYMENT),
        {
            "spec": struct(
                {
                    "replicas": INTEGER,
                    "selector": SELECTOR,
                    "template": POD_TEMPLATE,
                    "strategy": struct(
                        {
                            "type": STRING,
                            "rollingUpdate": struct({"maxSurge": INT_OR_STRING, "maxUnavailable": INT_OR_STRING}),
                        }
                    ),
                    "minReadySeconds": INTEGER,
                    "paused": BOOLEAN,
                    "progressDeadlineSeconds": INTEGER,
                    "revisionHistoryLimit": INTEGER,
                },
                required=("selector", "template"),
            ),
            "status": struct(
                {
                    "observedGeneration": INTEGER,
                    "replicas": INTEGER,
                    "updatedReplicas": INTEGER,
                    "readyReplicas": INTEGER,
                    "availableReplicas": INTEGER,
                    "unavailableReplicas": INTEGER,
                    "terminatingReplicas": INTEGER,
                    "collisionCount": INTEGER,
                    "conditions": CONDITIONS,
                }
            ),
        },
        default=_default_deployment,
        rule=_deployment_rule,
        columns=(
            Column("Ready", "string", value=_ready),
            Column("Up-to-date", "integer", value=lambda o, _: o.get("status", {}).get("updatedReplicas", 0)),
            Column("Available", "integer", value=lambda o, _: o.get("status", {}).get("availableReplicas", 0)),
            *_TEMPLATE_COLUMNS,
        ),
    ),
    Scale(selector="spec.selector"),
)


def _default_job(obj: Object) -> None:
    spec, metadata = obj["spec"], obj["metadata"]
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    if spec.get("parallelism") is None:
        spec["parallelism"] = 1
    spec.setdefault("backoffLimit", 6 if spec.get("backoffLimitPerIndex") is None else _NO_LIMIT)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    if "selector" not in spec:
        spec["selector"] = {"matchLabels": {JOB_UID: metadata["uid"]}}
        labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
        labels.update({JOB_UID: metadata["uid"], JOB_NAME: metadata["name"], "job-name": metadata["name"]})
    default_pod_spec(spec["template"]["spec"])


def _job_rule(new: Object, old: Object | None) -> Iterable[Cause]:
    spec = new["spec"]
    if spec["template"]["spec"].get("restartPolicy") not in ("Never", "OnFailure"):
        yield Cause(
            "spec.template.spec.restartPolicy",
            "Required value: valid values: [OnFailure, Never]",
            "FieldValueRequired",
        )
    for name in ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"):
        if (spec.get(name) or 0) < 0:
            yield Cause(f"spec.{name}", "Invalid value: must be greater than or equal to 0")
    if spec["completionMode"] == "Indexed" and spec.get("completions") is None:
        yield Cause("spec.completions", "Required value: with completionMode Indexed", "FieldValueRequired")
    if spec["completionMode"] != "Indexed":
        for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(name) is not None:
                yield Cause(f"spec.{name}", f"Invalid value: {spec[name]}: requires indexed completion mode")
    if old is not None:
        for name in ("template", "selector", "completions", "completionMode", "backoffLimitPerIndex"):
            if old["spec"].get(name) != spec.get(name):
                yield Cause(f"spec.{name}", "Invalid value: field is immutable")


def _completions(job: Mapping[str, Any], _: datetime) -> str:
    wanted = job["spec"].get("completions") or f"1 of {job['spec'].get('parallelism', 1)}"
    return f"{job.get('status', {}).get('succeeded', 0)}/{wanted}"


def _job_state(job: Mapping[str, Any], _: datetime) -> str:
    held = {c["type"] for c in job.get("status", {}).get("conditions", ()) if c["status"] == "True"}
    shown = ("Complete", "Failed", "SuccessCriteriaMet", "FailureTarget", "Suspended")
    if job["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return next((state for state in shown if state in held), "Running")


def _duration(job: Mapping[str, Any], now: datetime) -> str:
    status = job.get("status", {})
    if "startTime" not in status:
        return ""
    end = datetime.fromisoformat(status["completionTime"]) if "completionTime" in status else now
    return f"{int((end - datetime.fromisoformat(status['startTime'])).total_seconds())}s"


JOB = native(
    Names("batch/v1", "Job", "jobs", categories=("all",), shape=wire.JOB),
    {
        "spec": struct(
            {
                "parallelism": INTEGER,
                "completions": INTEGER,
                "completionMode": STRING,
                "backoffLimit": INTEGER,
                "backoffLimitPerIndex": INTEGER,
                "maxFailedIndexes": INTEGER,
                "activeDeadlineSeconds": INTEGER,
                "ttlSecondsAfterFinished": INTEGER,
                "suspend": BOOLEAN,
                "selector": SELECTOR,
                "manualSelector": BOOLEAN,
                "template": POD_TEMPLATE,
                "podFailurePolicy": ANY,
                "podReplacementPolicy": STRING,
                "successPolicy": ANY,
                "managedBy": STRING,
            },
            required=("template",),
        ),
        "status": struct(
            {
                "active": INTEGER,
                "ready": INTEGER,
                "terminating": INTEGER,
                "succeeded": INTEGER,
                "failed": INTEGER,
                "startTime": TIME,
                "completionTime": TIME,
                "completedIndexes": STRING,
                "failedIndexes": STRING,
                "uncountedTerminatedPods": struct({"succeeded": STRINGS, "failed": array(STRING)}),
                "conditions": CONDITIONS,
            }
        ),
    },
    default=_default_job,
    rule=_job_rule,
    columns=(
        Column("Status", "string", value=_job_state),
        Column("Completions", "string", value=_completions),
        Column("Duration", "string", value=_duration),
        *_TEMPLATE_COLUMNS,
    ),
)
