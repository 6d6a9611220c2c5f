"""Pod: schema, defaults, printer columns, and the seconds that its deletion waits for the kubelet.

Owns the pod template too, which Job and Deployment share; must not decide where or how a pod runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from atoll.kubeapi.resource import Column, Object
from atoll.sandbox.kinds import wire_pods
from atoll.sandbox.kinds.native import Names, native, with_grace
from atoll.sandbox.kinds.shape import (
    ANY,
    BOOLEAN,
    CONDITIONS,
    INTEGER,
    LABELS,
    QUANTITY,
    RESOURCES,
    STRING,
    STRINGS,
    TIME,
    array,
    atomic,
    defaulted,
    keyed,
    merged,
    struct,
)

DEFAULT_GRACE_SECONDS = 30

UNSUPPORTED_VOLUMES = ("hostPath", "nfs", "csi", "projected", "downwardAPI", "ephemeral", "image", "iscsi", "cephfs")
"""Volumes that the API takes and the kubelet refuses: it says so in the pod's status."""

_KEY_REFERENCE = atomic(struct({"name": STRING, "key": STRING, "optional": BOOLEAN}, required=("key",)))
_SOURCE_REFERENCE = struct({"name": STRING, "optional": BOOLEAN})
_VALUE_FROM = struct(
    {
        "fieldRef": atomic(struct({"apiVersion": STRING, "fieldPath": STRING}, required=("fieldPath",))),
        "resourceFieldRef": atomic(struct({"containerName": STRING, "resource": STRING, "divisor": QUANTITY})),
        "configMapKeyRef": _KEY_REFERENCE,
        "secretKeyRef": _KEY_REFERENCE,
    }
)
_ENV = struct({"name": STRING, "value": STRING, "valueFrom": _VALUE_FROM}, required=("name",))
_ENV_FROM = struct({"prefix": STRING, "configMapRef": _SOURCE_REFERENCE, "secretRef": _SOURCE_REFERENCE})
_PORT = struct(
    {
        "name": STRING,
        "containerPort": INTEGER,
        "protocol": defaulted(STRING, "TCP"),
        "hostPort": INTEGER,
        "hostIP": STRING,
    },
    required=("containerPort",),
)
_MOUNT = struct(
    {
        "name": STRING,
        "mountPath": STRING,
        "subPath": STRING,
        "subPathExpr": STRING,
        "readOnly": BOOLEAN,
        "recursiveReadOnly": STRING,
        "mountPropagation": STRING,
    },
    required=("name", "mountPath"),
)
_CONTAINER = struct(
    {
        "name": STRING,
        "image": STRING,
        "imagePullPolicy": STRING,
        "command": STRINGS,
        "args": STRINGS,
        "workingDir": STRING,
        "env": keyed(_ENV, "name"),
        "envFrom": array(_ENV_FROM),
        "ports": keyed(_PORT, "containerPort", "protocol"),
        "resources": struct({"limits": RESOURCES, "requests": RESOURCES, "claims": array(ANY)}),
        "resizePolicy": array(ANY),
        "volumeMounts": keyed(_MOUNT, "mountPath"),
        "volumeDevices": array(ANY),
        "livenessProbe": ANY,
        "readinessProbe": ANY,
        "startupProbe": ANY,
        "lifecycle": ANY,
        "restartPolicy": STRING,
        "securityContext": ANY,
        "stdin": BOOLEAN,
        "stdinOnce": BOOLEAN,
        "tty": BOOLEAN,
        "terminationMessagePath": STRING,
        "terminationMessagePolicy": STRING,
    },
    required=("name",),
)
_KEY_TO_PATH = struct({"key": STRING, "path": STRING, "mode": INTEGER}, required=("key", "path"))
_VOLUME = struct(
    {
        "name": STRING,
        "persistentVolumeClaim": struct({"claimName": STRING, "readOnly": BOOLEAN}, required=("claimName",)),
        "emptyDir": struct({"medium": STRING, "sizeLimit": QUANTITY}),
        "configMap": struct(
            {"name": STRING, "optional": BOOLEAN, "defaultMode": INTEGER, "items": array(_KEY_TO_PATH)}
        ),
        "secret": struct(
            {"secretName": STRING, "optional": BOOLEAN, "defaultMode": INTEGER, "items": array(_KEY_TO_PATH)}
        ),
        **dict.fromkeys(UNSUPPORTED_VOLUMES, ANY),
    },
    required=("name",),
)
_TOLERATION = struct(
    {"key": STRING, "operator": STRING, "value": STRING, "effect": STRING, "tolerationSeconds": INTEGER}
)

POD_SPEC = struct(
    {
        "containers": keyed(_CONTAINER, "name"),
        "initContainers": keyed(_CONTAINER, "name"),
        "ephemeralContainers": array(ANY),
        "volumes": keyed(_VOLUME, "name"),
        "restartPolicy": STRING,
        "terminationGracePeriodSeconds": INTEGER,
        "activeDeadlineSeconds": INTEGER,
        "nodeName": STRING,
        "nodeSelector": atomic(LABELS),
        "affinity": ANY,
        "tolerations": array(_TOLERATION),
        "topologySpreadConstraints": merged(ANY, "topologyKey"),
        "serviceAccountName": STRING,
        "serviceAccount": STRING,
        "automountServiceAccountToken": BOOLEAN,
        "schedulerName": STRING,
        "schedulingGates": array(ANY),
        "priority": INTEGER,
        "priorityClassName": STRING,
        "preemptionPolicy": STRING,
        "runtimeClassName": STRING,
        "overhead": RESOURCES,
        "resources": ANY,
        "resourceClaims": array(ANY),
        "hostNetwork": BOOLEAN,
        "hostPID": BOOLEAN,
        "hostIPC": BOOLEAN,
        "hostUsers": BOOLEAN,
        "hostname": STRING,
        "subdomain": STRING,
        "setHostnameAsFQDN": BOOLEAN,
        "hostAliases": array(ANY),
        "dnsPolicy": STRING,
        "dnsConfig": ANY,
        "enableServiceLinks": BOOLEAN,
        "shareProcessNamespace": BOOLEAN,
        "securityContext": ANY,
        "imagePullSecrets": array(ANY),
        "readinessGates": array(ANY),
        "os": ANY,
    },
    required=("containers",),
)
POD_TEMPLATE = struct({"metadata": ANY, "spec": POD_SPEC}, required=("spec",))

_POD_STATUS = struct(
    {
        "phase": STRING,
        "reason": STRING,
        "message": STRING,
        "nominatedNodeName": STRING,
        "hostIP": STRING,
        "hostIPs": array(ANY),
        "podIP": STRING,
        "podIPs": array(ANY),
        "startTime": TIME,
        "qosClass": STRING,
        "observedGeneration": INTEGER,
        "conditions": CONDITIONS,
        "containerStatuses": array(ANY),
        "initContainerStatuses": array(ANY),
        "ephemeralContainerStatuses": array(ANY),
    }
)


def default_pod_spec(spec: dict[str, Any]) -> None:
    """Fill in what Kubernetes fills in (core/v1 SetDefaults_PodSpec and SetDefaults_Container)."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    for container in (*spec.get("initContainers", ()), *spec.get("containers", ())):
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        container.setdefault("imagePullPolicy", "IfNotPresent")
        resources = container.setdefault("resources", {})
        for part in ("limits", "requests"):  # the API answers with quantities as text, however they were written
            if part in resources:
                resources[part] = {name: str(amount) for name, amount in resources[part].items()}
        if resources.get("limits"):  # a limit without a request is the request, too
            resources["requests"] = {**resources["limits"], **resources.get("requests", {})}
        for port in container.get("ports", ()):
            port.setdefault("protocol", "TCP")


def _default(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if isinstance(spec, dict):
        default_pod_spec(spec)
        spec.setdefault("serviceAccountName", "default")
        spec.setdefault("enableServiceLinks", True)
    obj.setdefault("status", {}).setdefault("phase", "Pending")


def _grace_seconds(pod: Mapping[str, Any]) -> int:
    """A pod that no kubelet has, or that has ended, goes at once."""
    is_over = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    if is_over or not pod.get("spec", {}).get("nodeName"):
        return 0
    return int(pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS))


def _statuses(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(pod.get("status", {}).get("containerStatuses", ()))


def _ready(pod: Mapping[str, Any], _: datetime) -> str:
    total = len(pod.get("spec", {}).get("containers", ()))
    return f"{sum(1 for status in _statuses(pod) if status.get('ready'))}/{total}"


def _state(pod: Mapping[str, Any], _: datetime) -> str:
    """Say why a pod is where it is, as kubectl's printer does: the innermost reason that is known."""
    status = pod.get("status", {})
    if pod.get("metadata", {}).get("deletionTimestamp"):
        return "Terminating"
    shown = str(status.get("reason") or status.get("phase") or "Unknown")
    for container in _statuses(pod):
        state = container.get("state", {})
        waiting, ended = state.get("waiting", {}).get("reason"), state.get("terminated", {}).get("reason")
        shown = waiting or ended or shown
    return shown


def _restarts(pod: Mapping[str, Any], _: datetime) -> int:
    return sum(int(status.get("restartCount", 0)) for status in _statuses(pod))


POD = with_grace(
    native(
        Names("v1", "Pod", "pods", short=("po",), categories=("all",), shape=wire_pods.POD),
        {"spec": POD_SPEC, "status": _POD_STATUS},
        default=_default,
        columns=(
            Column("Ready", "string", value=_ready),
            Column("Status", "string", value=_state),
            Column("Restarts", "integer", value=_restarts),
            Column("IP", "string", ".status.podIP", priority=1),
            Column("Node", "string", ".spec.nodeName", priority=1),
        ),
    ),
    _grace_seconds,
)
"""A pod. Probes, lifecycle hooks and ephemeral containers are stored and not acted on."""
