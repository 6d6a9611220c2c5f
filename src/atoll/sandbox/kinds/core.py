"""The core group but for Pod and volumes: Namespace, Node, ConfigMap, Secret, ServiceAccount, Service, Event; Lease.

Owns their schemas, defaults and columns only.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from atoll.kubeapi import protobuf
from atoll.kubeapi.errors import Cause
from atoll.kubeapi.resource import Column, Object
from atoll.sandbox.kinds import wire
from atoll.sandbox.kinds.native import Names, native
from atoll.sandbox.kinds.shape import (
    ANY,
    BOOLEAN,
    CONDITIONS,
    INT_OR_STRING,
    INTEGER,
    LABELS,
    OBJECT_REFERENCE,
    RESOURCES,
    STRING,
    STRINGS,
    TIME,
    array,
    atomic,
    defaulted,
    keyed,
    struct,
    unique,
)

CONTENT_FINALIZER = "sandbox.atoll.dev/content"
"""Keeps a namespace until its content is gone; Kubernetes does it with spec.finalizers and a subresource."""

_ROLE_PREFIX = "node-role.kubernetes.io/"


def _default_namespace(obj: Object) -> None:
    metadata = obj["metadata"]
    if "name" in metadata:  # without one it is refused after this
        metadata.setdefault("labels", {})["kubernetes.io/metadata.name"] = metadata["name"]
    if "deletionTimestamp" not in metadata and CONTENT_FINALIZER not in metadata.setdefault("finalizers", []):
        metadata["finalizers"].append(CONTENT_FINALIZER)
    obj.setdefault("spec", {})
    obj.setdefault("status", {}).setdefault("phase", "Active")


NAMESPACE = native(
    Names("v1", "Namespace", "namespaces", short=("ns",), shape=wire.NAMESPACE),
    {
        "spec": struct({"finalizers": STRINGS}),
        "status": struct({"phase": STRING, "conditions": CONDITIONS}),
    },
    namespaced=False,
    default=_default_namespace,
    columns=(Column("Status", "string", ".status.phase"),),
)


def _node_status(node: Mapping[str, Any], _: datetime) -> str:
    conditions = node.get("status", {}).get("conditions", ())
    is_ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    text = "Ready" if is_ready else "NotReady"
    return f"{text},SchedulingDisabled" if node.get("spec", {}).get("unschedulable") else text


def _node_roles(node: Mapping[str, Any], _: datetime) -> str:
    labels = node.get("metadata", {}).get("labels") or {}
    roles = sorted(label.removeprefix(_ROLE_PREFIX) for label in labels if label.startswith(_ROLE_PREFIX))
    return ",".join(roles) or "<none>"


def _node_address(node: Mapping[str, Any], _: datetime) -> str:
    addresses = node.get("status", {}).get("addresses", ())
    return next((str(a["address"]) for a in addresses if a["type"] == "InternalIP"), "<none>")


NODE = native(
    Names("v1", "Node", "nodes", short=("no",)),
    {
        "spec": struct(
            {
                "podCIDR": STRING,
                "podCIDRs": unique(STRING),
                "providerID": STRING,
                "unschedulable": BOOLEAN,
                "taints": array(struct({"key": STRING, "value": STRING, "effect": STRING, "timeAdded": TIME})),
            }
        ),
        "status": struct(
            {
                "capacity": RESOURCES,
                "allocatable": RESOURCES,
                "conditions": CONDITIONS,
                "addresses": array(struct({"type": STRING, "address": STRING})),
                "nodeInfo": ANY,
                "daemonEndpoints": ANY,
                "images": array(ANY),
                "volumesInUse": STRINGS,
                "volumesAttached": array(ANY),
                "features": ANY,
            }
        ),
    },
    namespaced=False,
    columns=(
        Column("Status", "string", value=_node_status),
        Column("Roles", "string", value=_node_roles),
        Column("Version", "string", ".status.nodeInfo.kubeletVersion"),
        Column("Internal-IP", "string", priority=1, value=_node_address),
        Column("OS-Image", "string", ".status.nodeInfo.osImage", priority=1),
        Column("Container-Runtime", "string", ".status.nodeInfo.containerRuntimeVersion", priority=1),
    ),
)


def _immutable(new: Object, old: Object | None) -> Iterable[Cause]:
    if old is None or not old.get("immutable"):
        return
    for name in ("data", "binaryData", "immutable"):
        if new.get(name) != old.get(name):
            yield Cause(name, "Forbidden: field is immutable when `immutable` is set", "FieldValueForbidden")


CONFIG_MAP = native(
    Names("v1", "ConfigMap", "configmaps", short=("cm",), shape=wire.CONFIG_MAP),
    {"data": LABELS, "binaryData": LABELS, "immutable": BOOLEAN},
    rule=_immutable,
    columns=(Column("Data", "integer", value=lambda o, _: len(o.get("data", {})) + len(o.get("binaryData", {}))),),
)


_NO_BREAKS = str.maketrans("", "", "\r\n")  # which Go's decoder passes over; `kubectl kustomize` breaks long lines


def _default_secret(obj: Object) -> None:
    obj.setdefault("type", "Opaque")
    written = obj.pop("stringData", None) or {}
    if written:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in written.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


def _secret_rule(new: Object, old: Object | None) -> Iterable[Cause]:
    for key, value in (new.get("data") or {}).items():
        try:
            base64.b64decode(value.translate(_NO_BREAKS), validate=True)
        except ValueError:
            yield Cause(f"data[{key}]", "Invalid value: must be base64; write plain text into stringData")
    yield from _immutable(new, old)


SECRET = native(
    Names("v1", "Secret", "secrets", shape=wire.SECRET),
    {"data": LABELS, "stringData": LABELS, "type": STRING, "immutable": BOOLEAN},
    default=_default_secret,
    rule=_secret_rule,
    columns=(
        Column("Type", "string", ".type"),
        Column("Data", "integer", value=lambda o, _: len(o.get("data") or {})),
    ),
)

SERVICE_ACCOUNT = native(
    Names("v1", "ServiceAccount", "serviceaccounts", short=("sa",), shape=wire.SERVICE_ACCOUNT),
    {
        "secrets": keyed(OBJECT_REFERENCE, "name"),
        "imagePullSecrets": array(ANY),
        "automountServiceAccountToken": BOOLEAN,
    },
)

_SERVICE_PORT = struct(
    {
        "name": STRING,
        "port": INTEGER,
        "protocol": defaulted(STRING, "TCP"),
        "targetPort": INT_OR_STRING,
        "nodePort": INTEGER,
        "appProtocol": STRING,
    },
    required=("port",),
)


def _default_service(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports", ()):
        port.setdefault("protocol", "TCP")
        port["targetPort"] = (
            port.get("targetPort") or port["port"]
        )  # 0 and "" say nothing, as in core/v1 SetDefaults_Service
    obj.setdefault("status", {"loadBalancer": {}})


def _service_ports(service: Mapping[str, Any], _: datetime) -> str:
    ports = service.get("spec", {}).get("ports", ())
    return ",".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in ports) or "<none>"


SERVICE = native(
    Names("v1", "Service", "services", short=("svc",), categories=("all",), shape=wire.SERVICE),
    {
        "spec": struct(
            {
                "type": STRING,
                "selector": atomic(LABELS),
                "ports": keyed(_SERVICE_PORT, "port", "protocol"),
                "clusterIP": STRING,
                "clusterIPs": STRINGS,
                "externalIPs": STRINGS,
                "externalName": STRING,
                "externalTrafficPolicy": STRING,
                "internalTrafficPolicy": STRING,
                "trafficDistribution": STRING,
                "healthCheckNodePort": INTEGER,
                "ipFamilies": STRINGS,
                "ipFamilyPolicy": STRING,
                "loadBalancerClass": STRING,
                "loadBalancerIP": STRING,
                "loadBalancerSourceRanges": STRINGS,
                "allocateLoadBalancerNodePorts": BOOLEAN,
                "publishNotReadyAddresses": BOOLEAN,
                "sessionAffinity": STRING,
                "sessionAffinityConfig": ANY,
            }
        ),
        "status": struct({"loadBalancer": ANY, "conditions": CONDITIONS}),
    },
    default=_default_service,
    columns=(
        Column("Type", "string", ".spec.type"),
        Column("Cluster-IP", "string", ".spec.clusterIP"),
        Column("Port(s)", "string", value=_service_ports),
    ),
)
"""A service. It is stored; nothing forwards traffic for it: containers are processes that share the host's network."""


def _event_object(event: Mapping[str, Any], _: datetime) -> str:
    about = event.get("involvedObject", {})
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


_EVENT_COLUMNS = (
    Column("Last Seen", "date", ".lastTimestamp"),
    Column("Type", "string", ".type"),
    Column("Reason", "string", ".reason"),
    Column("Object", "string", value=_event_object),
    Column("Message", "string", ".message"),
    Column("Count", "integer", ".count", priority=1),
    Column("Name", "string", ".metadata.name", priority=1, format="name"),
)
_EVENT = native(
    Names("v1", "Event", "events", short=("ev",), shape=protobuf.EVENT),
    {
        "involvedObject": OBJECT_REFERENCE,
        "related": OBJECT_REFERENCE,
        "reason": STRING,
        "message": STRING,
        "type": STRING,
        "action": STRING,
        "count": INTEGER,
        "source": struct({"component": STRING, "host": STRING}),
        "firstTimestamp": TIME,
        "lastTimestamp": TIME,
        "eventTime": TIME,
        "series": ANY,
        "reportingComponent": STRING,
        "reportingInstance": STRING,
    },
)
EVENT = replace(_EVENT, columns=_EVENT_COLUMNS)  # an event has no age of its own, and nobody asks for its name

LEASE = native(
    Names("coordination.k8s.io/v1", "Lease", "leases"),
    {
        "spec": struct(
            {
                "holderIdentity": STRING,
                "leaseDurationSeconds": INTEGER,
                "leaseTransitions": INTEGER,
                "acquireTime": TIME,
                "renewTime": TIME,
                "strategy": STRING,
                "preferredHolder": STRING,
            }
        )
    },
    columns=(Column("Holder", "string", ".spec.holderIdentity"),),
)
