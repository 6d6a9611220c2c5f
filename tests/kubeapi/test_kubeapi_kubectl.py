"""The real kubectl works on the API server."""

import asyncio
import json
from pathlib import Path

import pytest

from atoll.kubeapi.gc import GarbageCollector
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.store import Store
from kubeapi.conftest import Kubectl
from kubeapi.kinds import CONFIG_MAP, POD, WIDGET, widget

WIDGET_YAML = """\
apiVersion: example.dev/v1
kind: Widget
metadata: {name: one, namespace: default}
spec:
  size: 3
  parts: [{name: wheel, count: 4}, {name: door, count: 2}]
"""
POD_YAML = """\
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default, labels: {app: web}}
spec:
  containers:
  - {name: main, image: web:1, ports: [{containerPort: 80}]}
  - {name: helper, image: helper:1}
"""


@pytest.fixture
def widget_file(tmp_path: Path) -> Path:
    """A manifest on disk."""
    path = tmp_path / "widget.yaml"
    path.write_text(WIDGET_YAML)
    return path


async def test_api_resources_lists_every_kind_with_its_short_name(kubectl: Kubectl) -> None:
    out = await kubectl.ok("api-resources")
    assert [line.split()[:2] for line in out.splitlines() if line.startswith(("widgets", "pods"))] == [
        ["pods", "po"],
        ["widgets", "wd"],
    ]


async def test_get_prints_the_printer_columns_and_wide_prints_more(kubectl: Kubectl, store: Store) -> None:
    await store.create(WIDGET, widget("one"))
    plain, wide = await kubectl.ok("get", "wd"), await kubectl.ok("get", "wd", "-o", "wide")
    assert plain.splitlines()[0].split() == ["NAME", "SIZE", "READY", "AGE"]
    assert wide.splitlines()[0].split() == ["NAME", "SIZE", "READY", "COLOR", "AGE"]
    assert wide.splitlines()[1].split()[:3] == ["one", "3", "red"]


async def test_get_prints_json_names_and_jsonpath(kubectl: Kubectl, store: Store) -> None:
    await store.create(WIDGET, widget("one"))
    assert json.loads(await kubectl.ok("get", "wd", "one", "-o", "json"))["spec"]["size"] == 3
    assert await kubectl.ok("get", "wd", "-o", "name") == "widget.example.dev/one\n"
    assert await kubectl.ok("get", "wd", "one", "-o", "jsonpath={.spec.color}") == "red"
    assert (await kubectl.ok("get", "wd", "-o", "custom-columns=S:.spec.size", "--no-headers")).strip() == "3"


async def test_get_selects_by_label_and_by_field_in_all_namespaces(kubectl: Kubectl, store: Store) -> None:
    for name, node in (("a", "n1"), ("b", "n2")):
        pod = {"metadata": {"name": name, "labels": {"app": name}}, "spec": {"nodeName": node}}
        await store.create(POD, pod, namespace=f"ns-{name}")
    assert await kubectl.ok("get", "pods", "-A", "-l", "app in (a,c)", "-o", "name") == "pod/a\n"
    assert await kubectl.ok("get", "pods", "-A", "--field-selector", "spec.nodeName=n2", "-o", "name") == "pod/b\n"


async def test_get_in_chunks_and_sorted_prints_every_object_once(kubectl: Kubectl, store: Store) -> None:
    for size in range(1, 8):
        await store.create(WIDGET, widget(f"w{size}", size=10 - size))
    out = await kubectl.ok("get", "wd", "--chunk-size=2", "--sort-by=.spec.size", "-o", "name")
    assert out.split() == [f"widget.example.dev/w{size}" for size in range(7, 0, -1)]


async def test_client_side_apply_creates_then_changes_then_says_unchanged(kubectl: Kubectl, widget_file: Path) -> None:
    assert "created" in await kubectl.ok("apply", "-f", str(widget_file))
    assert "unchanged" in await kubectl.ok("apply", "-f", str(widget_file))
    widget_file.write_text(WIDGET_YAML.replace("size: 3", "size: 5").replace(", {name: door, count: 2}", ""))
    assert "configured" in await kubectl.ok("apply", "-f", str(widget_file))
    found = json.loads(await kubectl.ok("get", "wd", "one", "-o", "json"))
    assert found["spec"]["size"] == 5
    assert [part["name"] for part in found["spec"]["parts"]] == ["wheel"]


async def test_client_side_apply_merges_the_containers_of_a_pod_by_name(kubectl: Kubectl) -> None:
    await kubectl.ok("apply", "-f", "-", stdin=POD_YAML)
    injected = '{"spec":{"containers":[{"name":"injected","image":"proxy:1"}]}}'
    await kubectl.ok("patch", "pod", "web", "--type=strategic", "-p", injected)
    await kubectl.ok("apply", "-f", "-", stdin=POD_YAML.replace("web:1", "web:2"))
    found = json.loads(await kubectl.ok("get", "pod", "web", "-o", "json"))
    images = {container["name"]: container["image"] for container in found["spec"]["containers"]}
    assert images == {"main": "web:2", "helper": "helper:1", "injected": "proxy:1"}


async def test_server_side_apply_conflicts_until_forced(kubectl: Kubectl, widget_file: Path) -> None:
    await kubectl.ok("apply", "--server-side", "-f", str(widget_file))
    await kubectl.ok("patch", "wd", "one", "--type=merge", "-p", '{"spec":{"size":9}}')
    refused = await kubectl("apply", "--server-side", "-f", str(widget_file))
    assert refused.code == 1
    assert 'conflict with "kubectl-patch"' in refused.err
    assert ".spec.size" in refused.err
    await kubectl.ok("apply", "--server-side", "--force-conflicts", "-f", str(widget_file))
    assert await kubectl.ok("get", "wd", "one", "-o", "jsonpath={.spec.size}") == "3"


async def test_server_side_apply_after_client_side_apply_takes_the_fields_over(
    kubectl: Kubectl, widget_file: Path
) -> None:
    await kubectl.ok("apply", "-f", str(widget_file))
    await kubectl.ok("apply", "--server-side", "-f", str(widget_file))
    widget_file.write_text(WIDGET_YAML.replace(", {name: door, count: 2}", ""))
    await kubectl.ok("apply", "--server-side", "-f", str(widget_file))
    assert await kubectl.ok("get", "wd", "one", "-o", "jsonpath={.spec.parts[*].name}") == "wheel"


async def test_diff_shows_what_an_apply_would_change_and_changes_nothing(kubectl: Kubectl, widget_file: Path) -> None:
    await kubectl.ok("apply", "-f", str(widget_file))
    widget_file.write_text(WIDGET_YAML.replace("size: 3", "size: 7"))
    for arguments in (("diff",), ("diff", "--server-side", "--force-conflicts")):
        shown = await kubectl(*arguments, "-f", str(widget_file))
        assert shown.code == 1, shown.err
        assert "+  size: 7" in shown.out
    assert await kubectl.ok("get", "wd", "one", "-o", "jsonpath={.spec.size}") == "3"


async def test_an_unknown_field_is_refused_with_its_path(kubectl: Kubectl) -> None:
    refused = await kubectl("apply", "-f", "-", stdin=WIDGET_YAML.replace("size: 3", "size: 3\n  sise: 4"))
    assert refused.code == 1
    assert 'unknown field "spec.sise"' in refused.err
    assert (await kubectl("get", "wd", "one")).code == 1


async def test_every_broken_rule_is_named_at_once(kubectl: Kubectl) -> None:
    wrong = WIDGET_YAML.replace("size: 3", "size: 300\n  color: pink\n  code: UP")
    refused = await kubectl("create", "-f", "-", stdin=wrong)
    assert refused.code == 1
    for field in ("spec.size", "spec.color", "spec.code"):
        assert field in refused.err


async def test_patch_in_three_ways(kubectl: Kubectl, store: Store) -> None:
    await store.create(WIDGET, widget("one"))
    await kubectl.ok("patch", "wd", "one", "--type=merge", "-p", '{"spec":{"size":4}}')
    await kubectl.ok("patch", "wd", "one", "--type=json", "-p", '[{"op":"add","path":"/spec/tags","value":["a"]}]')
    await kubectl.ok("patch", "wd", "one", "--subresource=status", "--type=merge", "-p", '{"status":{"ready":true}}')
    found = await store.get(WIDGET, "default", "one")
    assert (found["spec"]["size"], found["spec"]["tags"], found["status"]) == (4, ["a"], {"ready": True})


async def test_label_annotate_and_replace(kubectl: Kubectl, store: Store, tmp_path: Path) -> None:
    await store.create(WIDGET, widget("one"))
    await kubectl.ok("label", "wd", "one", "team=blue")
    await kubectl.ok("annotate", "wd", "one", "note=hello")
    path = tmp_path / "replace.json"
    found = json.loads(await kubectl.ok("get", "wd", "one", "-o", "json"))
    found["spec"]["size"] = 8
    path.write_text(json.dumps(found))
    await kubectl.ok("replace", "-f", str(path))
    stale = await kubectl("replace", "-f", str(path))
    now = await store.get(WIDGET, "default", "one")
    assert now["metadata"]["labels"] == {"team": "blue"}
    assert now["metadata"]["annotations"]["note"] == "hello"
    assert now["spec"]["size"] == 8
    assert stale.code == 1
    assert "the object has been modified" in stale.err


async def test_edit_saves_what_the_editor_wrote(kubectl: Kubectl, store: Store, tmp_path: Path) -> None:
    await store.create(WIDGET, widget("one"))
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/size: 3/size: 6/" "$1"\n')
    editor.chmod(0o755)
    await kubectl.ok("edit", "wd", "one", EDITOR=str(editor))
    assert (await store.get(WIDGET, "default", "one"))["spec"]["size"] == 6


async def test_explain_describes_fields_and_recurses(kubectl: Kubectl) -> None:
    out = await kubectl.ok("explain", "widget.spec")
    assert "What the widget should be." in out
    assert "How large it is." in out
    assert "-required-" in out
    deep = await kubectl.ok("explain", "widget", "--recursive")
    assert "count" in deep
    assert "FIELD: name <string>" in await kubectl.ok("explain", "widget.metadata.name")


async def test_describe_prints_a_custom_object(kubectl: Kubectl, store: Store) -> None:
    await store.create(WIDGET, widget("one"))
    out = await kubectl.ok("describe", "wd", "one")
    assert "Name:         one" in out
    assert "Size:" in out


async def test_wait_returns_when_the_condition_holds(kubectl: Kubectl, store: Store) -> None:
    await store.create(WIDGET, widget("one"))
    waiting = asyncio.create_task(kubectl("wait", "wd/one", "--for=condition=Ready", "--timeout=30s"))
    await asyncio.sleep(0.5)
    status = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    await store.patch(WIDGET, "default", "one", Patch("merge", status), subresource="status")
    finished = await waiting
    assert finished.code == 0, finished.err
    assert "condition met" in finished.out


async def test_watch_prints_changes_as_they_happen(kubectl: Kubectl, store: Store) -> None:
    await store.create(WIDGET, widget("one"))
    process = await kubectl.start("get", "wd", "-w", "--no-headers")
    assert process.stdout is not None
    first = await asyncio.wait_for(process.stdout.readline(), 20)
    await store.patch(WIDGET, "default", "one", Patch("merge", {"spec": {"size": 42}}))
    second = await asyncio.wait_for(process.stdout.readline(), 20)
    process.kill()
    await process.communicate()
    assert first.split()[:2] == [b"one", b"3"]
    assert second.split()[:2] == [b"one", b"42"]


async def test_delete_waits_for_finalizers(kubectl: Kubectl, store: Store) -> None:
    held = widget("one")
    held["metadata"]["finalizers"] = ["example.dev/hold"]
    await store.create(WIDGET, held)
    deleting = asyncio.create_task(kubectl("delete", "wd", "one", "--timeout=30s"))
    while "deletionTimestamp" not in (await store.get(WIDGET, "default", "one"))["metadata"]:
        await asyncio.sleep(0.05)
    assert not deleting.done()
    await store.patch(WIDGET, "default", "one", Patch("merge", {"metadata": {"finalizers": None}}))
    finished = await deleting
    assert finished.code == 0, finished.err
    assert (await store.list(WIDGET)).items == []


@pytest.mark.parametrize(("cascade", "left"), [("background", 0), ("foreground", 0), ("orphan", 1)])
async def test_delete_cascades_as_asked(kubectl: Kubectl, store: Store, cascade: str, left: int) -> None:
    collector = asyncio.create_task(GarbageCollector(store).run())
    owner = await store.create(WIDGET, widget("one"))
    reference = {"apiVersion": "example.dev/v1", "kind": "Widget", "name": "one", "uid": owner["metadata"]["uid"]}
    metadata = {"name": "owned", "ownerReferences": [{**reference, "blockOwnerDeletion": True}]}
    await store.create(CONFIG_MAP, {"metadata": metadata}, namespace="default")
    await kubectl.ok("delete", "wd", "one", f"--cascade={cascade}", "--timeout=30s")
    async with asyncio.timeout(20):
        while len((await store.list(CONFIG_MAP)).items) != left:
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    items = (await store.list(CONFIG_MAP)).items
    collector.cancel()
    assert len(items) == left
    assert all("ownerReferences" not in item["metadata"] for item in items)


async def test_create_generates_a_name(kubectl: Kubectl) -> None:
    manifest = WIDGET_YAML.replace("name: one", "generateName: one-")
    out = await kubectl.ok("create", "-f", "-", "-o", "name", stdin=manifest)
    assert out.startswith("widget.example.dev/one-")
    assert len(out.strip()) == len("widget.example.dev/one-") + 5


async def test_dry_run_on_the_server_answers_and_stores_nothing(kubectl: Kubectl, widget_file: Path) -> None:
    out = await kubectl.ok("apply", "--dry-run=server", "-f", str(widget_file), "-o", "json")
    assert json.loads(out)["spec"]["color"] == "red"
    assert (await kubectl("get", "wd", "one")).code == 1


async def test_a_folder_and_a_kustomization_are_applied(kubectl: Kubectl, tmp_path: Path) -> None:
    folder = tmp_path / "all" / "deep"
    folder.mkdir(parents=True)
    (folder / "widget.yaml").write_text(WIDGET_YAML)
    (folder / "kustomization.yaml").write_text("namePrefix: my-\nresources: [widget.yaml]\n")
    await kubectl.ok("apply", "-k", str(folder))
    (folder / "kustomization.yaml").unlink()
    await kubectl.ok("apply", "-R", "-f", str(tmp_path / "all"))
    assert (await kubectl.ok("get", "wd", "-o", "name")).split() == [
        "widget.example.dev/my-one",
        "widget.example.dev/one",
    ]


async def test_scale_sets_the_replicas_of_a_scalable_kind(kubectl: Kubectl, store: Store) -> None:
    await store.create(WIDGET, widget("one"))
    await kubectl.ok("scale", "wd/one", "--replicas=11")
    assert (await store.get(WIDGET, "default", "one"))["spec"]["size"] == 11


async def test_kinds_that_kubectl_was_built_with_are_created_from_its_protobuf(
    kubectl: Kubectl, store: Store, tmp_path: Path
) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\x00")
    await kubectl.ok("create", "namespace", "team")
    await kubectl.ok("create", "configmap", "a", "-n", "team", "--from-literal=x=1", f"--from-file={tmp_path}/bytes")
    found = await store.get(CONFIG_MAP, "team", "a")
    assert (found["data"], found["binaryData"]) == ({"x": "1"}, {"bytes": "/wA="})
    assert found["metadata"]["managedFields"][0]["manager"] == "kubectl-create"
    refused = await kubectl("create", "configmap", "a", "-n", "team")
    assert 'configmaps "a" already exists' in refused.err


async def test_auth_says_who_i_am_and_what_i_may(kubectl: Kubectl) -> None:
    assert (await kubectl.ok("auth", "can-i", "delete", "widgets")).strip() == "yes"
    assert "system:anonymous" in await kubectl.ok("auth", "whoami")
