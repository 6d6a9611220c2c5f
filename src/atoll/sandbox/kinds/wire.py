"""The shapes in protobuf of the kinds that `kubectl create` writes so: namespaces, config maps, deployments, jobs.

Owns the numbers of their fields and nothing else; pods have a module of their own. A status has no shape: nobody
creates one. Source: k8s.io/api core/v1, apps/v1 and batch/v1, generated.proto.
"""

from __future__ import annotations

from atoll.kubeapi.protobuf import BYTES_VALUES, OBJECT_META, Field, Message, texts
from atoll.sandbox.kinds.wire_pods import (
    LOCAL_REFERENCE,
    POD_TEMPLATE,
    SELECTOR,
    counts,
    flags,
    lists,
    mapped,
    message,
    messages,
    plain_counts,
    plain_flags,
)

_META = message("metadata", OBJECT_META)

NAMESPACE: Message = {1: _META, 2: message("spec", lists(finalizers=1))}

CONFIG_MAP: Message = {
    1: _META,
    2: mapped("data"),
    3: mapped("binaryData", BYTES_VALUES),
    **flags(immutable=4),
}

SECRET: Message = {
    1: _META,
    2: mapped("data", BYTES_VALUES),
    **texts(type=3),
    4: mapped("stringData"),
    **flags(immutable=5),
}

_REFERENCE: Message = texts(kind=1, namespace=2, name=3, uid=4, apiVersion=5, resourceVersion=6, fieldPath=7)
SERVICE_ACCOUNT: Message = {
    1: _META,
    2: messages("secrets", _REFERENCE),
    3: messages("imagePullSecrets", LOCAL_REFERENCE),
    **flags(automountServiceAccountToken=4),
}

_SERVICE_PORT: Message = {
    **texts(name=1, protocol=2, appProtocol=6),
    **plain_counts(port=3, nodePort=5),
    4: Field("targetPort", "int-or-string", omits_zero=True),
}
_SERVICE_SPEC: Message = {
    **texts(clusterIP=3, type=4, sessionAffinity=7, loadBalancerIP=8, externalName=10, externalTrafficPolicy=11),
    **texts(ipFamilyPolicy=17, loadBalancerClass=21, internalTrafficPolicy=22, trafficDistribution=23),
    **lists(externalIPs=5, loadBalancerSourceRanges=9, clusterIPs=18, ipFamilies=19),
    **plain_counts(healthCheckNodePort=12),
    **plain_flags(publishNotReadyAddresses=13),
    **flags(allocateLoadBalancerNodePorts=20),
    1: messages("ports", _SERVICE_PORT),
    2: mapped("selector"),
    14: message("sessionAffinityConfig", {1: message("clientIP", counts(timeoutSeconds=1))}),
}
SERVICE: Message = {1: _META, 2: message("spec", _SERVICE_SPEC)}

_ROLLING_UPDATE: Message = {1: Field("maxUnavailable", "int-or-string"), 2: Field("maxSurge", "int-or-string")}
_DEPLOYMENT_SPEC: Message = {
    **counts(replicas=1, revisionHistoryLimit=6, progressDeadlineSeconds=9),
    **plain_counts(minReadySeconds=5),
    2: message("selector", SELECTOR),
    3: message("template", POD_TEMPLATE),
    4: message("strategy", {**texts(type=1), 2: message("rollingUpdate", _ROLLING_UPDATE)}),
    **plain_flags(paused=7),
}
DEPLOYMENT: Message = {1: _META, 2: message("spec", _DEPLOYMENT_SPEC)}

_JOB_SPEC: Message = {
    **counts(parallelism=1, completions=2, activeDeadlineSeconds=3, backoffLimit=7, ttlSecondsAfterFinished=8),
    **counts(backoffLimitPerIndex=12, maxFailedIndexes=13),
    4: message("selector", SELECTOR),
    **flags(manualSelector=5, suspend=10),
    6: message("template", POD_TEMPLATE),
    **texts(completionMode=9, podReplacementPolicy=14, managedBy=15),
}
JOB: Message = {1: _META, 2: message("spec", _JOB_SPEC)}
