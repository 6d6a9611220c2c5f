"""The door to the API server: pages, watches, errors, patience; against real HTTP."""

import asyncio
from pathlib import Path

import pytest

from atoll.edge.member import kube as kube_door
from atoll.edge.member import requests
from atoll.edge.member.errors import Expired, KindNotServed, error_of
from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import Object, ObjectRef, Selection, was_applied_by
from atoll.federation.errors import Conflict, InvalidInput, Unavailable
from member.config_maps import CONFIG_MAP, config_map, name_of
from member.harness import on_any_cluster
from member.world import Cluster


def ref(name: str) -> ObjectRef:
    return ObjectRef(CONFIG_MAP, "lab", name)


@on_any_cluster
async def test_an_object_is_applied_read_replaced_and_deleted(lab: Cluster, kube: Kube) -> None:
    """The generic verbs work on plain dicts of any kind."""
    applied = await kube.server_side_apply(config_map("one", a="1"))
    assert was_applied_by(applied, "atoll")
    assert await kube.get(ref("one")) == applied
    replaced = await kube.replace(applied | {"data": {"b": "2"}})
    assert replaced["data"] == {"b": "2"}
    with pytest.raises(Conflict):
        await kube.replace(applied | {"data": {"c": "3"}})
    with pytest.raises(Conflict):
        await kube.delete(ref("one"), uid="another-incarnation")
    assert await kube.delete(ref("one"))
    assert not await kube.delete(ref("one"))
    assert await kube.get(ref("one")) is None


@on_any_cluster
async def test_applying_the_same_again_changes_nothing(lab: Cluster, kube: Kube) -> None:
    """A second apply of the same manifest keeps the resourceVersion, so that it wakes no watcher."""
    first = await kube.server_side_apply(config_map("one", a="1"))
    again = await kube.server_side_apply(config_map("one", a="1"))
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_list_is_read_page_by_page_and_typed(lab: Cluster, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    """All objects come, each with its apiVersion and kind, over as many requests as there are pages."""
    monkeypatch.setattr(kube_door, "PAGE_SIZE", 3)
    for number in range(7):
        await lab.create(config_map(f"c{number}"))
    lab.faults.requests.clear()
    selection = Selection("lab", label_selector="app=x")
    listing = await kube.list(CONFIG_MAP, selection, project=lambda obj: (obj["kind"], name_of(obj)))
    assert sorted(listing.items) == [("ConfigMap", f"c{number}") for number in range(7)]
    assert lab.faults.requests.count(("GET", "/api/v1/namespaces/lab/configmaps")) == 3


UNKNOWN = {"apiVersion": "x.dev/v1", "kind": "X", "metadata": {"name": "x"}}
ERRORS: dict[str, tuple[Object, type[Exception], str]] = {
    "an unknown kind": (
        {"apiVersion": "x.dev/v1", "kind": "X", "metadata": {"name": "x"}},
        KindNotServed,
        "x.dev/v1 X",
    ),
    "no namespace": ({**config_map("x"), "metadata": {"name": "x"}}, InvalidInput, "metadata.namespace"),
    "no name": ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}, InvalidInput, "metadata.name"),
    "a wrong type": ({**config_map("x"), "data": 7}, InvalidInput, "data"),
}


def test_a_manifest_of_the_wrong_types_is_invalid_though_kube_apiserver_says_500() -> None:
    """Another 500 may pass by itself; this one never does, so nobody may try it for ever."""
    words = "failed to create typed patch object (lab/x; batch/v1, Kind=Job): .spec.backoffLimit: expected numeric"
    for message, expected in ((words, InvalidInput), ("etcdserver: request timed out", Unavailable)):
        body = b'{"kind": "Status", "code": 500, "message": "%s"}' % message.encode()
        assert type(error_of(500, body, what="PATCH", headers={})) is expected


@pytest.mark.parametrize("what", ERRORS)
@on_any_cluster
async def test_what_cannot_be_applied_is_refused_with_the_field(lab: Cluster, kube: Kube, what: str) -> None:
    """The error is of the right kind and names what to mend."""
    manifest, error, words = ERRORS[what]
    with pytest.raises(error, match=words):
        await kube.server_side_apply(manifest)


async def test_a_server_that_asks_for_patience_gets_it(lab: Cluster, kube: Kube) -> None:
    """After 429 with Retry-After the request is sent again after that time, and succeeds."""
    await kube.get(ref("warm-up"))
    lab.faults.throttle_next = 2
    began = asyncio.get_running_loop().time()
    await kube.server_side_apply(config_map("one"))
    assert asyncio.get_running_loop().time() - began >= 2.0


@on_any_cluster
async def test_an_absent_server_is_unavailable(lab: Cluster, kube: Kube) -> None:
    """No exception of the client library leaves the door."""
    await lab.stop_server()
    with pytest.raises(Unavailable, match="cannot be reached"):
        await kube.version()
    await lab.start_server()
    assert (await kube.version()).startswith("v1.")


async def test_a_server_that_is_too_slow_is_unavailable(
    lab: Cluster, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request gives up in time instead of hanging."""
    monkeypatch.setattr(requests, "REQUEST_SECONDS", 0.2)
    lab.faults.delay_seconds = 2.0
    with pytest.raises(Unavailable, match="in time"):
        await kube.version()


async def test_a_watch_from_a_version_that_is_too_old_expires(lab: Cluster, kube: Kube) -> None:
    """410 becomes Expired: list again."""
    lab.faults.expire_next_watches = 1
    with pytest.raises(Expired):
        async for _ in kube.watch(CONFIG_MAP, resource_version="1"):
            pass


@pytest.mark.parametrize(
    "content", ["", "clusters: [", "apiVersion: v1\nkind: Config\n"], ids=["empty", "broken", "bare"]
)
async def test_a_bad_kubeconfig_is_refused_by_name(tmp_path: Path, content: str) -> None:
    """The error names the file."""
    path = tmp_path / "bad-kubeconfig"
    path.write_text(content)
    with pytest.raises(InvalidInput, match="bad-kubeconfig"):
        await Kube.connect(path)


async def test_the_credentials_of_the_kubeconfig_are_sent(lab: Cluster, kube: Kube) -> None:
    """Every request bears the user's token."""
    await kube.version()
    assert lab.faults.authorization == b"Bearer secret-of-the-test"


async def test_outside_a_pod_a_kubeconfig_is_needed() -> None:
    """Without kubeconfig and service account the error says what is missing."""
    with pytest.raises(InvalidInput, match="service account"):
        await Kube.connect(None)
