"""The change by hand: someone opens a hole in one cluster with kubectl, past Git; it is watched until it is gone."""

import time
from importlib.resources import files
from typing import Any

from atoll.cli import kinds
from atoll.federation.resources import PolicySet
from atoll.policies.manifest import Manifest, parse_file
from atoll.sandbox.demo.objects import NAMESPACE, POLICY_SET
from atoll.sandbox.demo.repository import FOLDER
from atoll.sandbox.demo.waiting import Patience
from atoll.sandbox.demo.world import PolicyOutcome, World

EDITOR = "kubectl-edit"
_EDITED_CLUSTER = "lab-k3s"
_EDITED = f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies/default-deny-ingress"
# What an engineer in a hurry does: the policy now selects no pod, so everything may reach everything.
_HOLE = {"spec": {"podSelector": {"matchLabels": {"temporarily": "open"}}}}
_PLURALS = {"NetworkPolicy": "networkpolicies", "CiliumNetworkPolicy": "ciliumnetworkpolicies"}
_APPLY_SECONDS, _HEAL_SECONDS = 40.0, 30.0


def policies() -> list[Manifest]:
    """Give the demo's policies as its repository holds them."""
    folder = files("atoll.sandbox.demo").joinpath(FOLDER)
    found = [parse_file(file.read_text(encoding="utf-8"), file.name).manifests for file in folder.iterdir()]
    return [manifest for manifests in found for manifest in manifests]


def policy_paths() -> list[str]:
    """Give the URL path of each policy in a cluster's own API."""
    return [_path(manifest.body) for manifest in policies()]


def _path(body: Any) -> str:
    metadata = body["metadata"]
    return f"/apis/{body['apiVersion']}/namespaces/{metadata['namespace']}/{_PLURALS[body['kind']]}/{metadata['name']}"


def edit_and_watch(world: World, patience: Patience) -> PolicyOutcome:
    """Wait until all clusters hold the policies, edit one, and wait until it is as it was.

    Raises:
        DemoFailed: they were not applied, or the edit was not put back.
    """
    look = f"atoll policy status {POLICY_SET}; logs in {world.logs}"
    claim = "every cluster holds the policies"
    patience.until(claim, lambda: _all_applied(world), seconds=_APPLY_SECONDS, look=look)
    with world.cluster_api(_EDITED_CLUSTER) as api:
        before = api.get(_EDITED)["spec"]
        edited = api.merge(_EDITED, _HOLE, manager=EDITOR)
        assert edited["spec"] != before
        started = time.monotonic()
        claim = f"the policy edited in {_EDITED_CLUSTER} is put back"
        patience.until(claim, lambda: api.get(_EDITED)["spec"] == before, seconds=_HEAL_SECONDS, look=look)
    healed_after = time.monotonic() - started
    claim = f"the drift in {_EDITED_CLUSTER} is reported"
    patience.until(claim, lambda: _is_reported(world), seconds=_HEAL_SECONDS, look=look)
    return PolicyOutcome(_EDITED_CLUSTER, "default-deny-ingress", healed_after)


def _policy_set(world: World) -> PolicySet:
    return PolicySet.model_validate(world.hub.get(kinds.atoll("PolicySet").path(None, POLICY_SET)))


def _all_applied(world: World) -> bool:
    applied = [c.cluster for c in _policy_set(world).status.clusters if c.phase == "Applied" and c.objects]
    return len(applied) == len(world.state.clusters)


def _is_reported(world: World) -> bool:
    return any(
        c.cluster == _EDITED_CLUSTER and c.drift_healed and c.phase == "Applied"
        for c in _policy_set(world).status.clusters
    )
