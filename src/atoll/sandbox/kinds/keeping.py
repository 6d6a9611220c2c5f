"""StatefulSet and PodDisruptionBudget: what keeps members of a quorum apart and alive.

Owns schemas, defaults and columns. Nobody here evicts pods, so that a budget is stored and never asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from atoll.kubeapi.errors import Cause
from atoll.kubeapi.resource import Column, Object, Scale
from atoll.sandbox.kinds.native import Names, native, with_scale
from atoll.sandbox.kinds.pods import POD_TEMPLATE, default_pod_spec
from atoll.sandbox.kinds.shape import ANY, CONDITIONS, INT_OR_STRING, INTEGER, SELECTOR, STRING, array, struct


def _default_stateful_set(obj: Object) -> None:
    spec = obj["spec"]
    spec.setdefault("replicas", 1)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("updateStrategy", {"type": "RollingUpdate"})
    default_pod_spec(spec["template"]["spec"])


def _stateful_set_rule(new: Object, old: Object | None) -> Iterable[Cause]:
    spec = new["spec"]
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    wanted = spec["selector"].get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        yield Cause("spec.template.metadata.labels", "Invalid value: `selector` does not match template `labels`")
    if old is not None:
        for name in ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"):
            if old["spec"].get(name) != spec.get(name):
                yield Cause(f"spec.{name}", "Invalid value: field is immutable")


def _ready(stateful_set: Mapping[str, Any], _: datetime) -> str:
    return f"{stateful_set.get('status', {}).get('readyReplicas', 0)}/{stateful_set['spec'].get('replicas', 1)}"


STATEFUL_SET = with_scale(
    native(
        Names("apps/v1", "StatefulSet", "statefulsets", short=("sts",), categories=("all",)),
        {
            "spec": struct(
                {
                    "replicas": INTEGER,
                    "selector": SELECTOR,
                    "template": POD_TEMPLATE,
                    "serviceName": STRING,
                    "podManagementPolicy": STRING,
                    "updateStrategy": ANY,
                    "volumeClaimTemplates": array(ANY),
                    "persistentVolumeClaimRetentionPolicy": ANY,
                    "minReadySeconds": INTEGER,
                    "revisionHistoryLimit": INTEGER,
                    "ordinals": ANY,
                },
                required=("selector", "template"),
            ),
            "status": struct(
                {
                    "observedGeneration": INTEGER,
                    "replicas": INTEGER,
                    "readyReplicas": INTEGER,
                    "currentReplicas": INTEGER,
                    "updatedReplicas": INTEGER,
                    "availableReplicas": INTEGER,
                    "currentRevision": STRING,
                    "updateRevision": STRING,
                    "conditions": CONDITIONS,
                }
            ),
        },
        default=_default_stateful_set,
        rule=_stateful_set_rule,
        columns=(Column("Ready", "string", value=_ready),),
    ),
    Scale(selector="spec.selector"),
)

DISRUPTION_BUDGET = native(
    Names("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", short=("pdb",)),
    {
        "spec": struct(
            {
                "selector": SELECTOR,
                "minAvailable": INT_OR_STRING,
                "maxUnavailable": INT_OR_STRING,
                "unhealthyPodEvictionPolicy": STRING,
            }
        ),
        "status": struct(
            {
                "observedGeneration": INTEGER,
                "currentHealthy": INTEGER,
                "desiredHealthy": INTEGER,
                "disruptionsAllowed": INTEGER,
                "expectedPods": INTEGER,
                "disruptedPods": ANY,
                "conditions": CONDITIONS,
            }
        ),
    },
    columns=(
        Column("Min Available", "string", ".spec.minAvailable"),
        Column("Max Unavailable", "string", ".spec.maxUnavailable"),
    ),
)
