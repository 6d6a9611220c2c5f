"""The real kubectl reads: get in all its forms, describe, explain, discovery, events. On a hub and on a cluster."""

import itertools
import json

import pytest
import yaml

from kubeapi.targets import Target
from kubeapi.things import WORK
from kubeapi.told import Told
from sandbox.worlds import Kubectl


@pytest.fixture
def three(told: Told) -> Told:
    """Three things, of which two are of the front."""
    for name, tier in (("a", "front"), ("b", "back"), ("c", "front")):
        told.make(name, labels={"tier": tier})
    return told


def test_get_prints_the_columns_of_the_kind_and_more_of_them_wide(three: Told) -> None:
    plain, wide = three("get").splitlines(), three("get", "-o", "wide").splitlines()
    assert plain[0].split() == three.thing.columns.split()
    assert wide[0].split() == three.thing.wide.split()
    assert [line.split()[0] for line in plain[1:]] == ["a", "b", "c"]
    assert three.kubectl("get", three.thing.short, "-o", "name") == three("get", "-o", "name")


def test_get_prints_json_yaml_names_and_what_a_path_leads_to(three: Told) -> None:
    first = three.thing.change.values[0]
    found = json.loads(three("get", "a", "-o", "json"))
    assert yaml.safe_load(three("get", "a", "-o", "yaml")) == found
    assert (found["kind"], found["apiVersion"]) == (three.thing.kind, three.thing.api_version)
    assert three("get", "-o", "name").split() == [f"{three.thing.prefix}{name}" for name in "abc"]
    assert three.value("a") == str(first)
    columns = f"custom-columns=N:.metadata.name,V:{three.thing.change.jsonpath.strip('{}')}"
    assert three("get", "-o", columns, "--no-headers").splitlines()[0].split() == ["a", str(first)]


def test_get_selects_by_label_and_by_field(three: Told) -> None:
    names = [f"{three.thing.prefix}{name}" for name in "abc"]
    assert three("get", "-l", "tier=front", "-o", "name").split() == [names[0], names[2]]
    assert three("get", "-l", "tier notin (front)", "-o", "name").split() == [names[1]]
    assert three("get", "--field-selector", "metadata.name!=b", "-o", "name").split() == [names[0], names[2]]
    everywhere = three("get", "-A", "--field-selector", f"metadata.namespace={three.kubectl.namespace}", "-o", "name")
    assert everywhere.split() == names


def test_get_in_chunks_and_sorted_prints_every_thing_once(told: Told) -> None:
    for index, name in enumerate(("c", "a", "b")):
        told.send("create", told.thing.changed(name, index))
    by = told.thing.change.jsonpath
    out = told("get", "--chunk-size=1", f"--sort-by={by}", "-o", "name")
    assert out.split() == [f"{told.thing.prefix}{name}" for name in "cab"]


def test_get_watches_changes_as_they_happen(told: Told) -> None:
    told.make("a")
    path, values = told.thing.change.jsonpath, [str(value) for value in told.thing.change.values]
    watching = told.start("get", told.thing.resource, "-w", "-o", f"jsonpath={path}{{'\\n'}}")
    assert watching.stdout is not None
    seen = [watching.stdout.readline().strip()]
    for value in told.thing.change.values[1:]:
        told("patch", "a", "--type=merge", "-p", json.dumps(told.thing.change.patch(value)))
        while seen[-1] != str(value):  # controllers write a status in between
            seen.append(watching.stdout.readline().strip())
    watching.kill()
    watching.communicate()
    assert [value for value, _ in itertools.groupby(seen)] == values


def test_get_says_what_is_not_there(told: Told) -> None:
    group = told.thing.resource
    assert told.refused("get", group, "no") == f'Error from server (NotFound): {group} "no" not found\n'
    assert told("get", "no", "--ignore-not-found") == ""
    assert "the server doesn't have a resource type" in told.refused("get", "nothings")


def test_describe_tells_of_a_thing(told: Told) -> None:
    told.make("a", labels={"tier": "front"})
    lines = [" ".join(line.split()) for line in told("describe", "a").splitlines()]
    for line in ("Name: a", f"Namespace: {told.kubectl.namespace}", "Labels: tier=front", "Events: <none>"):
        assert line in lines


def test_explain_describes_fields_and_recurses(told: Told) -> None:
    path, words = told.thing.explained
    assert words in " ".join(told.kubectl("explain", path).split())
    every = told.kubectl("explain", path.partition(".")[0], "--recursive")
    assert told.thing.change.path[-1] in every
    assert "ownerReferences" in every
    assert "FIELD: name <string>" in told.kubectl("explain", f"{path.partition('.')[0]}.metadata.name")


def test_api_resources_list_the_kind_with_its_short_name(told: Told) -> None:
    rows = [line.split() for line in told.kubectl("api-resources", "--no-headers").splitlines()]
    plural = told.thing.resource.partition(".")[0]
    assert [plural, told.thing.short, told.thing.api_version, "true", told.thing.kind] in rows
    verbs = "--verbs=list,watch,create,update,patch,delete,deletecollection"
    assert told.thing.resource in told.kubectl("api-resources", verbs, "-o", "name").split()
    assert told.thing.api_version in told.kubectl("api-versions").split()


def test_work_is_waited_for_and_events_tell_of_it(target: Target, room: Kubectl) -> None:
    work = WORK[target.name]
    room.apply(work.manifest)
    waited = room("wait", work.resource, "work", f"--for=condition={work.condition}", "--timeout=30s")
    assert waited.endswith("/work condition met\n")
    assert work.event in room("events", "--for", f"{work.resource}/work")
    header, *rows = room("get", "events").splitlines()
    assert header.split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert any(work.event in row and "job/work" in row for row in rows)
    described = " ".join(room("describe", work.resource, "work").split())  # columns are as wide as the longest name
    for words in work.described:
        assert words in described


def test_auth_says_who_i_am_and_what_i_may(target: Target, room: Kubectl) -> None:
    work = WORK[target.name]
    assert room("auth", "can-i", "delete", work.resource).strip() == "yes"
    assert "Username" in room("auth", "whoami")
    assert "*.*" in room("auth", "can-i", "--list")


def test_documents_are_read_raw(target: Target, room: Kubectl) -> None:
    assert json.loads(room("get", "--raw", "/version"))["major"]
    assert room("get", "--raw", "/readyz") == "ok"
    assert "Server Version" in room("version")
