"""Roles: what each allows, told by a table written out here, and that what is listed is exactly what is allowed."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.errors import InvalidInput
from atoll.federation.resources import KINDS
from atoll.hub.access import roles
from atoll.hub.access.authorizer import admitted
from atoll.hub.access.grant import Grant
from atoll.kubeapi.http.access import Action, Rule
from atoll.kubeapi.http.target import Target, parse_target
from hub.support import API, job_spec, manifest

LAB, OTHER = "seismology", "optics"
READS, WRITES = ("get", "list", "watch"), ("create", "update", "patch", "delete", "deletecollection")

# Who may write what, in their own namespace: V(iewer), S(ubmitter), O(perator), A(dmin). Reading is everybody's.
WRITERS = {
    "jobs": "SOA",
    "triggers": "SOA",
    "datasets": "SOA",
    "transfers": "SOA",
    "runs": "OA",
    "streams": "OA",
    "events": "OA",
    "clusters": "OA",
    "queues": "OA",
    "gateways": "OA",
    "policysets": "OA",
    "reservations": "OA",
    "namespaces": "OA",
    "rolebindings": "A",
}
CLUSTER_SCOPED = frozenset(
    {"clusters", "queues", "gateways", "policysets", "reservations", "namespaces", "rolebindings"}
)
CORE = frozenset({"namespaces", "events"})
LETTER = {"V": "Viewer", "S": "Submitter", "O": "Operator", "A": "Admin"}
SCOPES: dict[str, tuple[tuple[str, ...], str | None]] = {
    "everywhere, asked in one namespace": ((), LAB),
    "everywhere, asked across all": ((), None),
    "in one namespace, asked there": ((LAB,), LAB),
    "in one namespace, asked in another": ((LAB,), OTHER),
    "in one namespace, asked across all": ((LAB,), None),
}


def on(resource: str, verb: str, namespace: str | None = LAB, name: str = "") -> Action:
    plural, _, subresource = resource.partition("/")
    group = "" if plural in CORE else "atoll.dev"
    return Action(verb, "", Target(group, "v1alpha1", plural, namespace, name, subresource))


def expected(role: str, resource: str, verb: str, *, is_covered: bool, is_unlimited: bool) -> bool:
    """Say by the table whether a role allows a verb, for a grant that covers the place asked about or not."""
    plural, _, subresource = resource.partition("/")
    if role == "Admin":
        return True
    scope_allows = is_unlimited if plural in CLUSTER_SCOPED else is_covered
    if verb in READS:
        return plural in CLUSTER_SCOPED or is_covered
    if subresource == "status" and role != "Operator":
        return False
    return scope_allows and any(LETTER[letter] == role for letter in WRITERS[plural])


def test_the_table_names_every_kind() -> None:
    assert {kind.plural for kind in KINDS} | CORE == set(WRITERS)
    assert {kind.plural for kind in KINDS if not kind.namespaced} | {"namespaces"} == CLUSTER_SCOPED


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("role", LETTER.values())
def test_a_role_allows_exactly_what_the_table_says(role: str, scope: str) -> None:
    namespaces, asked = SCOPES[scope]
    grant = Grant(role, () if role == "Admin" else namespaces)
    wrong = []
    for plural, verb in itertools.product(WRITERS, (*READS, *WRITES)):
        for resource in (plural,) if plural in CORE else (plural, f"{plural}/status"):
            covered = not grant.namespaces or asked in grant.namespaces
            want = expected(role, resource, verb, is_covered=covered, is_unlimited=not grant.namespaces)
            if roles.allowed((grant,), on(resource, verb, asked)).allowed is not want:
                wrong.append(f"{verb} {resource}: should be {want}")
    assert not wrong


SPECIAL: dict[str, tuple[Action, str]] = {
    "read a job's log": (on("jobs/log", "get", name="picks"), "VSOA"),
    "list the files of a dataset": (on("datasets/files", "get", name="waves"), "VSOA"),
    "have a dataset proved": (on("datasets/verify", "create", name="waves"), "VSOA"),
    "write into a log": (on("jobs/log", "update", name="picks"), "A"),
    "read a subresource that nobody named": (on("jobs/secrets", "get", name="picks"), "A"),
    "read a kind that nobody named": (on("secrets", "list"), "A"),
    "a verb that nobody named": (on("jobs", "escalate"), "A"),
    "everything (kubectl auth can-i '*' '*')": (Action("*", "", Target("*", "", "*")), "A"),
    "act as somebody else": (Action("impersonate", "", Target("", "v1", "users", None, "bob")), "A"),
    "ask what others may do": (
        Action("create", "", Target("authorization.k8s.io", "v1", "subjectaccessreviews")),
        "A",
    ),
    "read the metrics": (Action("get", "/metrics"), "VSOA"),
    "issue a token": (Action("post", "/access/tokens"), "A"),
    "list tokens": (Action("get", "/access/tokens"), "A"),
    "read a path that nobody named": (Action("get", "/debug/pprof"), "A"),
    "read a path that begins like one that is named": (Action("get", "/access/audit/all"), "A"),
    "write to a path that may be read": (Action("post", "/apis/atoll.dev"), "A"),
    "read discovery": (Action("get", "/apis/atoll.dev/v1alpha1"), "-VSOA"),
    "read the OpenAPI document": (Action("get", "/openapi/v3/apis/atoll.dev/v1alpha1"), "-VSOA"),
    "read the version": (Action("get", "/version"), "-VSOA"),
    "ask for their own audit records": (Action("get", "/access/audit"), "-VSOA"),
    "ask what they may do": (
        Action("create", "", Target("authorization.k8s.io", "v1", "selfsubjectaccessreviews")),
        "-VSOA",
    ),
    "list what they may do": (
        Action("create", "", Target("authorization.k8s.io", "v1", "selfsubjectrulesreviews")),
        "-VSOA",
    ),
    "ask who they are": (Action("create", "", Target("authentication.k8s.io", "v1", "selfsubjectreviews")), "-VSOA"),
}


@pytest.mark.parametrize("case", SPECIAL)
def test_what_is_no_plain_object_is_allowed_to_those_named(case: str) -> None:
    action, who = SPECIAL[case]
    grants: dict[str, tuple[Grant, ...]] = {"-": (), **{key: (Grant(role),) for key, role in LETTER.items()}}  # type: ignore[arg-type]
    assert "".join(key for key in grants if roles.allowed(grants[key], action).allowed) == who


def test_a_file_below_a_dataset_is_not_taken_for_a_path_of_discovery() -> None:
    path = f"{API}/namespaces/{OTHER}/datasets/waves/files/2026/11/day.mseed"
    action = Action("get", path, parse_target(path))
    assert not roles.allowed((), action).allowed
    assert not roles.allowed((Grant("Viewer", (LAB,)),), action).allowed
    assert roles.allowed((Grant("Viewer", (OTHER,)),), action).allowed


REFUSALS: dict[str, tuple[tuple[Grant, ...], Action, str]] = {
    "nothing is granted": ((), on("jobs", "list"), "no role is granted to this user or one of their groups"),
    "the role reads only": ((Grant("Viewer"),), on("jobs", "create"), "granted is only Viewer"),
    "another namespace": (
        (Grant("Submitter", (LAB,), ("lab", "lab2")), Grant("Viewer", ("a", "b"))),
        on("jobs", "create", OTHER),
        f"granted is only Submitter in namespace {LAB} through queues lab, lab2; Viewer in namespaces a, b",
    ),
    "all namespaces": (
        (Grant("Viewer", (LAB,)),),
        on("jobs", "list", None),
        f"it is about all namespaces, and granted is only Viewer in namespace {LAB}",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_says_what_was_granted_instead(case: str) -> None:
    grants, action, reason = REFUSALS[case]
    decision = roles.allowed(grants, action)
    assert not decision.allowed
    assert decision.reason.startswith(reason)


# --- what is listed is what is allowed

names = st.sampled_from((LAB, OTHER, "default"))
some_grants = st.lists(
    st.builds(Grant, st.sampled_from(tuple(LETTER.values())), st.lists(names, max_size=2).map(tuple)), max_size=3
).map(tuple)
resources = st.sampled_from(
    (
        *WRITERS,
        *(f"{plural}/status" for plural in WRITERS),
        "jobs/log",
        "datasets/files",
        "datasets/verify",
        "pods",
        "*",
    )
)
verbs = st.sampled_from((*READS, *WRITES, "impersonate", "*", ""))
paths = st.sampled_from(
    ("/", "/api", "/api/v1", "/apis", "/apis/x/y", "/metrics", "/access/audit", "/access/tokens", "/x")
)
actions = st.one_of(
    st.builds(on, resources, verbs, st.none() | names),
    st.builds(Action, st.sampled_from(("get", "post", "delete")), paths),
)


def is_listed(listed: Iterable[Rule], action: Action) -> bool:
    """Read rules as those who see them do: each field must name what is asked for, or say `*`."""

    def has(values: tuple[str, ...], value: str) -> bool:
        return bool({"*", value} & set(values))

    def names_it(rule: Rule) -> bool:
        if action.target is None:
            begins = [path.removesuffix("*") for path in rule.paths if path.endswith("*")]
            return action.path in rule.paths or any(action.path.startswith(begin) for begin in begins)
        resource = "/".join(filter(None, (action.target.plural, action.target.subresource)))
        return has(rule.groups, action.target.group) and has(rule.resources, resource)

    return any(has(rule.verbs, action.verb) and names_it(rule) for rule in listed)


@given(some_grants, actions)
def test_what_can_i_lists_is_exactly_what_is_allowed(grants: tuple[Grant, ...], action: Action) -> None:
    namespace = (action.target.namespace if action.target else None) or ""
    assert roles.allowed(grants, action).allowed is is_listed(roles.rules(grants, namespace), action)


@given(some_grants, some_grants, actions)
def test_one_more_grant_never_takes_a_right_away(
    some: tuple[Grant, ...], more: tuple[Grant, ...], action: Action
) -> None:
    if roles.allowed(some, action).allowed:
        assert roles.allowed((*more, *some), action).allowed
        assert roles.allowed((*some, *more), action).allowed


@given(some_grants, st.builds(on, resources, verbs, st.just(OTHER)))
def test_a_grant_reaches_no_object_of_a_namespace_that_it_does_not_name(
    grants: tuple[Grant, ...], action: Action
) -> None:
    limited = tuple(grant for grant in grants if grant.namespaces and OTHER not in grant.namespaces)
    limited = tuple(grant for grant in limited if grant.role != "Admin")
    target = action.target
    assert target is not None
    if target.plural not in CLUSTER_SCOPED:
        assert not roles.allowed(limited, action).allowed


# --- queues

SUBMITTER = Grant("Submitter", (LAB,), ("lab", "shared.night"))
ADMITTED: dict[str, tuple[tuple[Grant, ...], str, str, str | None, str]] = {
    "a queue by its name": ((SUBMITTER,), LAB, "lab", None, ""),
    "a dotted child of it": ((SUBMITTER,), LAB, "lab.interactive.short", None, ""),
    "a name that only begins alike": ((SUBMITTER,), LAB, "lab2", None, 'queue "lab2" is not among those granted'),
    "the parent of one": ((SUBMITTER,), LAB, "shared", None, "granted: lab, shared.night"),
    "another namespace": ((SUBMITTER,), OTHER, "lab", None, "no role granted in namespace 'optics' writes jobs"),
    "namespace and queue by different grants": (
        (Grant("Submitter", (LAB,), ("lab",)), Grant("Submitter", (OTHER,), ("night",))),
        LAB,
        "night",
        None,
        'queue "night" is not among those granted: lab',
    ),
    "a viewer's grant of the namespace does not count": (
        (SUBMITTER, Grant("Viewer")),
        LAB,
        "night",
        None,
        'queue "night" is not among those granted',
    ),
    "no limit on queues": ((Grant("Submitter", (LAB,)),), LAB, "night", None, ""),
    "an operator": ((Grant("Operator", (LAB,)),), LAB, "night", "lab", ""),
    "an admin": ((Grant("Admin"),), LAB, "night", "lab", ""),
    "into a foreign queue": ((SUBMITTER,), LAB, "night", "lab", 'queue "night" is not among'),
    "out of a foreign queue": ((SUBMITTER,), LAB, "lab", "night", 'queue "night" is not among'),
    "within a foreign queue": ((SUBMITTER,), LAB, "night", "night", 'queue "night" is not among'),
    "from one's own queue into another": ((SUBMITTER,), LAB, "lab", "shared.night", ""),
    "a placeholder below one's own queue": ((SUBMITTER,), LAB, "lab.{dataset}", None, ""),
    "a placeholder that may become any queue": ((SUBMITTER,), LAB, "{dataset}", None, 'queue "{dataset}" is not'),
}


def a_job(queue: str, namespace: str) -> dict[str, object]:
    return manifest("Job", "picks", job_spec(queue=queue), namespace)


def a_trigger(queue: str, namespace: str) -> dict[str, object]:
    return manifest("Trigger", "picks", {"job": {"name": "picks", "spec": job_spec(queue=queue)}}, namespace)


@pytest.mark.parametrize("make", [a_job, a_trigger])
@pytest.mark.parametrize("case", ADMITTED)
def test_work_is_admitted_only_into_queues_that_a_grant_of_its_namespace_covers(case: str, make: type) -> None:
    grants, namespace, queue, old_queue, refusal = ADMITTED[case]
    plural = "jobs" if make is a_job else "triggers"
    action = on(plural, "create" if old_queue is None else "update", namespace)
    old = None if old_queue is None else make(old_queue, namespace)
    decision = admitted(grants, action, make(queue, namespace), old)
    assert decision.allowed is (not refusal)
    assert refusal in decision.reason


def test_a_status_is_admitted_whatever_the_queue() -> None:
    """The spec does not change with it, and whoever may write a status is bound to no queue by their role."""
    job = a_job("night", LAB)
    assert admitted((SUBMITTER,), on("jobs/status", "update", name="picks"), job, job).allowed


# --- the form of a grant

BAD_GRANTS: dict[str, tuple[object, dict[str, str]]] = {
    "no map": ([], {"": "must be a map"}),
    "no role": ({}, {"role": "is required: one of Admin, Operator, Submitter, Viewer"}),
    "an unknown role": ({"role": "root"}, {"role": "'root': must be one of Admin"}),
    "a role that is no text": ({"role": ["Admin"]}, {"role": "must be one of Admin"}),
    "an unknown field": ({"role": "Viewer", "namespace": "x"}, {"namespace": "unknown field"}),
    "no list": ({"role": "Viewer", "namespaces": "lab"}, {"namespaces": "must be a list of names"}),
    "bad names": (
        {"role": "Submitter", "namespaces": ["ok", "Not OK", 7], "queues": ["a..b", "x\n"]},
        {
            "namespaces[1]": "'Not OK': must be a name",
            "namespaces[2]": "'7'",
            "queues[0]": "'a..b'",
            "queues[1]": "must be a name",
        },
    ),
    "an admin of one namespace": ({"role": "Admin", "namespaces": ["lab"]}, {"namespaces": "an Admin is not limited"}),
    "an operator of a queue": ({"role": "Operator", "queues": ["lab"]}, {"queues": "only a Submitter is limited"}),
}


@pytest.mark.parametrize("case", BAD_GRANTS)
def test_a_bad_grant_is_refused_with_each_fault_named(case: str) -> None:
    value, faults = BAD_GRANTS[case]
    with pytest.raises(InvalidInput) as refused:
        Grant.parse(value)
    found = {problem.field: problem.message for problem in refused.value.problems}  # type: ignore[attr-defined]
    assert found.keys() == faults.keys()
    for field, message in faults.items():
        assert message in found[field]


@pytest.mark.parametrize("text", ["", "{", b"\xff", '"Admin"', "null"])
def test_a_text_that_holds_no_grant_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidInput, match="not a grant"):
        Grant.parse(text)


@given(st.builds(Grant, st.just("Submitter"), st.lists(names).map(tuple), st.lists(names).map(tuple)))
def test_a_grant_comes_back_from_its_text_as_it_was(grant: Grant) -> None:
    assert Grant.parse(grant.encode()) == grant
