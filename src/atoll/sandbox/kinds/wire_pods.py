"""The shape of pods in protobuf: Pod, and the template that Job and Deployment share.

Owns the numbers of these fields and nothing else. Source: k8s.io/api core/v1/generated.proto; the selector's are from
k8s.io/apimachinery meta/v1/generated.proto. What no part of a simulated cluster acts on (probes, lifecycle hooks,
security contexts, pod affinity) has no shape and is left out of what is stored; as JSON it is stored.
"""

from __future__ import annotations

from atoll.kubeapi.protobuf import OBJECT_META, QUANTITY_VALUES, TEXT_VALUES, Field, Kind, Message, texts


def message(name: str, of: Message) -> Field:
    """Return a field that is a message; without a name its fields stand in the message around it."""
    return Field(name, "message", of=of)


def messages(name: str, of: Message) -> Field:
    """Return a field that is a list of messages."""
    return Field(name, "message", repeated=True, of=of)


def mapped(name: str, of: Message = TEXT_VALUES) -> Field:
    """Return a field that is a map, by default of texts."""
    return Field(name, "map", of=of)


def lists(**numbers: int) -> dict[int, Field]:
    """Return fields that are lists of texts."""
    return {number: Field(name, repeated=True) for name, number in numbers.items()}


def flags(**numbers: int) -> dict[int, Field]:
    """Return fields that are true, false or absent."""
    return _all("bool", numbers)


def counts(**numbers: int) -> dict[int, Field]:
    """Return fields that are whole numbers or absent."""
    return _all("int", numbers)


def plain_flags(**numbers: int) -> dict[int, Field]:
    """Return fields that are true or absent: no pointers in Go."""
    return _all("bool", numbers, omits_zero=True)


def plain_counts(**numbers: int) -> dict[int, Field]:
    """Return fields that are whole numbers but 0, or absent: no pointers in Go."""
    return _all("int", numbers, omits_zero=True)


def _all(kind: Kind, numbers: dict[str, int], *, omits_zero: bool = False) -> dict[int, Field]:
    return {number: Field(name, kind, omits_zero=omits_zero) for name, number in numbers.items()}


_EXPRESSION: Message = {**texts(key=1, operator=2), **lists(values=3)}
SELECTOR: Message = {1: mapped("matchLabels"), 2: messages("matchExpressions", _EXPRESSION)}
LOCAL_REFERENCE: Message = texts(name=1)
_OPTIONAL_REFERENCE: Message = {1: message("", LOCAL_REFERENCE), **flags(optional=2)}
_KEY_REFERENCE: Message = {1: message("", LOCAL_REFERENCE), **texts(key=2), **flags(optional=3)}

_VALUE_FROM: Message = {
    1: message("fieldRef", texts(apiVersion=1, fieldPath=2)),
    2: message("resourceFieldRef", {**texts(containerName=1, resource=2), 3: Field("divisor", "quantity")}),
    3: message("configMapKeyRef", _KEY_REFERENCE),
    4: message("secretKeyRef", _KEY_REFERENCE),
}
_ENV: Message = {**texts(name=1, value=2), 3: message("valueFrom", _VALUE_FROM)}
_ENV_FROM: Message = {
    **texts(prefix=1),
    2: message("configMapRef", _OPTIONAL_REFERENCE),
    3: message("secretRef", _OPTIONAL_REFERENCE),
}
_PORT: Message = {**texts(name=1, protocol=4, hostIP=5), **plain_counts(hostPort=2, containerPort=3)}
_RESOURCES: Message = {1: mapped("limits", QUANTITY_VALUES), 2: mapped("requests", QUANTITY_VALUES)}
_MOUNT: Message = {
    **texts(name=1, mountPath=3, subPath=4, mountPropagation=5, subPathExpr=6, recursiveReadOnly=7),
    **plain_flags(readOnly=2),
}
_CONTAINER: Message = {
    **texts(name=1, image=2, workingDir=5, terminationMessagePath=13, imagePullPolicy=14),
    **texts(terminationMessagePolicy=20, restartPolicy=24),
    **lists(command=3, args=4),
    6: messages("ports", _PORT),
    7: messages("env", _ENV),
    8: message("resources", _RESOURCES),
    9: messages("volumeMounts", _MOUNT),
    **plain_flags(stdin=16, stdinOnce=17, tty=18),
    19: messages("envFrom", _ENV_FROM),
}

_KEY_TO_PATH: Message = {**texts(key=1, path=2), **counts(mode=3)}
_CONFIG_MAP_VOLUME: Message = {
    1: message("", LOCAL_REFERENCE),
    2: messages("items", _KEY_TO_PATH),
    **counts(defaultMode=3),
    **flags(optional=4),
}
_SECRET_VOLUME: Message = {
    **texts(secretName=1),
    2: messages("items", _KEY_TO_PATH),
    **counts(defaultMode=3),
    **flags(optional=4),
}
_REFUSED: Message = {}
"""Of volumes that the kubelet refuses, it is enough to know that they are there."""

_VOLUME_SOURCE: Message = {
    1: message("hostPath", _REFUSED),
    2: message("emptyDir", {**texts(medium=1), 2: Field("sizeLimit", "quantity")}),
    6: message("secret", _SECRET_VOLUME),
    7: message("nfs", _REFUSED),
    8: message("iscsi", _REFUSED),
    10: message("persistentVolumeClaim", {**texts(claimName=1), **plain_flags(readOnly=2)}),
    14: message("cephfs", _REFUSED),
    16: message("downwardAPI", _REFUSED),
    19: message("configMap", _CONFIG_MAP_VOLUME),
    26: message("projected", _REFUSED),
    28: message("csi", _REFUSED),
    29: message("ephemeral", _REFUSED),
    30: message("image", _REFUSED),
}
_VOLUME: Message = {**texts(name=1), 2: message("", _VOLUME_SOURCE)}

_NODE_TERM: Message = {1: messages("matchExpressions", _EXPRESSION), 2: messages("matchFields", _EXPRESSION)}
_NODE_AFFINITY: Message = {
    1: message("requiredDuringSchedulingIgnoredDuringExecution", {1: messages("nodeSelectorTerms", _NODE_TERM)}),
    2: messages(
        "preferredDuringSchedulingIgnoredDuringExecution",
        {**counts(weight=1), 2: message("preference", _NODE_TERM)},
    ),
}
_TOLERATION: Message = {**texts(key=1, operator=2, value=3, effect=4), **counts(tolerationSeconds=5)}
_SPREAD: Message = {
    **texts(topologyKey=2, whenUnsatisfiable=3, nodeAffinityPolicy=6, nodeTaintsPolicy=7),
    **counts(maxSkew=1, minDomains=5),
    **lists(matchLabelKeys=8),
    4: message("labelSelector", SELECTOR),
}
_DNS: Message = {**lists(nameservers=1, searches=2), 3: messages("options", texts(name=1, value=2))}

POD_SPEC: Message = {
    **texts(restartPolicy=3, dnsPolicy=6, serviceAccountName=8, serviceAccount=9, nodeName=10, hostname=16),
    **texts(subdomain=17, schedulerName=19, priorityClassName=24, runtimeClassName=29, preemptionPolicy=31),
    **counts(terminationGracePeriodSeconds=4, activeDeadlineSeconds=5, priority=25),
    **plain_flags(hostNetwork=11, hostPID=12, hostIPC=13),
    **flags(automountServiceAccountToken=21, shareProcessNamespace=27),
    **flags(enableServiceLinks=30, setHostnameAsFQDN=35, hostUsers=37),
    1: messages("volumes", _VOLUME),
    2: messages("containers", _CONTAINER),
    7: mapped("nodeSelector"),
    15: messages("imagePullSecrets", LOCAL_REFERENCE),
    18: message("affinity", {1: message("nodeAffinity", _NODE_AFFINITY)}),
    20: messages("initContainers", _CONTAINER),
    22: messages("tolerations", _TOLERATION),
    23: messages("hostAliases", {**texts(ip=1), **lists(hostnames=2)}),
    26: message("dnsConfig", _DNS),
    28: messages("readinessGates", texts(conditionType=1)),
    32: mapped("overhead", QUANTITY_VALUES),
    33: messages("topologySpreadConstraints", _SPREAD),
    36: message("os", texts(name=1)),
    38: messages("schedulingGates", texts(name=1)),
    40: message("resources", _RESOURCES),
}
_TEMPLATE_META: Message = {number: OBJECT_META[number] for number in (1, 11, 12, 14)}
"""Name, labels, annotations and finalizers: the rest is never of a template, and Go sends its zeros."""

POD_TEMPLATE: Message = {1: message("metadata", _TEMPLATE_META), 2: message("spec", POD_SPEC)}
POD: Message = {1: message("metadata", OBJECT_META), 2: message("spec", POD_SPEC)}
