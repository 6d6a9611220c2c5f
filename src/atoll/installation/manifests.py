"""All objects of an installation in the order in which they are applied."""

import base64
from collections.abc import Mapping

from atoll.installation import rights
from atoll.installation.plan import (
    AGENT,
    CILIUM_NAMESPACE,
    CILIUM_ROLE,
    CLUSTER_ANNOTATION,
    ENROLMENT_SECRET,
    LABELS,
    NAMESPACE,
    Installation,
    Manifest,
)
from atoll.installation.workload import claim, deployment

_RBAC = "rbac.authorization.k8s.io/v1"


def manifests(installation: Installation) -> tuple[Manifest, ...]:
    """Give what makes an agent run in its cluster. With a token they hold a secret: it is good once."""
    stored = (claim(installation.state),) if installation.state.kind == "claim" else ()
    return (
        _namespace(installation),
        _object("v1", "ServiceAccount", AGENT, namespace=NAMESPACE),
        *_cluster_role(with_exec=installation.job_exec),
        *_cilium_role(with_exec=installation.cilium_exec),
        *((_secret(installation),) if installation.hub.token else ()),
        *stored,
        deployment(installation),
    )


def removal() -> tuple[tuple[str, str, str | None, str], ...]:
    """Name what is to be deleted, in this order: apiVersion, kind, namespace, name. The namespace takes its content."""
    return (
        ("v1", "Namespace", None, NAMESPACE),
        (_RBAC, "ClusterRoleBinding", None, AGENT),
        (_RBAC, "ClusterRole", None, AGENT),
        (_RBAC, "RoleBinding", CILIUM_NAMESPACE, CILIUM_ROLE),
        (_RBAC, "Role", CILIUM_NAMESPACE, CILIUM_ROLE),
    )


def _namespace(installation: Installation) -> Manifest:
    # A folder of the host is what the two stricter levels of the Pod Security Standards forbid.
    level = "privileged" if installation.state.kind == "host" else "restricted"
    labels = {"pod-security.kubernetes.io/enforce": level}
    found = _object("v1", "Namespace", NAMESPACE, labels=labels)
    found["metadata"]["annotations"] = {CLUSTER_ANNOTATION: installation.cluster}
    return found


def _cluster_role(*, with_exec: bool) -> tuple[Manifest, Manifest]:
    role = _object(_RBAC, "ClusterRole", AGENT) | {"rules": rights.cluster_rules(with_exec=with_exec)}
    return role, _object(_RBAC, "ClusterRoleBinding", AGENT) | _bind("ClusterRole", AGENT)


def _cilium_role(*, with_exec: bool) -> tuple[Manifest, Manifest]:
    role = _object(_RBAC, "Role", CILIUM_ROLE, namespace=CILIUM_NAMESPACE)
    binding = _object(_RBAC, "RoleBinding", CILIUM_ROLE, namespace=CILIUM_NAMESPACE)
    return role | {"rules": rights.cilium_rules(with_exec=with_exec)}, binding | _bind("Role", CILIUM_ROLE)


def _bind(kind: str, name: str) -> Manifest:
    agent = {"kind": "ServiceAccount", "name": AGENT, "namespace": NAMESPACE}
    return {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}, "subjects": [agent]}


def _secret(installation: Installation) -> Manifest:
    hub = installation.hub
    files = {"token": hub.token} | ({"ca.crt": hub.ca} if hub.ca else {})
    data = {name: base64.b64encode(content.encode()).decode() for name, content in files.items()}
    return _object("v1", "Secret", ENROLMENT_SECRET, namespace=NAMESPACE) | {"type": "Opaque", "data": data}


def _object(
    api_version: str, kind: str, name: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
) -> Manifest:
    metadata: Manifest = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata | {"labels": {**LABELS, **(labels or {})}}}
