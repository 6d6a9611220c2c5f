"""Which kinds of work an API server takes, out of its discovery documents. Pure.

Every kind is told that an adapter or an annotation may be for: all but those of Kubernetes' own groups, which are no
work. A kind in two versions is told in both: a workload names one.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from atoll.edge.member.objects import Kind
from atoll.federation.resources.inventory import ServedKind

# About 60 bytes each in a report that is told again when any pod comes or goes.
MAX_KINDS = 400
# Groups of kube-apiserver, kubernetes/api; `batch` is the one that holds work, and of the core group it is the Pod.
_NO_WORK = frozenset(
    {
        *("apps", "autoscaling", "policy", "extensions"),
        *(
            f"{name}.k8s.io"
            for name in (
                *("admissionregistration", "apiextensions", "authentication", "authorization", "certificates"),
                *("coordination", "discovery", "events", "flowcontrol.apiserver", "internal.apiserver", "metrics"),
                *("networking", "node", "policy.networking", "rbac.authorization", "resource", "scheduling"),
                *("snapshot.storage", "storage", "storagemigration"),
            )
        ),
        *("apiregistration.k8s.io", "cilium.io", "multicluster.x-k8s.io"),
    }
)
_CORE_WORK = frozenset({"Pod"})


@dataclass(frozen=True)
class Served:
    """What an API server serves: the kinds of work, the names of all groups, and the kinds of network policies.

    `policies` is None where it was not asked for.
    """

    kinds: tuple[ServedKind, ...]
    groups: frozenset[str]
    policies: tuple[str, ...] | None = None


def served(
    kinds: Iterable[Kind], *, first: frozenset[Kind] = frozenset(), policies: tuple[str, ...] | None = None
) -> Served:
    """Give what is told of the kinds that can be made in namespaces.

    Args:
        kinds: all of them.
        first: those that are told even where they are too many to be told all.
        policies: the kinds of network policies that are served; None if that was not asked for.
    """
    found = set(kinds)
    work = sorted((kind for kind in found if _is_work(kind)), key=lambda kind: (kind not in first, kind))
    told = tuple(ServedKind(api_version=kind.api_version, kind=kind.kind) for kind in sorted(work[:MAX_KINDS]))
    return Served(told, frozenset(_group(kind) for kind in found), policies)


def _is_work(kind: Kind) -> bool:
    group = _group(kind)
    return kind.kind in _CORE_WORK if not group else group not in _NO_WORK


def _group(kind: Kind) -> str:
    return kind.api_version.rpartition("/")[0]
