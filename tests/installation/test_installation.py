"""What an agent is installed with: manifests that the simulated API server takes as they are, and units for hosts."""

import base64
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from atoll.installation.manifests import manifests, removal
from atoll.installation.plan import CLUSTER_ANNOTATION, Hub, Installation, State
from atoll.installation.systemd import folder, script, unit, unit_name
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from atoll.sandbox.kinds.catalog import registry

TOKEN = "atoll-enrol_abc_secret"
PLAN = Installation("onprem-gpu", Hub("https://hub:8700", "-----CA-----\n", TOKEN), "atoll:1.2.3")


def by_kind(plan: Installation) -> dict[str, Mapping[str, Any]]:
    return {each["kind"]: each for each in manifests(plan)}


def pod(plan: Installation) -> Mapping[str, Any]:
    found: Mapping[str, Any] = by_kind(plan)["Deployment"]["spec"]["template"]["spec"]
    return found


async def test_an_api_server_takes_every_manifest_in_the_order_given_and_twice() -> None:
    """Server-side apply, as `kubectl apply --server-side` and `join --context` do; the second time changes nothing."""
    store = Store(registry(), MemoryStorage(), require_namespaces=True)
    await store.start()
    types = {rt.kind: rt for rt in store.registry.all()}
    await store.create(
        types["Namespace"], {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
    )
    versions = []
    for _ in range(2):
        for manifest in manifests(PLAN):
            rt, metadata = types[manifest["kind"]], manifest["metadata"]
            patch = Patch("apply", manifest)
            applied = await store.patch(
                rt, metadata.get("namespace"), metadata["name"], patch, field_manager="atoll", force=True
            )
            versions.append((manifest["kind"], metadata["name"], applied["metadata"]["resourceVersion"]))
    await store.close()
    assert versions[: len(versions) // 2] == versions[len(versions) // 2 :]


def test_the_token_is_in_the_secret_and_nowhere_else() -> None:
    told = [each["kind"] for each in manifests(PLAN) if TOKEN in str(each)]
    assert told == []
    assert base64.b64decode(by_kind(PLAN)["Secret"]["data"]["token"]).decode() == TOKEN
    assert "Secret" not in by_kind(Installation("a", Hub("https://hub:8700"), "atoll:1"))


def test_a_new_token_starts_a_new_pod_and_no_token_leaves_the_running_one_alone() -> None:
    def template(plan: Installation) -> Any:
        return by_kind(plan)["Deployment"]["spec"]["template"]

    other = Installation("onprem-gpu", Hub("https://hub:8700", "-----CA-----\n", "another"), "atoll:1.2.3")
    kept = Installation(
        "onprem-gpu", Hub("https://hub:8700", "-----CA-----\n"), "atoll:1.2.3", enrolment=PLAN.fingerprint
    )
    assert template(other) != template(PLAN)
    assert template(kept) == template(PLAN)


def test_the_pod_is_not_root_cannot_write_its_image_and_keeps_its_state() -> None:
    (container,) = pod(PLAN)["containers"]
    assert pod(PLAN)["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    volumes = {each["name"]: each for each in pod(PLAN)["volumes"]}
    claim = by_kind(PLAN)["PersistentVolumeClaim"]["metadata"]["name"]
    assert volumes["state"]["persistentVolumeClaim"]["claimName"] == claim
    assert by_kind(PLAN)["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize(
    ("state", "volume", "level"),
    [
        (State("empty"), {"emptyDir": {}}, "restricted"),
        (State("host", path="/data"), {"hostPath": {"path": "/data", "type": "Directory"}}, "privileged"),
    ],
    ids=["emptyDir", "hostPath"],
)
def test_a_state_without_a_claim_makes_none(state: State, volume: Mapping[str, Any], level: str) -> None:
    plan = Installation("a", Hub("https://hub:8700"), "atoll:1", state)
    assert {"name": "state", **volume} in pod(plan)["volumes"]
    assert "PersistentVolumeClaim" not in by_kind(plan)
    assert by_kind(plan)["Namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == level


def test_commands_in_cilium_s_pods_are_a_right_only_for_who_asks_for_them() -> None:
    def rights(plan: Installation) -> list[str]:
        roles = [each for each in manifests(plan) if each["kind"] in ("Role", "ClusterRole")]
        return [resource for role in roles for rule in role["rules"] for resource in rule["resources"]]

    plan = Installation("a", Hub("https://hub:8700"), "atoll:1", cilium_exec=True)
    assert "pods/exec" not in rights(PLAN)
    assert "pods/exec" in rights(plan)
    assert "--cilium-exec" in pod(plan)["containers"][0]["command"]


def test_no_rule_is_a_wildcard() -> None:
    rules = [rule for each in manifests(PLAN) for rule in each.get("rules", ())]
    assert not [rule for rule in rules if "*" in (*rule["verbs"], *rule["resources"], *rule["apiGroups"])]


def test_removal_names_all_that_is_not_in_the_agent_s_namespace() -> None:
    gone = {(kind, namespace, name) for _, kind, namespace, name in removal()}
    outside = {
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
        for each in manifests(PLAN)
        if each["metadata"].get("namespace") != "atoll-system"
    }
    assert gone == outside
    assert by_kind(PLAN)["Namespace"]["metadata"]["annotations"][CLUSTER_ANNOTATION] == "onprem-gpu"


def test_systemd_takes_the_unit_and_calls_it_safe(tmp_path: Path) -> None:
    """`systemd-analyze security` counts exposure: below 2.0 it says OK."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    path = tmp_path / unit_name("onprem-gpu")
    path.write_text(unit(PLAN, program="/bin/true"))
    checked = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", path]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


def test_the_script_puts_everything_in_its_place(tmp_path: Path) -> None:
    """Run with its paths below a folder, and a systemctl that says what it is asked."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "systemctl").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    (programs / "systemctl").chmod(0o755)
    text = script(PLAN).replace("/etc/", f"{tmp_path}/etc/")
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    done = subprocess.run(
        ["sh"], input=text, env={"PATH": f"{programs}:/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    place = tmp_path / folder("onprem-gpu").removeprefix("/")
    assert (place / "token").read_text() == f"{TOKEN}\n"
    assert (place / "token").stat().st_mode & 0o777 == 0o600
    assert (place / "ca.crt").read_text() == "-----CA-----\n"
    written = (tmp_path / "etc/systemd/system" / unit_name("onprem-gpu")).read_text()
    assert written.replace(f"{tmp_path}/etc", "/etc") == unit(PLAN)
    assert "put a kubeconfig of the cluster into" in done.stdout
    assert (tmp_path / "asked").read_text() == "daemon-reload\n"
