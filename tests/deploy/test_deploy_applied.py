"""Every overlay, applied to a simulated cluster: its pods run as processes, and become a federation that works.

One cluster holds them all, and the two labs one after the other: their namespaces have the same names.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from atoll.federation.workloads import LEVEL_LABEL
from atoll.installation.hub import Addresses
from atoll.local import hub_credentials
from atoll.sandbox.settings import SandboxSettings
from deploy.world import (
    PROMETHEUS_KINDS,
    HubPod,
    apply,
    delete,
    kustomization,
    lab_and_centre,
    ready_addresses,
    wait_until,
)
from gateway.datapath import Mosquitto, publish
from sandbox.worlds import Json, Sandbox, running_sandbox

CLUSTER, NAMESPACE, STREAM = "everything", "weather", "stations"
HUB, MEMBER_NATS = "https://atoll-hub.atoll.svc:8700", "tls://atoll-nats-members.atoll.svc:4222"
ATOLL, READING = "/apis/atoll.dev/v1alpha1", b'{"celsius": 3.5}'
# Simulated nodes have no folders of their own.
NO_FOLDER_OF_THE_NODE = {
    "target": {"kind": "Deployment", "name": "atoll-gateway"},
    "patch": "- {op: replace, path: /spec/template/spec/volumes/0, value: {name: state, emptyDir: {}}}",
}


@dataclass(frozen=True)
class Lab:
    """An overlay of an agent and a gateway, and whom they speak for."""

    place: str
    cluster: str
    gateway: str
    patches: tuple[Json, ...] = ()


KUBEEDGE = Lab("overlays/kubeedge-edge", "field", "mast-7", (NO_FOLDER_OF_THE_NODE,))
K3S = Lab("overlays/k3s-lab", "lab-a", "lab-a")


@dataclass(frozen=True)
class Member:
    """An app of a lab, whom it speaks for, and what its ConfigMap says beside the hub's address."""

    app: str
    namespace: str
    kind: str
    name: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Federation:
    """The centre, as its administrator has it, and the labs' broker."""

    cluster: Sandbox
    keys: Path
    hubs: tuple[HubPod, ...]
    broker: Mosquitto

    def status(self, path: str) -> Json:
        """What the second hub says: it need not be the one that was written to."""
        return self.hubs[1].status(f"{ATOLL}/{path}")

    def invite(self, member: Member) -> str:
        """Make a Cluster or Gateway, and a token for its first start."""
        kind = member.kind.lower()
        self.hubs[0].post(f"{ATOLL}/{kind}s", {"metadata": {"name": member.name}, "spec": {}})
        token: str = self.hubs[0].post("/access/enrolments", {"kind": kind, "name": member.name})["token"]
        return token

    def overlay(self, lab: Lab, folder: Path) -> Path:
        """What an operator writes over ours: where hub and broker are, and the Secrets of the first start."""
        members = (
            Member("atoll-agent", "atoll-system", "Cluster", lab.cluster),
            Member("atoll-gateway", "atoll-gateway", "Gateway", lab.gateway, (f"BROKER={self.broker_url}",)),
        )
        folder.mkdir()
        (folder / "ca.crt").write_bytes((self.keys / "ca.crt").read_bytes())
        for member in members:
            (folder / f"{member.app}.token").write_text(self.invite(member))
        return kustomization(
            folder,
            lab.place,
            configMapGenerator=[_settings(member) for member in members],
            secretGenerator=[_enrolment(member) for member in members],
            patches=list(lab.patches),
        )

    @property
    def broker_url(self) -> str:
        return f"mqtt://127.0.0.1:{self.broker.port}"


def _settings(member: Member) -> Json:
    literals = [f"HUB={HUB}", *member.settings]
    return {"name": member.app, "namespace": member.namespace, "behavior": "merge", "literals": literals}


def _enrolment(member: Member) -> Json:
    files = [f"token={member.app}.token", "ca.crt"]
    options = {"disableNameSuffixHash": True}
    return {"name": f"{member.app}-enrolment", "namespace": member.namespace, "files": files, "options": options}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    settings = SandboxSettings(tmp_path_factory.mktemp("deploy"), clusters=(lab_and_centre(CLUSTER),))
    with running_sandbox(settings) as running:
        if running.state.isolation != "mounts":
            pytest.skip("needs mount namespaces: programs look for their files at fixed paths")
        yield running


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(tmp_path_factory.mktemp("deploy-broker") / "home")
    mosquitto.start()
    yield mosquitto
    mosquitto.end()


@pytest.mark.mosquitto
@pytest.mark.timeout(300)  # some ten processes begin; each wait has an end of its own
def test_the_overlays_are_a_federation_whose_labs_join_and_bring_readings(
    cluster: Sandbox, broker: Mosquitto, tmp_path: Path
) -> None:
    """Three servers of NATS find each other by TLS, two hubs answer, agents and gateways are heard, data arrives."""
    federation = raised(cluster, broker, tmp_path)
    kubectl = cluster.kubectl(CLUSTER)
    field = federation.overlay(KUBEEDGE, tmp_path / "field")
    apply(kubectl, field)
    joined(federation, KUBEEDGE)
    delete(kubectl, field)
    apply(kubectl, federation.overlay(K3S, tmp_path / "lab"))
    joined(federation, K3S)
    readings_arrive(federation)
    apply(kubectl, kustomization(tmp_path / "data", "bases/data", namespace=NAMESPACE))
    seen = federation.hubs[1].kubectl()("get", "clusters.atoll.dev")
    assert {line.split()[0] for line in seen.splitlines()[1:]} == {KUBEEDGE.cluster, K3S.cluster}


def raised(cluster: Sandbox, broker: Mosquitto, folder: Path) -> Federation:
    """Apply the cloud's overlay, and give the two hubs that come of it."""
    state, kubectl, keys = cluster.state.cluster(CLUSTER), cluster.kubectl(CLUSTER), folder / "keys"
    hub_credentials.ensure(keys, Addresses(), port=8700, now=datetime.now(UTC))
    kubectl.apply(*PROMETHEUS_KINDS)
    told = {"name": "atoll-hub", "namespace": "atoll", "behavior": "merge", "literals": [f"MEMBER_NATS={MEMBER_NATS}"]}
    centre = kustomization(
        folder / "centre", "overlays/cloud", components=["components/simulated"], configMapGenerator=[told]
    )
    apply(kubectl, centre)
    apply(kubectl, keys)  # pods wait for their Secrets

    def ready() -> tuple[HubPod, ...]:
        hubs = (HubPod(keys, address) for address in ready_addresses(state.server, "atoll-hub"))
        return tuple(each for each in hubs if each.is_ready())

    wait_until(lambda: len(ready()) == 2, what="two hubs that are ready")
    assert len(ready_addresses(state.server, "atoll-nats")) == 3
    return Federation(cluster, keys, ready(), broker)


def joined(federation: Federation, lab: Lab) -> None:
    """Wait until the hub hears the agent and the gateway of a lab."""

    def are_ready() -> bool:
        paths = (f"clusters/{lab.cluster}", f"gateways/{lab.gateway}")
        return all(federation.status(path).get("phase") == "Ready" for path in paths)

    wait_until(are_ready, what=f"cluster and gateway of {lab.place} being Ready")


def readings_arrive(federation: Federation) -> None:
    """Publish at the lab's broker, and wait for the dataset on a volume of the lab's cluster."""
    spec = {
        "gateway": K3S.gateway,
        "topics": ["weather/+/readings"],
        "dataset": STREAM,
        "home": K3S.cluster,
        "format": "jsonl",
        "endOfRun": {"topic": "weather/end"},
    }
    first, labels = federation.hubs[0], {LEVEL_LABEL: "restricted"}
    first.post("/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": labels}})
    first.post(f"{ATOLL}/namespaces/{NAMESPACE}/streams", {"metadata": {"name": STREAM}, "spec": spec})

    def is_taken_in() -> bool:
        """What is published before the gateway has subscribed is nobody's."""
        publish(federation.broker.port, "weather/roof/readings", READING)
        rows = federation.status(f"gateways/{K3S.gateway}").get("ledger", ())
        return any(row.get("received") for row in rows)

    wait_until(is_taken_in, what="a reading that the gateway has taken in")
    publish(federation.broker.port, "weather/end", b"done")
    dataset = f"namespaces/{NAMESPACE}/datasets/{STREAM}"
    wait_until(lambda: federation.status(dataset).get("complete"), what="a dataset that is complete")
    (written,) = federation.cluster.storage(CLUSTER).rglob("*.jsonl")
    assert READING in written.read_bytes()
    made = federation.cluster.kubectl(CLUSTER).get("namespace", NAMESPACE)
    assert made["metadata"]["labels"][LEVEL_LABEL] == "restricted", "sink and mover run at the level of the hub's"
