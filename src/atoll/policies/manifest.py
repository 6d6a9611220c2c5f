"""Policy files: from text to manifests, with every problem, its file, line and field. Pure.

It must not change what a policy says. The only things it adds are those an API server would add before anybody
reads the object: the namespace `default`; the only things it drops are an empty `status` and `creationTimestamp: null`,
which `kubectl create --dry-run` writes, and a null `matchLabels`, which means the same as none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from atoll.policies.features import DEFAULT_FEATURES, Features
from atoll.policies.selectors import parse_selector
from atoll.policies.validation import cilium, kubernetes
from atoll.policies.validation.cilium_rules import check_rules
from atoll.policies.validation.shapes import (
    DUPLICATE,
    FORBIDDEN,
    INVALID,
    NOT_SUPPORTED,
    REQUIRED,
    UNKNOWN,
    Findings,
    Shape,
    anything,
    mapping,
    show,
    struct,
    text,
)
from atoll.policies.validation.values import dns_label, dns_subdomain, label_key, label_value
from atoll.policies.yamldoc import Document, YamlError, line_of, read_documents

# A policy file that a person can review is far below this; above it the parser would hold the event loop for seconds.
LARGEST_FILE_BYTES = 1024 * 1024
# Which clusters a manifest is for, as a label selector over clusters.
CLUSTERS_ANNOTATION = "atoll.dev/clusters"
# The clusters whose pods the manifest's peers mean, instead of a list of cluster names (asked for in cilium#40413).
CLUSTER_GROUP_ANNOTATION = "atoll.dev/cluster-group"

NETWORK_POLICY = "NetworkPolicy"
CILIUM_NETWORK_POLICY = "CiliumNetworkPolicy"
CILIUM_CLUSTERWIDE_NETWORK_POLICY = "CiliumClusterwideNetworkPolicy"
CILIUM_CIDR_GROUP = "CiliumCIDRGroup"
CLUSTER_NETWORK_POLICY = "ClusterNetworkPolicy"
CILIUM_POLICIES = frozenset({CILIUM_NETWORK_POLICY, CILIUM_CLUSTERWIDE_NETWORK_POLICY})


@dataclass(frozen=True, order=True)
class Origin:
    """Where a manifest is written: the file's path in the bundle and the line it begins on."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class Manifest:
    """One policy as it is written. `namespace` is None for cluster-scoped kinds; `body` is the whole object."""

    kind: str
    namespace: str | None
    name: str
    body: Mapping[str, Any]
    origin: Origin
    lines: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """Identify the object in a cluster: kind, namespace ("" if none), name."""
        return self.kind, self.namespace or "", self.name

    @property
    def annotations(self) -> Mapping[str, str]:
        """The annotations as written."""
        return self.body["metadata"].get("annotations") or {}

    def line_of(self, path: str) -> int:
        """Give the line of a field, or of the nearest field around it that is written."""
        return line_of({"": self.origin.line, **self.lines}, path)


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong in a bundle. `reason` is Kubernetes' CauseType; `field` is empty if the file itself is wrong."""

    path: str
    line: int
    field: str
    reason: str
    message: str

    def __str__(self) -> str:
        what = f"{self.field}: {self.message}" if self.field else self.message
        return f"{self.path}:{self.line}: {what}"


@dataclass(frozen=True)
class Parsed:
    """What a file holds. With problems, `manifests` has only the documents that are free of them."""

    manifests: tuple[Manifest, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class _Kind:
    api_versions: tuple[str, ...]
    is_namespaced: bool
    fields: Mapping[str, Shape]


_KINDS: Mapping[str, _Kind] = {
    NETWORK_POLICY: _Kind(("networking.k8s.io/v1",), True, kubernetes.NETWORK_POLICY),
    CILIUM_NETWORK_POLICY: _Kind(("cilium.io/v2",), True, cilium.POLICY),
    CILIUM_CLUSTERWIDE_NETWORK_POLICY: _Kind(("cilium.io/v2",), False, cilium.POLICY),
    CILIUM_CIDR_GROUP: _Kind(("cilium.io/v2", "cilium.io/v2alpha1"), False, cilium.CIDR_GROUP),
    CLUSTER_NETWORK_POLICY: _Kind(("policy.networking.k8s.io/v1alpha2",), False, kubernetes.CLUSTER_NETWORK_POLICY),
}
KINDS = tuple(_KINDS)
CLUSTER_SCOPED = frozenset(name for name, kind in _KINDS.items() if not kind.is_namespaced)


def parse_file(content: str, path: str, features: Features = DEFAULT_FEATURES) -> Parsed:
    """Read one file of one or more YAML (or JSON) documents.

    Args:
        content: the file's text.
        path: its path in the bundle, for messages.
        features: what the agents of some target clusters have switched on; the default is Cilium's own.
    """
    manifests: list[Manifest] = []
    problems: list[Problem] = []
    for document in read_documents(content):
        if isinstance(document, YamlError):
            problems.append(Problem(path, document.line, document.field, INVALID, document.message))
            continue
        parsed = parse_document(document, path, features)
        manifests += parsed.manifests
        problems += parsed.problems
    return Parsed(tuple(manifests), tuple(sorted(problems)))


def parse_document(document: Document, path: str, features: Features = DEFAULT_FEATURES) -> Parsed:
    """Read one document of a file; what is wrong with it is told by the lines that it brings."""
    findings = Findings()
    for repeated in document.repeated_keys:
        findings.add(repeated, DUPLICATE, "is given twice")
    body = _normalized(document.value)
    if body is None:
        findings.add("", INVALID, f"{show(document.value)} is no Kubernetes object")
    elif _check_envelope(body, findings):
        _check_object(body, features, findings)
    problems = tuple(
        Problem(path, line_of(document.lines, found.field), found.field, found.reason, found.message)
        for found in dict.fromkeys(findings.found)
    )
    if body is None or problems:
        return Parsed(problems=problems)
    metadata = body["metadata"]
    origin = Origin(path, line_of(document.lines, ""))
    manifest = Manifest(body["kind"], metadata.get("namespace"), metadata["name"], body, origin, document.lines)
    return Parsed((manifest,))


def _normalized(value: object) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    body: dict[str, Any] = _without_null_selectors(value)
    if not body.get("status"):
        body.pop("status", None)
    kind = _KINDS.get(str(body.get("kind")))
    if isinstance(body.get("metadata"), dict):
        body["metadata"] = dict(body["metadata"])
        if body["metadata"].get("creationTimestamp", "") is None:
            del body["metadata"]["creationTimestamp"]
        if kind and kind.is_namespaced:
            body["metadata"].setdefault("namespace", "default")
    return body


def _without_null_selectors(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_null_selectors(item) for item in value]
    if isinstance(value, dict):
        kept = ((name, member) for name, member in value.items() if member is not None or name not in _NULLABLE)
        return {name: _without_null_selectors(member) for name, member in kept}
    return value


_NULLABLE = ("matchLabels", "matchExpressions")


def _check_envelope(body: Mapping[str, Any], out: Findings) -> bool:
    """Check apiVersion and kind; without them nothing else can be judged."""
    name = body.get("kind")
    if name is None:
        out.add("kind", REQUIRED, f"is required: one of {', '.join(KINDS)}")
        return False
    kind = _KINDS.get(str(name))
    if kind is None:
        out.add("kind", NOT_SUPPORTED, f"{show(name)} is no policy; a policy folder holds {', '.join(KINDS)}")
        return False
    if body.get("apiVersion") not in kind.api_versions:
        wanted = " or ".join(kind.api_versions)
        out.add("apiVersion", NOT_SUPPORTED, f"{show(body.get('apiVersion'))} has no {name}; write {wanted}")
        return False
    return True


def _check_object(body: Mapping[str, Any], features: Features, out: Findings) -> None:
    name: str = body["kind"]
    kind = _KINDS[name]
    required = ["metadata"] if name in CILIUM_POLICIES else ["metadata", "spec"]
    envelope: dict[str, Shape] = {"apiVersion": anything, "kind": anything, "metadata": _metadata(kind.is_namespaced)}
    struct({**envelope, **kind.fields}, required=required)(body, "", out)
    if name in CILIUM_POLICIES:
        check_rules(body, _namespace(body) if kind.is_namespaced else None, features, out)
    elif name == CLUSTER_NETWORK_POLICY:
        kubernetes.check_nodes(body, features, out)


def _namespace(body: Mapping[str, Any]) -> str:
    metadata = body.get("metadata")
    return str(metadata.get("namespace")) if isinstance(metadata, Mapping) else ""


def _metadata(is_namespaced: bool) -> Shape:
    fields: dict[str, Shape] = {
        "name": dns_subdomain,
        "labels": mapping(label_key, label_value),
        "annotations": _annotations,
        "namespace": dns_label if is_namespaced else _no_namespace,
    }
    known = struct(fields, required=("name",))

    def check(value: object, path: str, out: Findings) -> None:
        if isinstance(value, Mapping):
            for name in _SERVER_WRITTEN & value.keys():
                out.add(f"{path}.{name}", UNKNOWN, "is written by the API server; remove it")
            value = {name: member for name, member in value.items() if name not in _SERVER_WRITTEN}
        known(value, path, out)

    return check


_SERVER_WRITTEN = frozenset(
    {"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink", "deletionTimestamp"}
)


def _no_namespace(_value: object, path: str, out: Findings) -> None:
    out.add(path, FORBIDDEN, "this kind belongs to the whole cluster; remove it")


def _annotations(value: object, path: str, out: Findings) -> None:
    mapping(label_key, text())(value, path, out)
    if not isinstance(value, Mapping):
        return
    for name in (CLUSTERS_ANNOTATION, CLUSTER_GROUP_ANNOTATION):
        if isinstance(value.get(name), str):
            try:
                parse_selector(value[name])
            except ValueError as error:
                out.add(f"{path}.{name}", INVALID, str(error))
