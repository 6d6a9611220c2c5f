"""The mesh from inside a cluster: agents' views merged, settings read with few rights, shared services counted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.edge.member.kube import Kube
from atoll.edge.member.mesh import settings as mesh_settings
from atoll.edge.member.mesh.config import read_certificates, read_config, read_peers
from atoll.edge.member.mesh.health import Probe
from atoll.edge.member.mesh.merging import Look, links_of
from atoll.edge.member.mesh.pulse import MESH, SERVICES, MeshPulse
from atoll.edge.member.mesh.reading import AgentStatus, RemoteView
from atoll.edge.member.mesh.services import SharedServices, count_endpoints, project_export, project_service
from atoll.edge.member.mesh.settings import MeshSettings
from atoll.edge.member.objects import Kind, ObjectRef
from atoll.federation.bus.mesh_messages import MeshServicesReport
from atoll.federation.bus.messages import MeshReport, Message
from atoll.federation.resources import MeshLink, MeshService
from member.mesh_world import (
    CILIUM,
    MESHED,
    PEER,
    authority,
    certified,
    config,
    encoded,
    endpoint_slice,
    export,
    kube_system,
    secret,
    service,
)
from member.world import Cluster, eventually

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
READY = RemoteView("b", is_connected=True, is_ready=True, nodes=3, peer_id=4, is_cached=True)
BEHIND = RemoteView("b", is_connected=True, reason="synchronization in progress for nodes", failures=2, nodes=3)
LOST = RemoteView("b", reason="etcd: 0/1 connected", failures=5, last_failure_at=NOW - timedelta(hours=1))


def looked(*views: RemoteView | None, **more: Any) -> Look:
    """A look at agents of so many nodes, each with one peer or none."""
    return Look(
        {f"n{index}": AgentStatus("1.20.0", (view,) if view else ()) for index, view in enumerate(views)}, **more
    )


# narrative: a look, the expected peers → what the one link says
MERGED: dict[str, tuple[Look, tuple[str, ...] | None, dict[str, Any]]] = {
    "one agent, ready": (
        looked(READY), None,
        {"is_ready": True, "is_connected": True, "last_proven_at": NOW, "peer_id": 4, "remote_nodes": 3, "reason": ""},
    ),
    "all agents ready": (looked(READY, READY), ("b",), {"is_ready": True, "agents_asked": 2, "agents_ready": 2,
                                                        "is_expected": True}),
    "one agent behind": (
        looked(READY, BEHIND), ("b",),
        {"is_ready": False, "is_connected": True, "last_proven_at": None, "failures": 2, "agents_ready": 1,
         "reason": "synchronization in progress for nodes (1 of 2 nodes are ready)"},
    ),
    "one agent has lost it": (
        looked(READY, LOST), None, {"is_connected": False, "last_failure_at": NOW - timedelta(hours=1)},
    ),
    "one agent does not list it": (
        looked(READY, None), ("b",),
        {"is_ready": False, "is_connected": False, "seen_at": NOW},
    ),
    "no agent lists it": (looked(None), ("b",), {"is_ready": False, "is_expected": True, "is_cached": None}),
    "nobody configured it": (looked(READY), (), {"is_ready": True, "is_expected": False}),
    "KVStoreMesh does not reach it": (
        looked(READY, cache=(RemoteView("b", reason="no leader"),)), None,
        {"is_ready": True, "cache_problem": "no leader"},
    ),
    "KVStoreMesh does not know it": (looked(READY, cache=()), None, {"cache_problem": "it does not list this peer"}),
    "KVStoreMesh could not be asked": (looked(READY), None, {"cache_problem": ""}),
    "KVStoreMesh reaches it too": (looked(READY, cache=(READY,)), None, {"cache_problem": "", "is_cached": True}),
    "probes": (
        looked(READY, probes=(Probe("b", "n1", True, 0.01), Probe("b", "n2", False), Probe("own", "n1", True, 0.0))),
        None, {"latency_seconds": 0.01, "probed_nodes": 2, "unreachable_nodes": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("narrative", MERGED)
def test_agents_views_become_one_link(narrative: str) -> None:
    """The worst agent decides whether a link is ready, and its words are the reason."""
    look, expected, fields = MERGED[narrative]
    (link,) = links_of(look, expected, NOW)
    assert {name: getattr(link, name) for name in fields} == fields
    assert bool(link.reason) != link.is_ready


NO_LINKS = {
    "nobody answered": (Look({}, problems=("no answer",)), "no answer"),
    "the mesh is off": (Look({"": AgentStatus("1.20.0", None)}), "Cluster Mesh is not enabled"),
}


@pytest.mark.parametrize("narrative", NO_LINKS)
def test_where_nothing_can_be_seen_a_message_stands_for_links(narrative: str) -> None:
    """Expected peers are not called lost only because nobody could be asked."""
    look, words = NO_LINKS[narrative]
    assert links_of(look, ("b",), NOW) == ()
    assert words in look.message


views = st.builds(
    RemoteView, peer=st.sampled_from("bcd"), is_connected=st.booleans(), is_ready=st.booleans(), reason=st.just("why"),
)  # fmt: skip


@given(st.lists(st.lists(views, max_size=3, unique_by=lambda view: view.peer), min_size=1, max_size=4))
def test_a_link_is_ready_exactly_if_every_agent_says_so(agents: list[list[RemoteView]]) -> None:
    """However many agents there are, one that is not ready, or does not list the peer, is enough."""
    look = Look({str(index): AgentStatus("", tuple(seen)) for index, seen in enumerate(agents)})
    links = {link.peer: link for link in links_of(look, None, NOW)}
    assert set(links) == {view.peer for seen in agents for view in seen}
    for peer, link in links.items():
        assert link.is_ready == all(any(v.peer == peer and v.is_ready for v in seen) for seen in agents)


# --- settings

# narrative: cilium-config, version → what is read of it
CONFIGS: dict[str, tuple[Mapping[str, Any], str, dict[str, Any]]] = {
    "meshed": (MESHED, "1.20.0", {"name": "onprem-gpu", "id": 2, "max_connected_clusters": 255,
                                  "routing_mode": "tunnel", "tunnel_protocol": "geneve", "label_filters": ""}),
    "nothing": ({}, "", {"name": "default", "id": 0, "routing_mode": "tunnel", "default_local_cluster": None}),
    "native": (
        {"routing-mode": "native", "tunnel-protocol": "vxlan", "ipv4-native-routing-cidr": "10.0.0.0/8"}, "1.20.0",
        {"routing_mode": "native", "tunnel_protocol": "", "native_routing_cidr": "10.0.0.0/8"},
    ),
    "local by default": ({}, "1.19.0", {"default_local_cluster": True}),
    "not yet by default": ({}, "1.18.5", {"default_local_cluster": False}),
    "said": ({"policy-default-local-cluster": "false"}, "1.20.0", {"default_local_cluster": False}),
    "labels in another order": ({"labels": "k8s:b  k8s:a"}, "", {"label_filters": "k8s:a k8s:b"}),
    "numbers that are none": ({"cluster-id": "two", "max-connected-clusters": "-1"}, "", {"id": 0}),
    "a development version": ({}, "1.20.0-dev", {"default_local_cluster": True}),
    "a version that is none": ({}, "unknown", {"default_local_cluster": None}),
}  # fmt: skip


@pytest.mark.parametrize("narrative", CONFIGS)
def test_the_configuration_is_read_with_the_defaults_of_its_version(narrative: str) -> None:
    """What cilium-config leaves out is what that Cilium does without it."""
    data, version, fields = CONFIGS[narrative]
    facts = read_config(data, version)
    assert {name: getattr(facts, name) for name in fields} == fields


def test_peers_are_the_keys_that_configure_endpoints() -> None:
    """Keys and certificates beside them are no peers, nor is the cluster itself, nor what cannot be read."""
    data = encoded({"b": PEER.format("b"), "a": PEER.format("a"), "own": PEER, "b.etcd-client.key": "secret", "c": "x"})
    assert read_peers({**data, "d": "not base64!"}, "own") == ("a", "b")


def test_certificates_say_who_is_trusted_and_when_they_end() -> None:
    """Fingerprints are of each CA in a bundle; what cannot be parsed is left out."""
    ca, other = authority(), authority()
    mine = certified(ca)["data"]
    bundle = encoded({"ca.crt": ca.certificate + other.certificate})
    authorities, certificates = read_certificates({"x": {**mine, **bundle}, "y": {"tls.crt": "rubbish"}})
    assert len(authorities) == 2
    assert [each.name for each in certificates] == ["x"]
    assert timedelta(days=364) < certificates[0].expires_at - datetime.now(UTC) < timedelta(days=366)


@pytest.fixture
async def meshed(cluster: Cluster) -> Cluster:
    """A cluster with Cilium's settings, two peers and a certificate."""
    peers = {"cloud-eu": PEER.format("cloud-eu"), "lab-k3s": PEER.format("lab-k3s"), "cloud-eu.etcd-client.key": "k"}
    for obj in (kube_system(), config(MESHED), secret("cilium-clustermesh", peers), certified(authority())):
        await cluster.create(obj)
    return cluster


async def test_settings_are_read_and_no_key_is_among_them(meshed: Cluster, kube: Kube) -> None:
    """Names, settings, fingerprints and ends of certificates come; nothing that is secret does."""
    facts = await MeshSettings(kube).facts("1.20.0")
    assert facts is not None
    assert (facts.name, facts.id, facts.expected_peers) == ("onprem-gpu", 2, ("cloud-eu", "lab-k3s"))
    assert len(facts.ca_fingerprints) == 1
    assert [each.name for each in facts.certificates] == ["clustermesh-apiserver-server-cert"]
    assert facts.problems == ()
    assert "PRIVATE" not in facts.model_dump_json()


async def test_without_the_right_to_secrets_the_rest_is_known_and_the_right_is_named(
    meshed: Cluster, kube: Kube
) -> None:
    """Peers are then unknown, which is not the same as none."""
    meshed.faults.forbidden = {f"{CILIUM}/secrets/cilium-clustermesh"}
    facts = await MeshSettings(kube).facts("1.20.0")
    assert facts is not None
    assert (facts.id, facts.expected_peers) == (2, None)
    assert facts.problems == ("Secret kube-system/cilium-clustermesh may not be read: allow the agent to get it",)


async def test_settings_survive_an_api_server_that_is_away(meshed: Cluster, kube: Kube) -> None:
    """What was known stays known, says that it is old, and is read again at the next look."""
    clock = [0.0]
    settings = MeshSettings(kube, clock=lambda: clock[0])
    assert await settings.facts("1.20.0") is not None
    clock[0] += mesh_settings.REFRESH_SECONDS
    meshed.faults.fail_next = 1
    aged = await settings.facts("1.20.0")
    assert aged is not None
    assert aged.id == 2
    assert "could not be read again" in aged.problems[0]
    fresh = await settings.facts("1.20.0")
    assert fresh is not None
    assert fresh.problems == ()


async def test_settings_are_not_read_at_every_look(meshed: Cluster, kube: Kube) -> None:
    """Within a minute no request is made."""
    settings = MeshSettings(kube, clock=lambda: 0.0)
    await settings.facts("1.20.0")
    meshed.faults.requests.clear()
    assert await settings.facts("1.20.0") is not None
    assert meshed.faults.requests == []


async def test_a_cluster_without_cilium_has_no_settings(cluster: Cluster, kube: Kube) -> None:
    """No ConfigMap, no facts, no problem."""
    assert await MeshSettings(kube).facts("") is None


# --- shared services

ANNOTATED: dict[str, tuple[dict[str, str], tuple[bool, bool, str]]] = {
    "none": ({}, (False, True, "none")),
    "global": ({"service.cilium.io/global": "true"}, (True, True, "none")),
    "the older name": ({"io.cilium/global-service": "True"}, (True, True, "none")),
    "the newer name counts more": (
        {"service.cilium.io/global": "false", "io.cilium/global-service": "true"}, (False, True, "none"),
    ),
    "kept": ({"service.cilium.io/global": "true", "service.cilium.io/shared": "false"}, (True, False, "none")),
    "near": ({"service.cilium.io/global": "true", "service.cilium.io/affinity": "local"}, (True, True, "local")),
    "an affinity that is none": ({"service.cilium.io/affinity": "here"}, (False, True, "none")),
}  # fmt: skip


@pytest.mark.parametrize("narrative", ANNOTATED)
def test_annotations_say_how_a_service_is_shared(narrative: str) -> None:
    """Cilium's names, old and new, and its defaults."""
    annotations, facts = ANNOTATED[narrative]
    assert tuple(project_service({"metadata": {"annotations": annotations}})) == facts


def test_an_export_says_why_it_does_not_hold() -> None:
    """A conflict and an invalid export are told in the words of their conditions."""
    conflict = {"type": "Conflict", "status": "True", "reason": "PortConflict", "message": "ports differ"}
    invalid = {"type": "Valid", "status": "False", "reason": "NoService"}
    fine = [{"type": "Valid", "status": "True"}, {"type": "Conflict", "status": "False"}]
    assert project_export(export("x", [conflict])) == "ports differ"
    assert project_export(export("x", [conflict, invalid])) == "NoService"
    assert project_export(export("x", fine)) == project_export(export("x")) == ""


def test_endpoints_without_a_condition_are_ready() -> None:
    """Unset means ready, as the EndpointSlice API says."""
    assert count_endpoints(endpoint_slice("s", "db", 2, unready=1)) == (2, 1)
    assert count_endpoints({"endpoints": [{"addresses": ["10.0.0.1"]}]}) == (1, 0)
    assert count_endpoints({"endpoints": None}) == (0, 0)


@contextlib.asynccontextmanager
async def running(services: SharedServices) -> AsyncIterator[list[MeshServicesReport]]:
    """Follow services for the time of a block; gives what was told."""
    told: list[MeshServicesReport] = []
    task = asyncio.create_task(services.run(lambda: told.append(services.told(NOW))))
    try:
        yield told
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def tells(told: list[MeshServicesReport], *expected: MeshService) -> None:
    async def look() -> bool:
        return bool(told) and told[-1].services == expected

    try:
        await eventually(look)
    except AssertionError:
        raise AssertionError(f"never told; last: {told[-1:]}") from None


async def test_shared_services_are_told_with_the_endpoints_of_this_cluster(lab: Cluster, kube: Kube) -> None:
    """Global ones and exported ones, not the others; what Cilium copied from other clusters does not count."""
    copied = {"endpointslice.kubernetes.io/managed-by": "endpointslice-mesh-controller.cilium.io"}
    for obj in (
        service("db", **{"global": "true", "affinity": "local"}), service("own"), service("web"), export("web"),
        endpoint_slice("db-1", "db", 2, unready=1), endpoint_slice("db-2", "db", 1),
        endpoint_slice("db-far", "db", 5, labels=copied), endpoint_slice("own-1", "own", 4),
    ):  # fmt: skip
        await lab.create(obj)
    async with running(SharedServices(kube, poll_seconds=0.05)) as told:
        db = MeshService(namespace="lab", name="db", is_global=True, affinity="local", endpoints=3, unready_endpoints=1)
        web = MeshService(namespace="lab", name="web", is_exported=True)
        await tells(told, db, web)


async def test_endpoints_that_vanish_are_told_and_so_is_a_service_that_ends(lab: Cluster, kube: Kube) -> None:
    """Failover begins here: the count goes to zero, and comes back."""
    await lab.create(service("db", **{"global": "true"}))
    await lab.create(endpoint_slice("db-1", "db", 2))
    db = MeshService(namespace="lab", name="db", is_global=True, endpoints=2)
    slice_ref = ObjectRef(Kind("discovery.k8s.io/v1", "EndpointSlice"), "lab", "db-1")
    async with running(SharedServices(kube, poll_seconds=0.05)) as told:
        await tells(told, db)
        await kube.delete(slice_ref)
        await tells(told, db.model_copy(update={"endpoints": 0}))
        await lab.create(endpoint_slice("db-1", "db", 1))
        await tells(told, db.model_copy(update={"endpoints": 1}))
        await kube.delete(ObjectRef(Kind("v1", "Service"), "lab", "db"))
        await tells(told)


async def test_an_api_server_that_fails_withdraws_no_endpoint(lab: Cluster, kube: Kube) -> None:
    """Failing to count is not zero endpoints."""
    await lab.create(service("db", **{"global": "true"}))
    await lab.create(endpoint_slice("db-1", "db", 2))
    async with running(SharedServices(kube, poll_seconds=0.05)) as told:
        await tells(told, MeshService(namespace="lab", name="db", is_global=True, endpoints=2))
        lab.faults.fail_next = 5
        await eventually(_ended(lab))
        assert {service.endpoints for report in told for service in report.services} == {2}


def _ended(cluster: Cluster) -> Any:
    async def look() -> bool:
        return cluster.faults.fail_next == 0

    return look


# --- the pulse


class Heard:
    """Where reports go: the newest of each key."""

    def __init__(self) -> None:
        self.newest: dict[str, Message] = {}
        self.count = 0

    def report(self, key: str, message: Message) -> None:
        self.newest[key] = message

    def refresh(self, key: str, message: Message) -> None:
        self.newest[key] = message
        self.count += 1


class Scripted:
    """A source of looks, one after the other; the last one stays."""

    def __init__(self, *looks: Look) -> None:
        self._looks = list(looks)

    async def look(self) -> Look:
        return self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]

    async def close(self) -> None:
        """Nothing to close."""


async def heard(source: Scripted | None, kube: Kube, looks: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, Message]:
    """What a pulse has reported after so many looks, one second apart by its clock."""
    monkeypatch.setattr("atoll.edge.member.mesh.pulse.SHORTEST_POLL_SECONDS", 0.01)
    reports, seconds = Heard(), iter(range(10_000))
    pulse = MeshPulse(
        source,
        MeshSettings(kube),
        SharedServices(kube, poll_seconds=0.05),
        reports=reports,
        now=lambda: NOW + timedelta(seconds=next(seconds)),
    )
    task = asyncio.create_task(pulse.run(0.01, lambda _version: None))

    async def is_done() -> bool:
        return reports.count >= looks and SERVICES in reports.newest

    try:
        await eventually(is_done)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    return reports.newest


async def test_a_link_that_is_lost_keeps_the_date_of_its_last_proof(
    meshed: Cluster, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was ready at the first look; however often it is seen lost, that look is its proof."""
    newest = await heard(Scripted(looked(READY), looked(LOST)), kube, 4, monkeypatch)
    report = newest[MESH]
    assert isinstance(report, MeshReport)
    links = {link.peer: link for link in report.links}
    lost = links["b"]
    assert not lost.is_ready
    assert lost.last_proven_at is not None
    assert lost.seen_at is not None
    assert NOW <= lost.last_proven_at < lost.seen_at <= report.at
    assert sorted(links) == ["b", "cloud-eu", "lab-k3s"], "expected peers that no agent lists are told too"
    assert (links["lab-k3s"].is_expected, lost.is_expected) == (True, False)


async def test_without_a_way_to_see_the_mesh_settings_are_told_and_the_way_is_named(
    meshed: Cluster, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No link is claimed; what it takes is said."""
    report = (await heard(None, kube, 1, monkeypatch))[MESH]
    assert isinstance(report, MeshReport)
    assert report.links == ()
    assert report.facts is not None
    assert report.facts.name == "onprem-gpu"
    assert "neither a Cilium socket nor leave" in report.message


async def test_reports_survive_the_wire(meshed: Cluster, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both reports are read by the hub as they were made, and an older agent's report is still one."""
    newest = await heard(Scripted(looked(READY, cache=(BEHIND,))), kube, 1, monkeypatch)
    for message in newest.values():
        assert type(message).decode(message.encode()) == message
    old = orjson.dumps({"links": [{"peer": "b", "isReady": True}], "at": NOW.isoformat()})
    assert MeshReport.decode(old).links == (MeshLink(peer="b", is_ready=True),)


class Counted(Scripted):
    """A source that counts how often it was asked, and sees what it is told to see."""

    def __init__(self, seen: Look) -> None:
        super().__init__(seen)
        self.seen, self.count = seen, 0

    async def look(self) -> Look:
        self.count += 1
        return self.seen


async def test_a_large_mesh_tells_new_dates_seldom_and_a_loss_at_once(
    cluster: Cluster, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hundred links that are well are told anew every twenty seconds, however often they are looked at."""
    monkeypatch.setattr("atoll.edge.member.mesh.pulse.SHORTEST_POLL_SECONDS", 0.001)
    well = tuple(RemoteView(f"c{index}", is_connected=True, is_ready=True) for index in range(200))
    source, reports, seconds = Counted(Look({"": AgentStatus("1.20.0", well)})), Heard(), iter(range(10_000))
    told_at_look: list[int] = []

    def refresh(key: str, message: Message) -> None:
        told_at_look.append(source.count)
        Heard.refresh(reports, key, message)

    monkeypatch.setattr(reports, "refresh", refresh)
    pulse = MeshPulse(
        source, MeshSettings(kube), SharedServices(kube), reports=reports,
        now=lambda: NOW + timedelta(seconds=next(seconds)),
    )  # fmt: skip
    task = asyncio.create_task(pulse.watch_links(0.001, lambda _version: None))
    try:
        await eventually(_reaches(source, 45))
        source.seen = Look({"": AgentStatus("1.20.0", (*well[1:], RemoteView("c0", reason="lost")))})
        await eventually(_lost(reports))
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert told_at_look[:3] == [1, 21, 41]
    assert len(told_at_look) <= 3 + 1 + source.count // 20


def _reaches(source: Counted, count: int) -> Any:
    async def look() -> bool:
        return source.count >= count

    return look


def _lost(reports: Heard) -> Any:
    async def look() -> bool:
        report = reports.newest[MESH]
        return isinstance(report, MeshReport) and not report.links[0].is_ready

    return look
