"""What pods use, of the resource metrics API: served so that clients find it; nothing of it is stored."""

from __future__ import annotations

from dataclasses import replace

from atoll.sandbox.kinds.native import Names, native
from atoll.sandbox.kinds.shape import ANY, STRING, array, struct

POD_METRICS = replace(
    native(
        Names("metrics.k8s.io/v1beta1", "PodMetrics", "pods"),
        {"timestamp": STRING, "window": STRING, "containers": array(struct({"name": STRING, "usage": ANY}))},
    ),
    singular="",  # as metrics-server tells it: `pod` is the core group's
    verbs=("get", "list"),
)
