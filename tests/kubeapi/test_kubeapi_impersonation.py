"""Who may acts as somebody else, with that one's rights only; the record names both."""

from pathlib import Path
from typing import Any

import pytest

from atoll.kubeapi.http.access import Action, Rule
from atoll.kubeapi.http.target import Target
from atoll.kubeapi.store import Store
from kubeapi.access_world import EVERYWHERE, running
from kubeapi.kinds import CONFIG_MAP, config_map

MAPS = "/api/v1/namespaces/default/configmaps"
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_AUTH = "authentication.k8s.io"


def _impersonate(group: str, plural: str, name: str, *, key: str = "", namespace: str | None = None) -> Action:
    return Action("impersonate", "", Target(group, "v1", plural, namespace, name, key))


# Headers; who is asked for then, as `kubectl auth whoami` shows it; what must be allowed for it.
PERSONAS: dict[str, tuple[list[tuple[str, str]], dict[str, Any], list[Action]]] = {
    "a user": (
        [("Impersonate-User", "carol")],
        {"username": "carol", "groups": ["system:authenticated"]},
        [_impersonate("", "users", "carol")],
    ),
    "a user with groups": (
        [("Impersonate-User", "carol"), ("Impersonate-Group", "dev"), ("Impersonate-Group", "ops")],
        {"username": "carol", "groups": ["dev", "ops", "system:authenticated"]},
        [_impersonate("", "users", "carol"), _impersonate("", "groups", "dev"), _impersonate("", "groups", "ops")],
    ),
    "a user with a uid and more": (
        [("Impersonate-User", "carol"), ("Impersonate-Uid", "7"), ("Impersonate-Extra-Acme.com%2fTeam", "x")],
        {"username": "carol", "uid": "7", "groups": ["system:authenticated"], "extra": {"acme.com/team": ["x"]}},
        [
            _impersonate("", "users", "carol"),
            _impersonate(_AUTH, "userextras", "x", key="acme.com/team"),
            _impersonate(_AUTH, "uids", "7"),
        ],
    ),
    "a user whose name is not ASCII": (
        [("Impersonate-User", "jörg")],
        {"username": "jörg", "groups": ["system:authenticated"]},
        [_impersonate("", "users", "jörg")],
    ),
    "nobody": (
        [("Impersonate-User", "system:anonymous")],
        {"username": "system:anonymous", "groups": ["system:unauthenticated"]},
        [_impersonate("", "users", "system:anonymous")],
    ),
    "a service account": (
        [("Impersonate-User", "system:serviceaccount:ci:robot")],
        {
            "username": "system:serviceaccount:ci:robot",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:ci", "system:authenticated"],
        },
        [_impersonate("", "serviceaccounts", "robot", namespace="ci")],
    ),
}


@pytest.mark.parametrize("persona", PERSONAS)
async def test_the_caller_becomes_whom_the_headers_name(store: Store, tmp_path: Path, persona: str) -> None:
    headers, expected, needed = PERSONAS[persona]
    async with running(store, tmp_path) as world, world.http() as http:
        world.users.granted["system:unauthenticated"] = world.users.granted["system:authenticated"]
        sent = [(name.encode(), value.encode()) for name, value in headers]
        answer = await http.post(WHO, json={}, headers=sent)
    assert answer.json()["status"]["userInfo"] == expected
    assert world.users.asked[:-1] == needed


BAD_HEADERS: dict[str, list[tuple[bytes, bytes]]] = {
    "a group of nobody": [(b"Impersonate-Group", b"admins")],
    "a uid of nobody": [(b"Impersonate-Uid", b"1")],
    "an extra of nobody": [(b"Impersonate-Extra-a", b"1")],
    "two users": [(b"Impersonate-User", b"carol"), (b"Impersonate-User", b"alice")],
    "a user in no encoding": [(b"Impersonate-User", b"\xff\xfe")],
}


@pytest.mark.parametrize("case", BAD_HEADERS)
async def test_headers_that_could_mean_anybody_are_refused(store: Store, tmp_path: Path, case: str) -> None:
    async with running(store, tmp_path) as world, world.http() as http:
        answer = await http.get(MAPS, headers=BAD_HEADERS[case])
    assert answer.status_code == 400
    assert "Impersonate-" in answer.json()["message"]


async def test_nobody_impersonates_without_the_right_to(store: Store, tmp_path: Path) -> None:
    async with running(store, tmp_path) as world, world.http("b") as http:
        refused = await http.post(MAPS, json=config_map("x"), headers={"Impersonate-User": "alice"})
        grouped = await http.get(MAPS, headers={"Impersonate-User": "bob", "Impersonate-Group": "admins"})
        world.users.granted["bob"].append((EVERYWHERE, Rule(("impersonate",), ("",), ("users",), names=("carol",))))
        other = await http.get(MAPS, headers={"Impersonate-User": "alice"})
        allowed = await http.post(WHO, json={}, headers={"Impersonate-User": "carol"})
        group = await http.get(MAPS, headers={"Impersonate-User": "carol", "Impersonate-Group": "admins"})
    assert refused.json()["message"] == (
        'users "alice" is forbidden: User "bob" cannot impersonate resource "users" in API group "" '
        "at the cluster scope"
    )
    assert {answer.status_code for answer in (refused, grouped, other, group)} == {403}
    assert allowed.json()["status"]["userInfo"]["username"] == "carol"
    assert (await store.list(CONFIG_MAP)).items == []
    ((mutation, outcome),) = world.records.ended
    assert (mutation.user.name, mutation.acting, outcome.code) == ("bob", None, 403)


async def test_who_impersonates_has_only_the_rights_of_the_other(store: Store, tmp_path: Path) -> None:
    await store.create(CONFIG_MAP, config_map("mine"))
    async with running(store, tmp_path) as world, world.http(**{"Impersonate-User": "bob"}) as http:
        read = await http.get(f"{MAPS}/mine")
        written = await http.delete(f"{MAPS}/mine")
    assert (read.status_code, written.status_code) == (200, 403)
    assert written.json()["message"].startswith('configmaps "mine" is forbidden: User "bob" cannot delete resource')


async def test_the_record_names_who_acted_and_as_whom(store: Store, tmp_path: Path) -> None:
    async with running(store, tmp_path) as world, world.http(**{"Impersonate-User": "bob"}) as http:
        world.users.granted["bob"].append(("default", Rule(("create",), ("",), ("configmaps",))))
        assert (await http.post(MAPS, json=config_map("x"))).status_code == 201
        assert (await http.delete(f"{MAPS}/x")).status_code == 403
    pairs = [(mutation.user.name, mutation.acting and mutation.acting.name) for mutation, _ in world.records.ended]
    assert pairs == [("bob", "alice"), ("bob", "alice")]
    assert [outcome.code for _, outcome in world.records.ended] == [201, 403]


async def test_kubectl_acts_as_somebody_else(store: Store, tmp_path: Path) -> None:
    async with running(store, tmp_path, tls=True) as world:
        who = await world.kubectl("a", "auth", "whoami", "-o", "json", "--as=carol", "--as-group=dev", "--as-uid=7")
        may = await world.kubectl("a", "auth", "can-i", "delete", "configmaps", "--as=bob")
        refused = await world.kubectl("b", "get", "configmaps", "--as=alice")
        read = await world.kubectl("a", "get", "configmaps", "--as=bob")
    assert '"username": "carol"' in who.out
    assert '"uid": "7"' in who.out
    assert '"dev"' in who.out
    assert (may.out.strip(), may.code) == ("no", 1)
    assert 'User "bob" cannot impersonate resource "users"' in refused.err
    assert (read.code, read.err.strip()) == (0, "No resources found in default namespace.")
