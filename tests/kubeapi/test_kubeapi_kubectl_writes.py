"""The real kubectl writes: create, apply in both ways, diff, edit, patch, label, replace. On a hub and on a cluster."""

import json
from pathlib import Path

import pytest

from kubeapi.things import TELESCOPE, Json
from kubeapi.told import Told


def test_client_side_apply_creates_then_changes_then_says_unchanged(told: Told) -> None:
    assert "created" in told.send("apply", told.thing.changed("a", 0))
    assert "unchanged" in told.send("apply", told.thing.changed("a", 0))
    assert "configured" in told.send("apply", told.thing.changed("a", 1))
    assert told.value("a") == str(told.thing.change.values[1])


def test_server_side_apply_conflicts_until_forced(told: Told) -> None:
    first, second, _ = told.thing.change.values
    told.send("apply", told.thing.changed("a", 0), "--server-side")
    told("patch", "a", "--type=merge", "-p", json.dumps(told.thing.change.patch(second)))
    said = told.refused("apply", "--server-side", "-f", "-", stdin=told.thing.changed("a", 0))
    assert 'conflict with "kubectl-patch"' in said
    assert "." + ".".join(told.thing.change.path) in said
    told.send("apply", told.thing.changed("a", 0), "--server-side", "--force-conflicts")
    assert told.value("a") == str(first)


def test_two_managers_share_a_list_and_each_takes_back_its_own(told: Told) -> None:
    shared = told.thing.shared
    base = {name: value for name, value in told.thing.spec.items() if name not in shared.first}

    def apply(manager: str, spec: Json) -> str:
        manifest = {**told.thing.manifest("a"), "spec": {**base, **spec}}
        told.send("apply", manifest, "--server-side", f"--field-manager={manager}")
        return told("get", "a", "-o", f"jsonpath={shared.jsonpath}")

    first, second = shared.both.split()
    assert apply("one", shared.first) == first
    assert apply("two", shared.second) == shared.both
    assert apply("one", shared.second) == second


def test_server_side_apply_takes_over_from_client_side_apply(told: Told) -> None:
    told.send("apply", told.thing.changed("a", 0))
    told.send("apply", told.thing.changed("a", 0), "--server-side")
    told.send("apply", told.thing.changed("a", 1), "--server-side")
    assert told.value("a") == str(told.thing.change.values[1])
    managers = told("get", "a", "-o", "jsonpath={.metadata.managedFields[*].manager}", "--show-managed-fields")
    assert "kubectl-client-side-apply" not in managers


def test_diff_shows_what_an_apply_would_change_and_changes_nothing(told: Told, tmp_path: Path) -> None:
    told.send("apply", told.thing.changed("a", 0))
    path = told.write(tmp_path / "a.json", told.thing.changed("a", 1))
    for options in ((), ("--server-side", "--force-conflicts")):
        shown = told.kubectl.run("diff", *options, "-f", path, check=False)
        assert shown.returncode == 1, shown.stderr
        assert f"+  {told.thing.change.path[-1]}: {told.thing.change.values[1]}" in shown.stdout
    assert told.value("a") == str(told.thing.change.values[0])
    told.send("apply", told.thing.changed("a", 1))
    assert told.kubectl.run("diff", "-f", path, check=False).returncode == 0


def test_an_unknown_field_is_refused_with_its_path_and_nothing_is_stored(told: Told) -> None:
    said = told.refused("apply", "-f", "-", stdin=told.thing.manifest("a", spec={"nonsense": 1}))
    assert "spec.nonsense" in said
    assert not told.is_there("a")


def test_every_broken_rule_is_named_at_once(told: Told) -> None:
    said = told.refused("create", "-f", "-", stdin=told.thing.manifest("a", spec=told.thing.wrong))
    for field in told.thing.faults:
        assert field in said
    assert not told.is_there("a")


def test_patch_in_three_ways(told: Told) -> None:
    _, second, third = told.thing.change.values
    told.make("a")
    told("patch", "a", "--type=merge", "-p", json.dumps(told.thing.change.patch(second)))
    assert told.value("a") == str(second)
    pointer = "/" + "/".join(told.thing.change.path)
    told("patch", "a", "--type=json", "-p", json.dumps([{"op": "replace", "path": pointer, "value": third}]))
    assert told.value("a") == str(third)
    wrong = json.dumps([{"op": "test", "path": pointer, "value": second}])
    assert f"test {pointer}" in told.refused("patch", told.thing.resource, "a", "--type=json", "-p", wrong)


def test_a_strategic_patch_merges_lists_by_their_keys_where_it_is_known(told: Told) -> None:
    told.make("a")
    body = json.dumps(told.thing.strategic or told.thing.change.patch(told.thing.change.values[1]))
    if told.thing is TELESCOPE:
        said = told.refused("patch", told.thing.resource, "a", "--type=strategic", "-p", body)
        assert "is not supported by sky.dev/v1" in said
        return
    told("patch", "a", "--type=strategic", "-p", body)
    if told.thing.strategic:
        assert told("get", "a", "-o", f"jsonpath={told.thing.shared.jsonpath}") == told.thing.shared.both
    else:
        assert told.value("a") == str(told.thing.change.values[1])


def test_a_condition_of_the_status_is_waited_for(told: Told) -> None:
    told.make("a")
    if told.thing.condition == "Seen":  # the others have controllers that write theirs
        condition = {"type": "Seen", "status": "True", "reason": "Told", "lastTransitionTime": "2026-11-22T00:00:00Z"}
        body = json.dumps({"spec": {"nonsense": 1}, "status": {"conditions": [condition]}})
        told("patch", "a", "--subresource=status", "--type=merge", "-p", body)
    waited = told("wait", "a", f"--for=condition={told.thing.condition}", "--timeout=20s")
    assert waited.endswith("/a condition met\n")
    assert "nonsense" not in told.kubectl.get(told.thing.resource, "a")["spec"]


def test_label_and_annotate_add_replace_and_remove(told: Told) -> None:
    told.make("a")
    told("label", "a", "team=blue")
    assert "already has a value" in told.refused("label", told.thing.resource, "a", "team=red")
    told("label", "a", "team=red", "--overwrite")
    told("annotate", "a", "sky.dev/note=hello")
    metadata = told.kubectl.get(told.thing.resource, "a")["metadata"]
    assert (metadata["labels"], metadata["annotations"]["sky.dev/note"]) == ({"team": "red"}, "hello")
    told("label", "a", "team-")
    assert not told.kubectl.get(told.thing.resource, "a")["metadata"].get("labels")


def test_replace_takes_the_newest_version_only(told: Told, tmp_path: Path) -> None:
    told.make("a")
    found = told.kubectl.get(told.thing.resource, "a")
    found["spec"][told.thing.change.path[-1]] = told.thing.change.values[1]
    path = told.write(tmp_path / "a.json", found)
    told.kubectl("replace", "-f", path)
    assert told.value("a") == str(told.thing.change.values[1])
    assert "the object has been modified" in told.refused("replace", "-f", path)
    told.kubectl("replace", "--force", "-f", told.write(tmp_path / "b.json", told.thing.changed("a", 2)))
    assert told.value("a") == str(told.thing.change.values[2])


def test_edit_saves_what_the_editor_wrote(told: Told, tmp_path: Path) -> None:
    first, second, _ = told.thing.change.values
    told.make("a")
    editor = tmp_path / "editor"
    name = told.thing.change.path[-1]
    editor.write_text(f'#!/bin/sh\nsed -i "s/{name}: {first}/{name}: {second}/" "$1"\n')
    editor.chmod(0o755)
    done = told.kubectl.run("edit", told.thing.resource, "a", KUBE_EDITOR=str(editor))
    assert done.stdout.endswith("/a edited\n")
    assert told.value("a") == str(second)


def test_create_generates_a_name(told: Told) -> None:
    made = told.send("create", told.thing.manifest("", generateName="made-"), "-o", "name")
    assert made.startswith(f"{told.thing.prefix}made-")
    assert len(made.strip()) == len(f"{told.thing.prefix}made-") + 5
    assert "already exists" in told.refused(
        "create", "-f", "-", stdin=told.thing.manifest(made.strip().rpartition("/")[2])
    )


def test_a_dry_run_on_the_server_answers_and_stores_nothing(told: Told) -> None:
    out = told.send(
        "apply", told.thing.changed("a", 1), "--dry-run=server", "-o", f"jsonpath={told.thing.change.jsonpath}"
    )
    assert out == str(told.thing.change.values[1])
    assert not told.is_there("a")


@pytest.mark.parametrize("way", [(), ("--server-side",)], ids=["client-side", "server-side"])
def test_a_folder_and_a_kustomization_are_applied(told: Told, tmp_path: Path, way: tuple[str, ...]) -> None:
    deep = tmp_path / "all" / "deep"
    told.write(deep / "thing.json", told.thing.manifest("one"))
    told.write(tmp_path / "all" / "other.json", told.thing.manifest("two"))
    (deep / "kustomization.yaml").write_text("namePrefix: my-\nresources: [thing.json]\n")
    told.kubectl("apply", *way, "-k", str(deep))
    (deep / "kustomization.yaml").unlink()
    told.kubectl("apply", *way, "-R", "-f", str(tmp_path / "all"))
    names = [f"{told.thing.prefix}{name}" for name in ("my-one", "one", "two")]
    assert told("get", "-o", "name").split() == names
    told.kubectl("delete", "-R", "-f", str(tmp_path / "all"), "--wait=false")
    assert told("get", "-o", "name").split() == names[:1]


def test_a_kind_that_nobody_serves_is_named(told: Told) -> None:
    said = told.refused("apply", "-f", "-", stdin={**told.thing.manifest("a"), "kind": "Misspelt"})
    assert 'no matches for kind "Misspelt"' in said
