"""The real kubectl deletes: waiting, finalizers, cascades, selectors. On a hub and on a cluster."""

import json

import pytest

from kubeapi.told import Told
from sandbox.worlds import eventually

HOLD = "sky.dev/hold"
RELEASE = json.dumps({"metadata": {"finalizers": None}})


def test_delete_waits_until_the_last_finalizer_is_gone(told: Told) -> None:
    told.make("a", finalizers=[HOLD])
    deleting = told.start("delete", told.thing.resource, "a", "--timeout=30s")
    eventually(lambda: "deletionTimestamp" in told.kubectl.get(told.thing.resource, "a")["metadata"], what="the mark")
    assert deleting.poll() is None
    told("patch", "a", "--type=merge", "-p", RELEASE)
    out, _ = deleting.communicate(timeout=30)
    assert (deleting.returncode, '"a" deleted' in out) == (0, True)
    assert not told.is_there("a")


def test_delete_does_not_wait_when_told_so(told: Told) -> None:
    told.make("a", finalizers=[HOLD])
    assert '"a" deleted' in told("delete", "a", "--wait=false")
    assert told("wait", "a", "--for=jsonpath={.metadata.deletionGracePeriodSeconds}=0", "--timeout=20s")
    held = json.dumps({"metadata": {"finalizers": [HOLD, "sky.dev/more"]}})
    said = told.refused("patch", told.thing.resource, "a", "--type=merge", "-p", held)
    assert "no new finalizers can be added if the object is being deleted" in said
    told("patch", "a", "--type=merge", "-p", RELEASE)
    assert told("wait", "a", "--for=delete", "--timeout=20s") is not None
    assert not told.is_there("a")


@pytest.mark.parametrize("cascade", ["background", "foreground", "orphan"])
def test_delete_cascades_as_asked(told: Told, cascade: str) -> None:
    told.make("owner")
    owner = told.kubectl.get(told.thing.resource, "owner")["metadata"]
    reference = {"apiVersion": told.thing.api_version, "kind": told.thing.kind, "name": "owner", "uid": owner["uid"]}
    told.make("owned", ownerReferences=[{**reference, "blockOwnerDeletion": True}])
    told("delete", "owner", f"--cascade={cascade}", "--timeout=30s")
    assert not told.is_there("owner")
    if cascade == "orphan":
        left = told.kubectl.get(told.thing.resource, "owned")["metadata"]
        assert "ownerReferences" not in left
        assert "deletionTimestamp" not in left
    else:
        eventually(lambda: not told.is_there("owned"), what="the end of what was owned")


def test_delete_takes_all_that_is_selected_and_no_more(told: Told) -> None:
    for name, tier in (("a", "front"), ("b", "back"), ("c", "front")):
        told.make(name, labels={"tier": tier})
    told("delete", "-l", "tier=front", "--dry-run=server")
    told("delete", "-l", "tier=front")
    assert told("get", "-o", "name").split() == [f"{told.thing.prefix}b"]
    told("delete", "--all")
    assert told("get", "-o", "name") == ""
    assert "not found" in told.refused("delete", told.thing.resource, "b")
    assert told("delete", "b", "--ignore-not-found") is not None
