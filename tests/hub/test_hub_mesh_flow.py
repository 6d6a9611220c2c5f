"""Agents tell of the mesh over a real bus, and the hub's clusters say enough to judge it: rules, links, services."""

import contextlib
from collections.abc import AsyncIterator
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.inventory_messages import NetworkReport
from atoll.federation.bus.mesh_messages import MeshServicesReport
from atoll.federation.bus.messages import MeshReport
from atoll.federation.bus.subjects import OBSERVED_STREAM, observed_prefix
from atoll.federation.mesh import LinkState, SideState, matrix, members_of, shared_services, violations
from atoll.federation.resources import Cluster, MeshFacts, MeshLink, MeshService
from hub.support import API, HubClient, Member, eventually, joined, manifest, now, running_hub


@pytest.fixture
async def hub(bus: Bus, nats_server: Any, tmp_path: Path) -> AsyncIterator[HubClient]:
    """A hub that serves."""
    async with running_hub(nats_server.url, tmp_path) as client:
        yield client


@contextlib.asynccontextmanager
async def meshed(hub: HubClient, bus: Bus) -> AsyncIterator[dict[str, Member]]:
    """Two clusters, a and b, that reach each other."""
    async with joined(bus, "a", peers=("b",)) as one, joined(bus, "b", peers=("a",)) as other:
        for name in ("a", "b"):
            await hub.apply(manifest("Cluster", name))
            await hub.phase(f"{API}/clusters/{name}", "Ready")
        yield {"a": one, "b": other}


async def tell(member: Member, peer: str, number: int, *, is_ready: bool = True) -> None:
    """Report a cluster's links, settings and networks."""
    link = MeshLink(peer=peer, is_connected=is_ready, is_ready=is_ready, reason="" if is_ready else "no route")
    proven = link.model_copy(update={"last_proven_at": now(), "peer_id": 3 - number}) if is_ready else link
    facts = MeshFacts(name=member.name, id=number, default_local_cluster=True, expected_peers=(peer,))
    await member.report("mesh", MeshReport(links=(proven,), facts=facts, at=now()))
    await member.report("inventory/network", NetworkReport(pod_cidrs=(f"10.{number}.0.0/16",), at=now()))


async def clusters(hub: HubClient) -> list[Cluster]:
    return [Cluster.model_validate(item) for item in (await hub.get(f"{API}/clusters"))["items"]]


async def test_what_agents_told_is_enough_to_check_the_rules(hub: HubClient, bus: Bus) -> None:
    """Well at first; then one cluster comes back with the other's id and networks, and both rules are named."""
    async with meshed(hub, bus) as members:
        await tell(members["a"], "b", 1)
        await tell(members["b"], "a", 2)

        async def is_well() -> bool:
            found = members_of(await clusters(hub))
            told = [member for member in found if member.facts.pod_cidrs]
            return len(told) == 2 and violations(found, now=now()) == () and not matrix(found, now=now()).broken

        assert await eventually(is_well)
        await tell(members["b"], "a", 1)

        async def broken() -> bool:
            found = violations(members_of(await clusters(hub)), now=now())
            return {each.reason for each in found} >= {"DuplicateId", "PodCidrOverlap"}

        assert await eventually(broken)


async def test_a_link_that_one_side_lost_is_asymmetric_and_heals(hub: HubClient, bus: Bus) -> None:
    """What one side reports changes the link at once, and so does its recovery."""
    async with meshed(hub, bus) as members:
        await tell(members["a"], "b", 1)
        for is_ready, state in ((False, LinkState.ASYMMETRIC), (True, LinkState.READY)):
            await tell(members["b"], "a", 2, is_ready=is_ready)

            async def is_so(state: LinkState = state) -> bool:
                pair = matrix(members_of(await clusters(hub)), now=now()).pair("a", "b")
                return pair is not None and pair.link.state is state

            assert await eventually(is_so)


async def test_a_report_that_cannot_be_read_is_no_link_and_no_end(hub: HubClient, bus: Bus) -> None:
    """Malformed bytes of one agent cost its own links only, until it reports again."""
    async with meshed(hub, bus) as members:
        await tell(members["a"], "b", 1)
        await tell(members["b"], "a", 2)
        await bus.table(OBSERVED_STREAM, observed_prefix("cluster", "b")).put("mesh", b'{"links": [{"peer": 7}]}')

        async def has(links: int) -> bool:
            found = {cluster.metadata.name: cluster.status for cluster in await clusters(hub)}
            return len(found["b"].links) == links and len(found["a"].links) == 1

        assert await eventually(lambda: has(0))
        await tell(members["b"], "a", 2)
        assert await eventually(lambda: has(1))


async def test_endpoints_that_vanish_in_one_cluster_show_as_a_failover(hub: HubClient, bus: Bus) -> None:
    """The service goes on in the other cluster, and its state says so."""
    async with meshed(hub, bus) as members:
        for name, number in (("a", 1), ("b", 2)):
            await tell(members[name], "b" if name == "a" else "a", number)
        for endpoints, state in ((2, "Served"), (0, "FailedOver")):
            for name, count in (("a", 1), ("b", endpoints)):
                service = MeshService(namespace="lab", name="db", is_global=True, endpoints=count)
                await members[name].report("mesh/services", MeshServicesReport(services=(service,), at=now()))

            async def is_so(state: str = state) -> bool:
                found = shared_services(members_of(await clusters(hub)), now=now())
                return [str(each.state) for each in found if len(each.places) == 2] == [state]

            assert await eventually(is_so)
        told = await eventually(lambda: service_events(hub))
        assert [(event["reason"], event["type"], event["message"]) for event in told] == [
            ("ServiceFailedOver", "Warning", "lab/db: no endpoint in b: served by a")
        ]


async def service_events(hub: HubClient) -> list[dict[str, Any]]:
    """What events tell of services."""
    found = (await hub.get("/api/v1/events"))["items"]
    return [event for event in found if event["reason"].startswith("Service")]


async def test_a_monitor_is_told_how_the_mesh_is(hub: HubClient, bus: Bus) -> None:
    """Links, broken rules and certificates at /metrics, as numbers with closed labels."""
    async with meshed(hub, bus) as members:
        await tell(members["a"], "b", 1)
        await tell(members["b"], "a", 1, is_ready=False)

        async def is_there() -> bool:
            found = members_of(await clusters(hub))
            return len([member for member in found if member.facts.pod_cidrs]) == 2

        assert await eventually(is_there)
        lines = (await hub.http.get("/metrics")).text.splitlines()
        told = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}
        counts = {state: told[f'atoll_mesh_links{{state="{state}"}}'] for state in SideState}
        assert counts == dict.fromkeys(SideState, 0) | {SideState.READY: 1, SideState.FAILING: 1}
        assert told['atoll_mesh_violations{rule="DuplicateId"}'] == 1
        assert told['atoll_mesh_violations{rule="CaNotShared"}'] == 0
        assert told['atoll_mesh_services{state="Down"}'] == 0
        assert isnan(told["atoll_mesh_certificate_expiry_seconds"])
