"""What pods may not have, so that a job reaches its own namespace and nothing of the node or of its neighbours.

Owns Kubernetes' Pod Security Standards (kubernetes.io/docs/concepts/security/pod-security-standards) as they apply to
a workload of any kind. Pods stand at many places in a workload, some of which no mapping knows: so what Baseline
forbids is looked for everywhere in it, and what Restricted wants of every pod in whatever has containers. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

Level = Literal["privileged", "baseline", "restricted"]
# The label of a Namespace that says which level holds in it, here as in every cluster; without it, Baseline.
LEVEL_LABEL = "pod-security.kubernetes.io/enforce"
DEFAULT_LEVEL: Level = "baseline"
LEVELS: tuple[Level, ...] = ("privileged", "baseline", "restricted")

_HOST_NAMESPACES = frozenset({"hostNetwork", "hostPID", "hostIPC", "hostProcess"})
_BASELINE_CAPABILITIES = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
    "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
})  # fmt: skip
_SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
_SAFE_SYSCTLS = frozenset({
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
})  # fmt: skip
_RESTRICTED_VOLUMES = frozenset({
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
})  # fmt: skip
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
# Text in which a kind lets people write parts of a pod: nobody could see what it asks for.
_PATCHES = frozenset({"podSpecPatch"})


def level_of(labels: Mapping[str, str] | None) -> Level:
    """Read the level out of a namespace's labels; what is no level is the default."""
    said = (labels or {}).get(LEVEL_LABEL)
    return next((level for level in LEVELS if level == said), DEFAULT_LEVEL)


def breaches(node: Any, level: Level, path: str) -> Iterator[tuple[str, str]]:
    """Name what breaks a level in a manifest or a part of one: the field, and what is wrong with it."""
    if level == "privileged":
        return
    if isinstance(node, Mapping):
        yield from _baseline(node, path)
        if level == "restricted" and isinstance(node.get("containers"), list):
            yield from _restricted(node, path)
        for key, child in node.items():
            yield from breaches(child, level, f"{path}.{key}")
    elif isinstance(node, list | tuple):
        for index, child in enumerate(node):
            yield from breaches(child, level, f"{path}[{index}]")


def _baseline(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        at = f"{path}.{key}"
        if key in _HOST_NAMESPACES and _is_set(value):
            yield at, "shares the node's own namespaces with the pod"
        elif key == "hostPath" and value is not None:
            yield at, "mounts a folder of the node; datasets and claims are what a job's files belong on"
        elif key == "hostPort" and value not in (None, 0):
            yield at, "opens a port of the node"
        elif key in _PATCHES and value:
            yield at, "is text that becomes part of a pod unseen: write its fields into the template"
        elif ".volumes.hostPath." in str(key):  # Spark's way to write a volume (spark.kubernetes.*.volumes)
            yield f"{path}[{key!r}]", "mounts a folder of the node"
        elif key == "annotations" and isinstance(value, Mapping):
            yield from _unconfined_annotations(value, at)
        elif key in ("securityContext", "podSecurityContext") and isinstance(value, Mapping):
            yield from _context(value, at)


def _is_set(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _unconfined_annotations(annotations: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """AppArmor was asked for by annotations before Kubernetes 1.30."""
    for key, value in annotations.items():
        if str(key).startswith("container.apparmor.security.beta.kubernetes.io/") and value == "unconfined":
            yield f"{path}[{key!r}]", "takes the container's AppArmor profile away"


def _context(context: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    if _is_set(context.get("privileged")):
        yield f"{path}.privileged", "gives the container the whole node"
    if context.get("procMount") not in (None, "Default"):
        yield f"{path}.procMount", "must be Default or left out"
    for profile in ("seccompProfile", "appArmorProfile"):
        if _type_of(context.get(profile)) == "Unconfined":
            yield f"{path}.{profile}.type", "must not be Unconfined"
    for capability in _added(context):
        if str(capability) not in _BASELINE_CAPABILITIES:
            yield f"{path}.capabilities.add", f"may not add {capability}"
    for sysctl in _listed(context.get("sysctls")):
        wanted = sysctl.get("name") if isinstance(sysctl, Mapping) else sysctl
        if str(wanted) not in _SAFE_SYSCTLS:
            yield f"{path}.sysctls", f"may not set {wanted}"
    labels = _mapped(context.get("seLinuxOptions"))
    if str(labels.get("type", "")) not in _SELINUX_TYPES:
        yield f"{path}.seLinuxOptions.type", f"may not be {labels['type']}"
    for part in ("user", "role"):
        if labels.get(part):
            yield f"{path}.seLinuxOptions.{part}", "may not be set"


def _restricted(pod: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    shared = _mapped(pod.get("securityContext"))
    if shared.get("runAsUser") == 0:
        yield f"{path}.securityContext.runAsUser", "must not be 0, which is root"
    for index, volume in enumerate(_listed(pod.get("volumes"))):
        for kind in set(volume) - {"name", "hostPath"} - _RESTRICTED_VOLUMES if isinstance(volume, Mapping) else ():
            yield f"{path}.volumes[{index}].{kind}", "is no volume that a restricted pod may have"
    for name in _CONTAINERS:
        for index, container in enumerate(_listed(pod.get(name))):
            if isinstance(container, Mapping):
                own = _mapped(container.get("securityContext"))
                yield from _restricted_container(own, shared, f"{path}.{name}[{index}].securityContext")


def _restricted_container(own: Mapping[str, Any], pod: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Say what a container lacks. What its own context does not say, its pod's may, where Kubernetes has that field."""
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{path}.allowPrivilegeEscalation", "must be false"
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield f"{path}.runAsNonRoot", "must be true, here or for the whole pod"
    if own.get("runAsUser") == 0:
        yield f"{path}.runAsUser", "must not be 0, which is root"
    profile = _type_of(own.get("seccompProfile")) or _type_of(pod.get("seccompProfile"))
    if profile not in ("RuntimeDefault", "Localhost"):
        yield f"{path}.seccompProfile.type", "must be RuntimeDefault or Localhost, here or for the whole pod"
    if "ALL" not in _listed(_mapped(own.get("capabilities")).get("drop")):
        yield f"{path}.capabilities.drop", "must name ALL"
    for capability in _added(own):
        if capability != "NET_BIND_SERVICE":
            yield f"{path}.capabilities.add", f"may not add {capability}"


def _type_of(profile: Any) -> Any:
    return _mapped(profile).get("type")


def _added(context: Mapping[str, Any]) -> Sequence[Any]:
    return _listed(_mapped(context.get("capabilities")).get("add"))


def _mapped(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
