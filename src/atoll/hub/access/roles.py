"""What a role allows. Owns the table of roles and the decision over one action; pure.

    Viewer      reads every kind of atoll.dev, events and namespaces, jobs' logs, datasets' files and proof, metrics;
                asks what if a cluster were drained or a queue changed, and which labels run in a cluster
    Submitter   the same, and writes jobs, triggers, datasets and transfers; their queue is for `authorizer` to check;
                runs commands in the pods of jobs, and asks what if a job were submitted
    Operator    reads the same, and writes namespaces, events and every kind with its status, but not RoleBinding;
                examines the hub, its NATS and its members (atoll doctor)
    Admin       may do everything: bindings, tokens, everybody's audit records, backups, acting as somebody else
    (nobody)    whom no role was given may read discovery, ask what they may do, and read their own audit records
                and accounts

A grant's namespaces limit what is in namespaces. Listing or watching across all of them wants a grant that has no such
limit, as in Kubernetes. Objects of the cluster scope belong to no namespace: every role reads them, for clusters and
queues are what placement explains itself with, and only a grant without a limit writes them. Who may write in a
namespace may delete there, whatever the queue.

A decision is made of the same rules that `kubectl auth can-i --list` shows, so that the two cannot disagree.
"""

from collections.abc import Iterator, Mapping, Sequence

from atoll.federation.resources import API_GROUP, KINDS
from atoll.federation.resources.rolebinding import Role
from atoll.hub.access.grant import Grant
from atoll.kubeapi.http.access import Action, Decision, Rule

ADMIN = Grant("Admin")
AUDIT_PATH = "/access/audit"
ACCOUNTS_PATH = "/accounts"

_CORE = ""
_READS = ("get", "list", "watch")
_WRITES = ("create", "update", "patch", "delete", "deletecollection")
_SUBMITTED = ("jobs", "triggers", "datasets", "transfers")
_GUARDED = frozenset({"rolebindings"})
_NAMESPACED = frozenset({"events", *(kind.plural for kind in KINDS if kind.namespaced)})


def _plurals(*, namespaced: bool) -> tuple[str, ...]:
    names = [kind.plural for kind in KINDS if kind.namespaced is namespaced]
    return tuple(path for name in names for path in (name, f"{name}/status"))


def _unguarded(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name.partition("/")[0] not in _GUARDED)


# Source of the documents that everybody may read: Kubernetes' roles system:discovery and system:public-info-viewer.
_DISCOVERY = ("/", "/api", "/api/*", "/apis", "/apis/*", "/openapi/*")
_HEALTH = ("/healthz", "/livez", "/readyz", "/version")
_EVERYBODY = (
    Rule(("get",), paths=(*_DISCOVERY, *_HEALTH, AUDIT_PATH, f"{ACCOUNTS_PATH}/*")),
    Rule(("create",), ("authorization.k8s.io",), ("selfsubjectaccessreviews", "selfsubjectrulesreviews")),
    Rule(("create",), ("authentication.k8s.io",), ("selfsubjectreviews",)),
)
_ADMIN = (Rule(("*",), ("*",), ("*",)), Rule(("*",), paths=("*",)))
_READ_CLUSTER = (
    Rule(_READS, (API_GROUP,), _plurals(namespaced=False)),
    Rule(_READS, (_CORE,), ("namespaces",)),
    Rule(("get",), paths=("/metrics",)),
)
_READ_INSIDE = (
    Rule(_READS, (API_GROUP,), _plurals(namespaced=True)),
    Rule(_READS, (_CORE,), ("events",)),
    Rule(("get",), (API_GROUP,), ("jobs/log", "jobs/top", "datasets/files")),
    # POST proves a dataset as GET does, and changes nothing.
    Rule(("get", "create"), (API_GROUP,), ("datasets/verify",)),
)
# A WebSocket is asked for as get, and talked over as create: both are looked for, as in Kubernetes since 1.35.
_COMMANDS = Rule(("get", "create"), (API_GROUP,), ("jobs/exec",))
# Admitted like a job that is submitted.
_TRIAL = Rule(("create",), (API_GROUP,), ("jobs/whatif",))
# What would become of jobs tells of all namespaces; it changes nothing.
_REPLAY = Rule(("create",), (API_GROUP,), ("clusters/whatif", "queues/whatif"))
# Labels of pods in all namespaces: what a plan of policies compares verdicts among.
_RUNNING = Rule(("get",), (API_GROUP,), ("clusters/workloads",))
_WRITE_CLUSTER: Mapping[Role, tuple[Rule, ...]] = {
    "Operator": (
        Rule(_WRITES, (API_GROUP,), _unguarded(_plurals(namespaced=False))),
        Rule(_WRITES, (_CORE,), ("namespaces",)),
        Rule(("post",), paths=("/access/enrolments",)),
        Rule(("delete",), paths=("/access/members/*",)),
        Rule(("get",), paths=("/diagnosis",)),
    ),
}
_WRITE_INSIDE: Mapping[Role, tuple[Rule, ...]] = {
    "Submitter": (Rule(_WRITES, (API_GROUP,), _SUBMITTED), _COMMANDS, _TRIAL),
    "Operator": (
        Rule(_WRITES, (API_GROUP,), _unguarded(_plurals(namespaced=True))),
        Rule(_WRITES, (_CORE,), ("events",)),
        _COMMANDS,
        _TRIAL,
    ),
}


def rules(grants: Sequence[Grant], namespace: str) -> tuple[Rule, ...]:
    """Return all that grants allow in one namespace and at the cluster scope; "" stands for all namespaces at once."""
    return tuple(dict.fromkeys(_rules(grants, namespace)))


def _rules(grants: Sequence[Grant], namespace: str) -> Iterator[Rule]:
    yield from _EVERYBODY
    for grant in grants:
        yield from _of(grant, namespace)


def _of(grant: Grant, namespace: str) -> Iterator[Rule]:
    if grant.role == "Admin":
        yield from _ADMIN
        return
    yield from _READ_CLUSTER
    if not grant.namespaces:
        yield _REPLAY
        yield _RUNNING
        yield from _WRITE_CLUSTER.get(grant.role, ())
    if holds_in(grant, namespace):
        yield from _READ_INSIDE
        yield from _WRITE_INSIDE.get(grant.role, ())


def holds_in(grant: Grant, namespace: str) -> bool:
    """Tell whether a grant counts in a namespace; "" asks for all of them at once."""
    return grant.covers_namespace(namespace) if namespace else not grant.namespaces


def allowed(grants: Sequence[Grant], action: Action) -> Decision:
    """Decide over one action; a refusal says what was granted instead."""
    if any(covers(rule, action) for rule in _rules(grants, _namespace(action))):
        return Decision(True)
    return Decision(False, _why_not(grants, action))


def _namespace(action: Action) -> str:
    return (action.target.namespace if action.target else None) or ""


def covers(rule: Rule, action: Action) -> bool:
    """Tell whether a rule allows an action. Source: k8s.io/kubernetes pkg/apis/rbac/v1 evaluation_helpers.go."""
    if not _has(rule.verbs, action.verb):
        return False
    target = action.target
    if target is None:
        return any(_path_matches(pattern, action.path) for pattern in rule.paths)
    resource = f"{target.plural}/{target.subresource}" if target.subresource else target.plural
    return _has(rule.groups, target.group) and _has(rule.resources, resource)


def _has(names: Sequence[str], name: str) -> bool:
    return "*" in names or name in names


def _path_matches(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def _why_not(grants: Sequence[Grant], action: Action) -> str:
    if not grants:
        return "no role is granted to this user or one of their groups: an Admin grants one by a RoleBinding"
    granted = "; ".join(dict.fromkeys(map(describe, grants)))
    target, is_limited = action.target, any(grant.namespaces for grant in grants)
    if is_limited and target is not None and not target.namespace and target.plural in _NAMESPACED:
        return f"it is about all namespaces, and granted is only {granted}"
    return f"granted is only {granted}"


def describe(grant: Grant) -> str:
    """Write a grant for a person: `Submitter in namespaces a, b through queues q`."""
    where = f" in namespace{_s(grant.namespaces)} {', '.join(grant.namespaces)}" if grant.namespaces else ""
    through = f" through queue{_s(grant.queues)} {', '.join(grant.queues)}" if grant.queues else ""
    return f"{grant.role}{where}{through}"


def _s(names: Sequence[str]) -> str:
    return "s" if len(names) > 1 else ""
