"""Questions about access are answered as the server then acts: may I, what may I, may they, who am I."""

import json
from pathlib import Path
from typing import Any

import pytest

from atoll.kubeapi.http.access import Rule
from atoll.kubeapi.store import Store
from kubeapi.access_world import DISCOVERY, EVERYWHERE, SELF, running
from kubeapi.conftest import Kubectl
from kubeapi.test_kubeapi_protobuf import body, part

AUTHORIZATION = "/apis/authorization.k8s.io/v1"

# What is asked with `kubectl auth can-i`, and whether bob may.
QUESTIONS = {
    "a plural": (["get", "configmaps"], True),
    "a short name": (["list", "cm"], True),
    "a kind": (["watch", "ConfigMap"], True),
    "a kind with its group": (["get", "widgets.example.dev"], False),
    "an object": (["get", "configmap/mine"], True),
    "an object of another kind": (["get", "widgets/one"], True),
    "another object of that kind": (["get", "widgets/two"], False),
    "another verb": (["delete", "configmaps"], False),
    "another namespace": (["get", "configmaps", "-n", "vault"], False),
    "all namespaces": (["get", "configmaps", "--all-namespaces"], False),
    "a subresource": (["get", "pods", "--subresource=log"], True),
    "a subresource behind a slash": (["get", "pods/p", "--subresource=log"], True),
    "the resource above it": (["get", "pods"], False),
    "a path": (["get", "/api/v1"], True),
    "a path of a room": (["get", "/access/audit"], False),
    "everything": (["*", "*"], False),
}


@pytest.mark.parametrize("case", QUESTIONS)
async def test_kubectl_can_i_says_what_bob_may(store: Store, tmp_path: Path, case: str) -> None:
    arguments, allowed = QUESTIONS[case]
    async with running(store, tmp_path, tls=True) as world:
        world.users.granted["bob"] += [
            ("default", Rule(("get",), ("",), ("pods/log",))),
            ("default", Rule(("get",), ("example.dev",), ("widgets",), names=("one",))),
        ]
        answer = await world.kubectl("b", "auth", "can-i", *arguments)
    assert (answer.out.split()[0], answer.code) == (("yes", 0) if allowed else ("no", 1)), answer.err


async def test_can_i_quietly_answers_by_its_exit_code(store: Store, tmp_path: Path) -> None:
    async with running(store, tmp_path, tls=True) as world:
        yes = await world.kubectl("b", "auth", "can-i", "get", "configmaps", "-q")
        no = await world.kubectl("b", "auth", "can-i", "delete", "configmaps", "-q")
        admin = await world.kubectl("a", "auth", "can-i", "*", "*", "-A")
    assert (yes.code, yes.out, no.code, no.out) == (0, "", 1, "")
    assert admin.out.strip() == "yes"


async def test_can_i_list_shows_the_rules_of_one_namespace(store: Store, tmp_path: Path) -> None:
    async with running(store, tmp_path, tls=True) as world:
        world.users.granted["bob"].append(
            ("default", Rule(("update",), ("example.dev",), ("widgets",), ("one", "two")))
        )
        here = await world.kubectl("b", "auth", "can-i", "--list")
        there = await world.kubectl("b", "auth", "can-i", "--list", "-n", "vault")
    lines = [" ".join(line.split()) for line in here.out.splitlines()]
    assert "configmaps [] [] [get list watch]" in lines
    assert {"widgets.example.dev [] [one] [update]", "widgets.example.dev [] [two] [update]"} <= set(lines)
    assert "[/api] [] [get]" in lines
    assert "configmaps" not in there.out


async def test_everything_is_listed_where_nobody_decides(kubectl: Kubectl) -> None:
    lines = [" ".join(line.split()) for line in (await kubectl.ok("auth", "can-i", "--list")).splitlines()]
    assert lines[1:] == ["*.* [] [] [*]", "[*] [] [*]"]


REVIEW = """
apiVersion: authorization.k8s.io/v1
kind: SubjectAccessReview
spec:
  user: bob
  groups: [readers]
  extra: {team: [x]}
  resourceAttributes: {verb: get, resource: configmaps, namespace: %s}
"""


async def test_an_admin_asks_by_kubectl_what_others_may(store: Store, tmp_path: Path) -> None:
    async with running(store, tmp_path, tls=True) as world:
        # kubectl looks for a kind's validation at its PATCH, which no review has, then in the protobuf of OpenAPI v2
        ask = ("create", "--validate=false", "-f", "-", "-o", "json")
        here = await world.kubectl("a", *ask, stdin=REVIEW % "default")
        there = await world.kubectl("a", *ask, stdin=REVIEW % "vault")
        local = REVIEW.replace("kind: Subject", "kind: LocalSubject") % "default"
        same = await world.kubectl("a", *ask, "-n", "default", stdin=local)
        refused = await world.kubectl("b", *ask, stdin=REVIEW % "default")
    assert json.loads(here.out)["status"] == {"allowed": True, "reason": "a rule allows it"}
    assert json.loads(there.out)["status"] == {"allowed": False}
    assert json.loads(same.out)["status"]["allowed"] is True
    assert 'cannot create resource "subjectaccessreviews" in API group "authorization.k8s.io"' in refused.err


async def test_a_review_of_a_group_needs_no_user(store: Store, tmp_path: Path) -> None:
    spec = {"groups": ["readers"], "resourceAttributes": {"verb": "get", "resource": "configmaps"}}
    async with running(store, tmp_path) as world, world.http() as http:
        world.users.granted["readers"] = [(EVERYWHERE, Rule(("get",), ("",), ("configmaps",)))]
        answer = await http.post(f"{AUTHORIZATION}/subjectaccessreviews", json={"spec": spec})
    assert (answer.status_code, answer.json()["status"]["allowed"]) == (201, True)


_RESOURCE = {"resourceAttributes": {"verb": "get", "resource": "configmaps", "namespace": "default"}}
_PATH = {"nonResourceAttributes": {"verb": "get", "path": "/api"}}
BAD_REVIEWS: dict[str, tuple[str, Any, int, str]] = {
    "about nothing": ("selfsubjectaccessreviews", {"spec": {}}, 422, "spec.resourceAttributes"),
    "about two things": ("selfsubjectaccessreviews", {"spec": _RESOURCE | _PATH}, 422, "spec.resourceAttributes"),
    "of nobody": ("subjectaccessreviews", {"spec": _RESOURCE}, 422, "spec.user"),
    "of another namespace": (
        "namespaces/vault/localsubjectaccessreviews",
        {"spec": {"user": "bob", **_RESOURCE}},
        422,
        "spec.resourceAttributes.namespace",
    ),
    "of no namespace": ("selfsubjectrulesreviews", {"spec": {}}, 400, "no namespace on request"),
    "that is a list": ("selfsubjectaccessreviews", [], 400, "must be an object"),
    "whose spec is a text": ("subjectaccessreviews", {"spec": "x"}, 400, "must be an object"),
    "whose attributes are a text": ("selfsubjectaccessreviews", {"spec": {"resourceAttributes": "x"}}, 422, "spec."),
    "whose groups are a text": ("subjectaccessreviews", {"spec": {"groups": "x", **_RESOURCE}}, 400, "spec.groups"),
    "whose attributes are of another namespace by a text": (
        "namespaces/vault/localsubjectaccessreviews",
        {"spec": {"user": "bob", "resourceAttributes": "x"}},
        422,
        "spec.resourceAttributes",
    ),
}


@pytest.mark.parametrize("case", BAD_REVIEWS)
async def test_a_question_that_makes_no_sense_is_refused(store: Store, tmp_path: Path, case: str) -> None:
    path, body, code, text = BAD_REVIEWS[case]
    async with running(store, tmp_path) as world, world.http() as http:
        answer = await http.post(f"{AUTHORIZATION}/{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (code, code)
    assert text in answer.json()["message"]


async def test_clients_discover_the_reviews_and_that_they_can_only_be_asked(kubectl: Kubectl) -> None:
    listed = (await kubectl.ok("api-resources", "--verbs=create", "-o", "name")).split()
    assert {name for name in listed if "reviews" in name} == {
        "localsubjectaccessreviews.authorization.k8s.io",
        "selfsubjectaccessreviews.authorization.k8s.io",
        "selfsubjectreviews.authentication.k8s.io",
        "selfsubjectrulesreviews.authorization.k8s.io",
        "subjectaccessreviews.authorization.k8s.io",
    }
    assert "reviews" not in await kubectl.ok("api-resources", "--verbs=list", "-o", "name")


async def test_who_may_nothing_is_told_so_in_the_words_of_kubernetes(store: Store, tmp_path: Path) -> None:
    async with running(store, tmp_path, tls=True) as world:
        world.users.granted = {"bob": [(EVERYWHERE, DISCOVERY), (EVERYWHERE, SELF)]}
        unknown = await world.kubectl("wrong", "get", "configmaps")
        refused = await world.kubectl("b", "get", "configmaps", "-A")
        inside = await world.kubectl("b", "get", "namespaces", "vault")
        path = await world.kubectl("b", "get", "--raw", "/metrics")
    assert "error: You must be logged in to the server" in unknown.err
    assert refused.err.strip() == (
        'Error from server (Forbidden): configmaps is forbidden: User "bob" cannot list resource "configmaps" '
        'in API group "" at the cluster scope'
    )
    assert inside.err.strip().endswith('cannot get resource "namespaces" in API group "" in the namespace "vault"')
    assert 'forbidden: User "bob" cannot get path "/metrics"' in path.err


async def test_a_stranger_is_told_how_to_show_who_it_is(store: Store, tmp_path: Path) -> None:
    async with running(store, tmp_path) as world, world.http("") as http:
        answer = await http.get("/api/v1/configmaps")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.json() == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "Unauthorized",
        "reason": "Unauthorized", "code": 401,
    }  # fmt: skip


async def test_a_typed_client_asks_in_protobuf(store: Store, tmp_path: Path) -> None:
    attributes = part(1, "default") + part(2, "get") + part(3, "") + part(5, "configmaps")
    extra = part(1, "team") + part(2, part(1, "x") + part(1, "y"))
    spec = (
        part(1, attributes) + part(3, "bob") + part(4, "readers") + part(4, "writers") + part(5, extra) + part(6, "u")
    )
    content = body(part(1, b"") + part(2, spec))
    headers = {"content-type": "application/vnd.kubernetes.protobuf"}
    async with running(store, tmp_path) as world, world.http() as http:
        answer = await http.post(f"{AUTHORIZATION}/subjectaccessreviews", content=content, headers=headers)
    assert answer.json()["status"]["allowed"] is True
    assert answer.json()["spec"] == {
        "resourceAttributes": {"namespace": "default", "verb": "get", "resource": "configmaps"},
        "user": "bob",
        "groups": ["readers", "writers"],
        "extra": {"team": ["x", "y"]},
        "uid": "u",
    }
