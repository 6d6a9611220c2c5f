"""The manifests of deploy/: what they render to is what Kubernetes takes, and no more rights than needed."""

import importlib.util
import re
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml

from atoll.federation.resources import Cluster
from atoll.hub.controllers.manifests import DataService, compile_service
from atoll.hub.settings import HubSettings
from atoll.installation.hub import HUB, NATS, kustomization
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from atoll.local.nats import NatsSettings, write_config
from atoll.sandbox.kinds.catalog import registry
from deploy.world import BASES, DEPLOY, OVERLAYS, RENDERED, of_kind, pod_templates, rendered
from sandbox.worlds import Json

OPERATORS = ("monitoring.coreos.com",)  # whose kinds are no part of Kubernetes' own schemas
WHOLE = (*(f"overlays/{name}" for name in OVERLAYS), "bases/data")  # which hold all that the bases do


def test_every_folder_is_rendered() -> None:
    assert set(BASES) == {"agent", "data", "gateway", "hub", "namespace", "nats"}
    assert set(OVERLAYS) == {"cloud", "k3s-lab", "kubeedge-edge", "simulated"}


def test_the_simulated_centre_has_the_pods_of_the_cloud_s() -> None:
    """But for the image, the outside name of NATS, the address they listen on, and servers that may share a node."""
    cloud, simulated = (dict(pod_templates(f"overlays/{name}")) for name in ("cloud", "simulated"))
    everywhere = {"containers.0.image", "containers.0.env.0.value", "containers.0.env.0.valueFrom"}
    assert {name: set(differences(cloud[name]["spec"], simulated[name]["spec"])) for name in cloud | simulated} == {
        HUB: everywhere | {"containers.0.env.1.value", "containers.0.envFrom.0.configMapRef.name"},
        NATS: everywhere | {"affinity"},
    }


def differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Name where two values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() | other.keys():
            yield from differences(one.get(key), other.get(key), f"{path}.{key}" if path else key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{path}.{index}")
    elif one != other:
        yield path


@pytest.mark.parametrize("place", WHOLE)
def test_kubernetes_schemas_take_it(place: str) -> None:
    """Strictly: a field that Kubernetes does not know would be dropped there, or refused."""
    objects = [each for each in rendered(place) if each["apiVersion"].partition("/")[0] not in OPERATORS]
    assert objects
    for each in objects:
        kubernetes_validate.validate(each, "1.34", strict=True)


@pytest.mark.parametrize("place", WHOLE)
async def test_an_api_server_takes_it_and_twice_changes_nothing(place: str) -> None:
    """Server-side apply, into the simulated one; an order in which a namespace comes late would fail."""
    store = Store(registry(), MemoryStorage(), require_namespaces=True)
    await store.start()
    types = {rt.kind: rt for rt in store.registry.all()}
    for name in ("atoll", "kube-system", "default"):
        await store.create(types["Namespace"], {"metadata": {"name": name}})
    versions: list[list[str]] = []
    for _ in range(2):
        versions.append([])
        for manifest in rendered(place):
            if manifest["kind"] not in types:
                assert manifest["apiVersion"].partition("/")[0] in OPERATORS
                continue
            rt, metadata = types[manifest["kind"]], manifest["metadata"]
            namespace = metadata.get("namespace", "default") if rt.namespaced else None
            patch = Patch("apply", manifest)
            applied = await store.patch(rt, namespace, metadata["name"], patch, field_manager="kubectl", force=True)
            versions[-1].append(applied["metadata"]["resourceVersion"])
    await store.close()
    assert versions[0]
    assert versions[0] == versions[1]


@pytest.mark.parametrize("place", RENDERED)
def test_pods_are_what_pod_security_calls_restricted(place: str) -> None:
    """Kubernetes' Pod Security Standards, profile Restricted; the edge node's folder is the one exception."""
    for name, template in pod_templates(place):
        said = list(unrestricted(template["spec"]))
        is_on_edge_node = (place, name) == ("overlays/kubeedge-edge", "atoll-gateway")
        assert said == (["hostNetwork", "hostPath state"] if is_on_edge_node else []), (place, name)


def test_sinks_and_movers_may_run_in_restricted_namespaces() -> None:
    """They are the hub's orders, and no manifest of deploy/."""
    service = DataService(("atoll",), "atoll:1", "")
    made = compile_service(Cluster.model_validate({"metadata": {"name": "a"}, "spec": {}}), "lab", service)
    for each in made:
        kubernetes_validate.validate(each, "1.34", strict=True)
    spec = made[-1]["spec"]["template"]["spec"]
    assert unrestricted(spec) == []
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsUser"]


def unrestricted(spec: Json) -> list[str]:
    """Name what the profile forbids."""
    said = [field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    for volume in spec.get("volumes", ()):
        allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected"}
        said += [f"{kind} {volume['name']}" for kind in volume.keys() - allowed - {"name", "secret"}]
    pod = spec.get("securityContext", {})
    if not pod.get("runAsNonRoot") or pod.get("runAsUser") == 0:
        said.append("runAsNonRoot")
    if pod.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        said.append("seccompProfile")
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False:
            said.append(f"allowPrivilegeEscalation {container['name']}")
        if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add"):
            said.append(f"capabilities {container['name']}")
        if own.get("privileged") or own.get("runAsUser") == 0:
            said.append(f"privileged {container['name']}")
        said += [f"hostPort {port['hostPort']}" for port in container.get("ports", ()) if "hostPort" in port]
    return said


@pytest.mark.parametrize("place", RENDERED)
def test_pods_cannot_write_their_image_and_say_what_they_need(place: str) -> None:
    for name, template in pod_templates(place):
        for container in template["spec"]["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"], (place, name)
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, (place, name)
            assert "memory" in container["resources"]["limits"], (place, name)


@pytest.mark.parametrize("place", [place for place in RENDERED if place.startswith("overlays/")])
def test_every_pod_is_selected_by_a_network_policy_that_says_both_directions(place: str) -> None:
    policies = [each["spec"] for each in rendered(place) if each["kind"] == "NetworkPolicy"]
    for name, template in pod_templates(place):
        labels = template["metadata"]["labels"].items()
        own = [each for each in policies if each["podSelector"].get("matchLabels", {}).items() <= labels]
        assert {kind for each in own for kind in each["policyTypes"]} == {"Ingress", "Egress"}, (place, name)


@pytest.mark.parametrize("place", ["bases/hub", "bases/nats", "bases/gateway"])
def test_who_asks_nothing_of_kubernetes_gets_no_token_and_no_role(place: str) -> None:
    assert not [each for each in rendered(place) if "Role" in each["kind"]]
    for _, template in pod_templates(place):
        assert template["spec"]["automountServiceAccountToken"] is False
        assert template["spec"]["serviceAccountName"] != "default"


@pytest.mark.parametrize("place", RENDERED)
def test_what_a_pod_names_is_there_or_is_a_secret(place: str) -> None:
    """ConfigMaps, claims and accounts that pods refer to are rendered with them; Secrets are in no repository."""
    for name, template in pod_templates(place):
        spec = template["spec"]
        named = {("ServiceAccount", spec["serviceAccountName"])}
        for volume in spec.get("volumes", ()):
            if "configMap" in volume:
                named.add(("ConfigMap", volume["configMap"]["name"]))
            if "persistentVolumeClaim" in volume:
                named.add(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
        for source in spec["containers"][0].get("envFrom", ()):
            if "configMapRef" in source and place.startswith("overlays/"):  # bases leave theirs to overlays
                named.add(("ConfigMap", source["configMapRef"]["name"]))
        missing = {(kind, one) for kind, one in named if one not in of_kind(place, kind)}
        assert missing == set(), (place, name)
    assert not of_kind(place, "Secret")


def test_hub_and_nats_mount_the_secrets_that_hub_credentials_makes() -> None:
    made = {each["name"] for each in yaml.safe_load(kustomization("atoll"))["secretGenerator"]}
    mounted = {
        volume["secret"]["secretName"]
        for _, template in pod_templates("overlays/cloud")
        for volume in template["spec"]["volumes"]
        if "secret" in volume
    }
    assert mounted == made == {f"{HUB}-tls", f"{NATS}-tls", f"{NATS}-keys", f"{NATS}-accounts"}


def test_two_hubs_and_three_servers_survive_a_drained_node() -> None:
    hub, nats = of_kind("overlays/cloud", "Deployment")[HUB], of_kind("overlays/cloud", "StatefulSet")[NATS]
    assert (hub["spec"]["replicas"], nats["spec"]["replicas"]) == (2, 3)
    budgets = of_kind("overlays/cloud", "PodDisruptionBudget")
    assert budgets[HUB]["spec"]["minAvailable"] == 1
    assert budgets[NATS]["spec"]["maxUnavailable"] == 1
    assert "--nats-replicas=3" in hub["spec"]["template"]["spec"]["containers"][0]["args"]


def test_sinks_and_movers_are_of_the_hub_s_own_image() -> None:
    container = of_kind("overlays/cloud", "Deployment")[HUB]["spec"]["template"]["spec"]["containers"][0]
    told = {each["name"]: each.get("value") for each in container["env"]}
    assert told["DATA_IMAGE"] == container["image"]
    assert HubSettings("nats://n", DEPLOY).data_image.startswith("atoll:")


def test_nats_is_told_in_the_cluster_what_it_is_told_on_one_machine(tmp_path: Any) -> None:
    """Durability, limits, pings and the strict API: what `atoll up` writes stands in nats.conf, too."""
    write_config(NatsSettings(4222, tmp_path), tmp_path / "nats.conf")
    embedded, clustered = (tmp_path / "nats.conf").read_text(), (DEPLOY / "bases/nats/nats.conf").read_text()
    said = re.findall(
        r"(sync_interval: \w+|strict: true|default_max_consumers: -1|max_payload: \d+|ping_\w+: \S+)", embedded
    )
    assert len(said) == 6
    assert [each for each in said if each not in clustered] == []


def test_the_agent_s_base_is_what_cluster_join_applies() -> None:
    """`make deploy-bases` writes it again."""
    path = DEPLOY / "bases/agent/generate.py"
    module = importlib.util.spec_from_file_location("generate", path)
    assert module is not None
    assert module.loader is not None
    generate = importlib.util.module_from_spec(module)
    module.loader.exec_module(generate)
    written = list(yaml.load_all((path.with_name("agent.yaml")).read_text(), yaml.CSafeLoader))
    assert written == generate.agent_manifests()
