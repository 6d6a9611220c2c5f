"""The agent's Deployment and the volume of its state."""

from atoll.installation.plan import (
    AGENT,
    ENROLMENT_ANNOTATION,
    ENROLMENT_SECRET,
    LABELS,
    NAMESPACE,
    STATE_CLAIM,
    Installation,
    Manifest,
    State,
    agent_options,
)

# The user "nonroot" of the usual minimal images; any number but 0 would do.
_USER = 65532
_CREDENTIALS, _STATE_DIR, _TEMPORARY = "/etc/atoll/enrolment", "/var/lib/atoll", "/tmp"  # noqa: S108 - a mount
# Keys, and the orders that stand: a few KB each.
_STATE_SIZE = "1Gi"
# docs/benchmarks.md: 170 MB with 5,000 nodes and 100,000 pods; the limit leaves room for four times that.
_RESOURCES = {"requests": {"cpu": "50m", "memory": "192Mi"}, "limits": {"memory": "700Mi"}}


def claim(state: State) -> Manifest:
    """Give the volume claim of the agent's key and last orders."""
    spec: Manifest = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": _STATE_SIZE}}}
    if state.storage_class:
        spec["storageClassName"] = state.storage_class
    metadata = {"name": STATE_CLAIM, "namespace": NAMESPACE, "labels": dict(LABELS)}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def deployment(installation: Installation) -> Manifest:
    """Give the Deployment.

    It has no probes: an agent whose part breaks ends as a whole and is started anew, and that it works its heartbeat
    proves to the hub. A probe of either would restart it just when the hub or the API server is away.
    """
    selector = {"app.kubernetes.io/name": AGENT}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": AGENT, "namespace": NAMESPACE, "labels": dict(LABELS)},
        "spec": {
            "replicas": 1,
            # Two agents on one state would be refused by its lock; two agents of one cluster would fight.
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {"labels": dict(LABELS), "annotations": _annotations(installation)},
                "spec": _pod(installation),
            },
        },
    }


def _annotations(installation: Installation) -> dict[str, str]:
    """Start a new pod for a new token: a running agent does not look at it again."""
    return {ENROLMENT_ANNOTATION: installation.fingerprint} if installation.fingerprint else {}


def _pod(installation: Installation) -> Manifest:
    return {
        "serviceAccountName": AGENT,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(installation)],
        "volumes": [
            {"name": "enrolment", "secret": {"secretName": ENROLMENT_SECRET, "defaultMode": 0o440}},
            {"name": "state", **_state_volume(installation.state)},
            {"name": "tmp", "emptyDir": {}},
        ],
    }


def _container(installation: Installation) -> Manifest:
    options = agent_options(installation, credentials=_CREDENTIALS, state_dir=_STATE_DIR)
    return {
        "name": "agent",
        "image": installation.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["atoll", *options],
        "resources": _RESOURCES,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "enrolment", "mountPath": _CREDENTIALS, "readOnly": True},
            {"name": "state", "mountPath": _STATE_DIR},
            {"name": "tmp", "mountPath": _TEMPORARY},
        ],
    }


def _state_volume(state: State) -> Manifest:
    match state.kind:
        case "empty":
            return {"emptyDir": {}}
        case "host":
            return {"hostPath": {"path": state.path, "type": "Directory"}}
    return {"persistentVolumeClaim": {"claimName": STATE_CLAIM}}
