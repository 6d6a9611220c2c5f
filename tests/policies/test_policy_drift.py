"""Drift is a change of meaning; what API servers fill in is none."""

import copy
from datetime import UTC, datetime

import pytest

from atoll.policies.drift import Drift, find_drift
from atoll.policies.manifest import Manifest, parse_file
from atoll.policies.stamp import stamp

NETWORK_POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: prod}
spec:
  podSelector: {matchLabels: {}}
  ingress:
    - from: [{podSelector: {matchLabels: {app.kubernetes.io/name: web}}}]
      ports: [{port: 80}]
    - {}
  egress: []
"""
CILIUM_POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: p, namespace: prod}
spec:
  endpointSelector: {}
  ingress: [{icmps: [{fields: [{type: 8}]}]}]
"""


def desired(text: str) -> Manifest:
    """Give a stamped manifest."""
    return stamp(parse_file(text, "p.yaml").manifests, "baseline", "abc")[0]


def stored(manifest: Manifest) -> dict:
    """Give the object as an API server stores and serves it after Atoll applied it."""
    live = copy.deepcopy(dict(manifest.body))
    live["metadata"] |= {
        "uid": "1",
        "resourceVersion": "7",
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "managedFields": [
            {
                "manager": "atoll",
                "operation": "Apply",
                "time": "2026-01-01T00:00:00Z",
                "fieldsV1": {"f:spec": {"f:ingress": {}, "f:podSelector": {}, "f:endpointSelector": {}}},
            }
        ],
    }
    if manifest.kind == "NetworkPolicy":
        spec = live["spec"]
        spec["podSelector"] = {}
        spec["policyTypes"] = ["Ingress"]
        spec["ingress"][0]["ports"][0]["protocol"] = "TCP"
        del spec["egress"]
    else:
        live["spec"]["ingress"][0]["icmps"][0]["fields"][0]["family"] = "IPv4"
        live["status"] = {"conditions": [{"type": "Valid", "status": "True"}]}
    return live


@pytest.mark.parametrize("text", [NETWORK_POLICY, CILIUM_POLICY])
def test_an_object_as_the_api_server_stores_it_has_no_drift(text: str) -> None:
    manifest = desired(text)
    assert find_drift(manifest, stored(manifest)) is None
    assert find_drift(manifest, manifest.body) is None


def test_labels_and_annotations_of_others_are_theirs() -> None:
    manifest = desired(NETWORK_POLICY)
    live = stored(manifest)
    live["metadata"]["labels"]["team"] = "a"
    live["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = "{}"
    assert find_drift(manifest, live) is None


def edit(live: dict, manager: str, fields: dict, at: str = "2026-05-01T10:00:00Z") -> None:
    """Note a foreign writer as an API server does."""
    entry = {"manager": manager, "operation": "Update", "time": at, "fieldsV1": fields}
    live["metadata"]["managedFields"].append(entry)


def test_an_edit_by_hand_is_named_with_field_manager_and_time() -> None:
    manifest = desired(NETWORK_POLICY)
    live = stored(manifest)
    live["spec"]["ingress"][0]["ports"][0]["port"] = 8080
    edit(live, "kubectl-edit", {"f:spec": {"f:ingress": {}}})
    edit(live, "other-tool", {"f:metadata": {"f:labels": {"f:x": {}}}})
    edit(live, "status-writer", {"f:spec": {"f:ingress": {}}})
    live["metadata"]["managedFields"][-1]["subresource"] = "status"
    assert find_drift(manifest, live) == Drift(
        kind="NetworkPolicy",
        namespace="prod",
        name="p",
        reason="Modified",
        changed_paths=("spec.ingress[0].ports[0].port",),
        managers=("kubectl-edit",),
        at=datetime(2026, 5, 1, 10, tzinfo=UTC),
    )


CHANGES = {
    "a rule added": (
        lambda live: live["spec"]["ingress"].append({"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}),
        ("spec.ingress",),
    ),
    "a direction added": (
        lambda live: live["spec"].update(egress=[{}], policyTypes=["Ingress", "Egress"]),
        ("spec.egress", "spec.policyTypes"),
    ),
    "the subject narrowed": (
        lambda live: live["spec"].update(podSelector={"matchLabels": {"nobody": "x"}}),
        ("spec.podSelector.matchLabels",),
    ),
    "a label of a peer changed": (
        lambda live: live["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"].update(
            {"app.kubernetes.io/name": "evil"}
        ),
        ("spec.ingress[0].from[0].podSelector.matchLabels.app.kubernetes.io/name",),
    ),
    "a peer removed, which opens the rule": (
        lambda live: live["spec"]["ingress"][0].pop("from"),
        ("spec.ingress[0].from",),
    ),
    "our label removed": (
        lambda live: live["metadata"]["labels"].pop("atoll.dev/policyset"),
        ("metadata.labels.atoll.dev/policyset",),
    ),
    "the spec gone": (lambda live: live.pop("spec"), ("spec",)),
}


@pytest.mark.parametrize(("change", "paths"), CHANGES.values(), ids=CHANGES)
def test_every_change_of_meaning_is_found(change, paths: tuple[str, ...]) -> None:
    manifest = desired(NETWORK_POLICY)
    live = stored(manifest)
    change(live)
    drift = find_drift(manifest, live)
    assert drift is not None
    assert drift.changed_paths == paths


def test_the_owner_of_a_changed_label_is_found_although_its_key_has_dots() -> None:
    manifest = desired(NETWORK_POLICY)
    live = stored(manifest)
    live["metadata"]["annotations"]["atoll.dev/commit"] = "forged"
    edit(live, "forger", {"f:metadata": {"f:annotations": {"f:atoll.dev/commit": {}}}})
    edit(live, "later-tool", {"f:metadata": {"f:labels": {"f:x": {}}}}, "2026-06-01T10:00:00Z")
    assert find_drift(manifest, live).managers == ("forger",)


def test_a_removed_field_has_no_owner_so_the_last_foreign_writer_is_named() -> None:
    manifest = desired(CILIUM_POLICY)
    live = stored(manifest)
    live["spec"]["ingress"] = []
    edit(live, "early", {"f:metadata": {}}, "2026-03-01T00:00:00Z")
    edit(live, "late", {"f:metadata": {}}, "2026-04-01T00:00:00Z")
    live["metadata"]["managedFields"][0]["fieldsV1"] = {}
    drift = find_drift(manifest, live)
    assert (drift.managers, drift.at) == (("late",), datetime(2026, 4, 1, tzinfo=UTC))


def test_without_managed_fields_the_manager_is_unknown() -> None:
    manifest = desired(CILIUM_POLICY)
    live = stored(manifest)
    live["spec"]["egress"] = [{}]
    live["metadata"].pop("managedFields")
    drift = find_drift(manifest, live)
    assert (drift.changed_paths, drift.managers, drift.at) == (("spec.egress",), (), None)


def test_a_deleted_object_is_drift() -> None:
    assert find_drift(desired(CILIUM_POLICY), None) == Drift(
        "CiliumNetworkPolicy", "prod", "p", "Deleted", (), (), None
    )
