"""Which Kubernetes distribution a node belongs to, by the marks that each leaves on its nodes. Pure."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from atoll.edge.member.objects import labels_of

Json = Mapping[str, Any]
_Test = Callable[[Json], bool]

EDGE_ROLE_LABEL = "node-role.kubernetes.io/edge"
_OPENSHIFT_LABEL = "node.openshift.io/"


def kubelet_version(node: Json) -> str:
    """Give the version that the kubelet says, such as `v1.33.1+k3s1`; KubeEdge's EdgeCore says its own beside it."""
    return str(((node.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion", ""))


def is_kubeedge(node: Json) -> bool:
    """Tell whether a node is one of KubeEdge's; OpenShift gives the same role to nodes in AWS Local Zones."""
    if "-kubeedge-" in kubelet_version(node):
        return True
    return EDGE_ROLE_LABEL in labels_of(node) and not _label(_OPENSHIFT_LABEL)(node)


def _version(part: str) -> _Test:
    return lambda node: part in kubelet_version(node)


def _label(prefix: str) -> _Test:
    return lambda node: any(key.startswith(prefix) for key in labels_of(node))


def _annotation(key: str) -> _Test:
    return lambda node: key in ((node.get("metadata") or {}).get("annotations") or {})


def _provider(prefix: str) -> _Test:
    return lambda node: str((node.get("spec") or {}).get("providerID", "")).startswith(prefix)


def _os_image(prefix: str) -> _Test:
    return lambda node: str(((node.get("status") or {}).get("nodeInfo") or {}).get("osImage", "")).startswith(prefix)


# First match wins. KubeEdge stands first: its edge nodes join a cluster whose cloud nodes look like another one's.
# kubeadm stands last: others (Talos, kind, minikube) start with it and leave more of a mark.
DISTRIBUTIONS: tuple[tuple[str, tuple[_Test, ...]], ...] = (
    ("KubeEdge", (is_kubeedge,)),
    ("K3s", (_version("+k3s"), _provider("k3s://"))),
    ("RKE2", (_version("+rke2"), _provider("rke2://"))),
    ("k0s", (_version("+k0s"), _label("node.k0sproject.io/"))),
    ("MicroK8s", (_label("microk8s.io/"),)),
    ("EKS", (_version("-eks-"), _label("eks.amazonaws.com/"))),
    ("GKE", (_version("-gke."), _label("cloud.google.com/gke-"))),
    ("AKS", (_label("kubernetes.azure.com/"),)),
    ("OpenShift", (_label(_OPENSHIFT_LABEL),)),
    ("ACK", (_version("-aliyun."), _label("alibabacloud.com/"))),
    ("DOKS", (_label("doks.digitalocean.com/"),)),
    ("IKS", (_label("ibm-cloud.kubernetes.io/"),)),
    ("LKE", (_label("lke.linode.com/"),)),
    ("Talos", (_os_image("Talos"),)),
    ("kind", (_provider("kind://"),)),
    ("minikube", (_label("minikube.k8s.io/"),)),
    ("kubeadm", (_annotation("kubeadm.alpha.kubernetes.io/cri-socket"),)),
)


def distribution_of(node: Json) -> str:
    """Name the Kubernetes distribution that a node belongs to; empty if it does not say."""
    return next((name for name, tests in DISTRIBUTIONS if any(test(node) for test in tests)), "")


def most_telling(found: Iterable[str]) -> str:
    """Choose among the nodes' distributions: one KubeEdge node makes it a KubeEdge cluster."""
    names = set(found)
    return next((name for name, _ in DISTRIBUTIONS if name in names), "")
