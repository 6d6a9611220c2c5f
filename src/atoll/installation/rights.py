"""What an agent may do in its cluster: exactly what its program asks for, each with its reason.

A test lets a real agent work behind these rules, and fails on a request that they refuse and on a rule that nothing
uses. RBAC cannot bind `create` to names: what is written under fixed names is bound by them in every other verb.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from atoll.federation.bus.admission import CREDENTIALS_SECRET
from atoll.federation.resources import DATASET_CLAIM
from atoll.federation.workloads import ADAPTERS
from atoll.installation.plan import Manifest

_CERTIFICATES = tuple(f"clustermesh-apiserver-{who}-cert" for who in ("server", "admin", "remote", "local"))
_FOLLOW = ("list", "watch")
# Server-side apply is authorized as patch, and as create too where it makes the object.
_HOLD = ("create", "patch")


@dataclass(frozen=True)
class Right:
    """One rule of a role and why it is there."""

    reason: str
    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()

    def rule(self) -> Manifest:
        """Give the form that stands in a Role."""
        rule: Manifest = {"apiGroups": [self.group], "resources": list(self.resources), "verbs": list(self.verbs)}
        return rule | ({"resourceNames": list(self.names)} if self.names else {})


def _adapted() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Give the resources of all kinds that a workload can be of, by API group."""
    resources: dict[str, set[str]] = {}
    for adapter in ADAPTERS.values():
        resources.setdefault(adapter.api_version.rpartition("/")[0], set()).add(adapter.plural)
    resources.pop("")
    for group, plurals in sorted(resources.items()):
        yield group, tuple(sorted(plurals))


CLUSTER_RIGHTS: tuple[Right, ...] = (
    Right("inventory", "", ("nodes", "pods", "persistentvolumeclaims", "events"), _FOLLOW),
    Right("inventory: storage", "storage.k8s.io", ("storageclasses", "csidrivers", "csistoragecapacities"), _FOLLOW),
    Right("inventory: devices", "resource.k8s.io", ("resourceslices", "resourceclaims", "deviceclasses"), _FOLLOW),
    Right("inventory: Kueue's queues", "kueue.x-k8s.io", ("resourceflavors", "clusterqueues", "localqueues"), _FOLLOW),
    Right("inventory: Volcano's queues", "scheduling.volcano.sh", ("queues",), _FOLLOW),
    Right("inventory: the pods' networks", "cilium.io", ("ciliumnodes",), _FOLLOW),
    Right("services shared in the mesh", "", ("services",), _FOLLOW),
    Right("services shared in the mesh", "multicluster.x-k8s.io", ("serviceexports",), _FOLLOW),
    Right("their endpoints", "discovery.k8s.io", ("endpointslices",), ("list",)),
    Right("the namespace of a run, a data service or a policy", "", ("namespaces",), ("get", *_FOLLOW, *_HOLD)),
    *(
        Right("runs, each kind by its adapter", group, resources, ("get", *_FOLLOW, *_HOLD, "delete"))
        for group, resources in _adapted()
    ),
    # Followed by the inventory already.
    Right("runs: pods as workloads, and pods that outlive theirs", "", ("pods",), ("get", *_HOLD, "delete")),
    Right("runs: the tasks of an array that are done already", "batch", ("jobs/status",), ("patch",)),
    Right("logs of runs", "", ("pods/log",), ("get",)),
    Right("what runs use now", "metrics.k8s.io", ("pods",), ("list",)),
    Right("data services: the volume of a namespace", "", ("persistentvolumeclaims",), ("create",)),
    Right(
        "data services: the volume of a namespace, deleted only by a leave that says so",
        "", ("persistentvolumeclaims",), ("patch", "delete"), (DATASET_CLAIM,),
    ),
    Right("data services: sink and mover", "apps", ("deployments",), (*_FOLLOW, "create")),
    Right("data services: sink and mover", "apps", ("deployments",), ("patch", "delete"), ("atoll-data",)),
    Right("data services: their credentials", "", ("secrets",), ("create",)),
    Right("data services: their credentials", "", ("secrets",), ("get", "patch", "delete"), (CREDENTIALS_SECRET,)),
    *(
        Right("policies", group, resources, ("get", *_FOLLOW, *_HOLD, "update", "delete"))
        for group, resources in (
            ("networking.k8s.io", ("networkpolicies",)),
            ("policy.networking.k8s.io", ("clusternetworkpolicies",)),
            ("cilium.io", ("ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies", "ciliumcidrgroups")),
        )
    ),
)  # fmt: skip

# In Cilium's namespace, where it is; the private keys in these Secrets are dropped as they arrive.
CILIUM_RIGHTS: tuple[Right, ...] = (
    Right("mesh settings", "", ("configmaps",), ("get",), ("cilium-config",)),
    Right(
        "mesh peers, the CA that is trusted, and when certificates end",
        "", ("secrets",), ("get",),
        ("cilium-clustermesh", *_CERTIFICATES),
    ),
)  # fmt: skip

# A client that opens a websocket is authorized as get before Kubernetes 1.35, and as create since (KEP-4006).
CILIUM_EXEC_RIGHT = Right("cilium status in Cilium's pods", "", ("pods/exec",), ("get", "create"))
# RBAC knows no labels: this is a shell in every pod of the cluster, so that an operator has to ask for it.
JOB_EXEC_RIGHT = Right("commands in the pods of runs", "", ("pods/exec",), ("get", "create"))


def cluster_rules(*, with_exec: bool) -> list[Manifest]:
    """Give the rules of the ClusterRole; `with_exec` is needed for `atoll agent --job-exec` only."""
    return [right.rule() for right in (*CLUSTER_RIGHTS, *([JOB_EXEC_RIGHT] if with_exec else ()))]


def cilium_rules(*, with_exec: bool) -> list[Manifest]:
    """Give the rules of the Role in Cilium's namespace; `with_exec` is needed for `atoll agent --cilium-exec` only."""
    return [right.rule() for right in (*CILIUM_RIGHTS, *([CILIUM_EXEC_RIGHT] if with_exec else ()))]
