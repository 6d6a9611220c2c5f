"""Clusters and gateways leave a running hub, whoever deletes them: in order, at once where asked, and for good."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import GatewayReport
from atoll.federation.bus.farewell import FarewellOrder, FarewellReport
from atoll.federation.bus.subjects import DESIRED_PREFIX, DESIRED_STREAM, OBSERVED_STREAM, observed_prefix
from atoll.hub.controllers.departure_plan import FORCE_ANNOTATION
from hub.support import API, HubClient, Member, eventually, job_spec, joined, manifest, now, running_hub

EDGE = f"{API}/clusters/edge"
LAB = "lab"
HEARTBEAT_SECONDS = 0.3
POD = {"terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": "busybox", "command": ["true"]}]}
PROMPT = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": POD}}}


@contextlib.asynccontextmanager
async def heard(hub: HubClient, bus: Bus) -> AsyncIterator[Member]:
    """A cluster with an agent that the hub has heard."""
    await hub.apply(manifest("Cluster", "edge"))
    async with joined(bus, "edge") as member:
        await hub.phase(EDGE, "Ready")
        yield member


async def is_gone(hub: HubClient, path: str = EDGE) -> None:
    async def look() -> bool:
        return (await hub.http.get(path)).status_code == 404

    await eventually(look)


async def leaving(hub: HubClient, reason: str) -> str:
    """Wait until the cluster waits for something; give its message."""

    async def look() -> str | None:
        conditions = (await hub.status(EDGE)).get("conditions", [])
        found = [each for each in conditions if each["type"] == "Leaving" and each["reason"] == reason]
        return found[0]["message"] if found else None

    return str(await eventually(look))


async def told(hub: HubClient) -> list[tuple[str, str]]:
    events = (await hub.get("/api/v1/namespaces/default/events"))["items"]
    return [(each["reason"], each["message"]) for each in events if each["reason"] in ("Left", "Kept")]


async def run_job(hub: HubClient, member: Member, **spec: Any) -> None:
    """Have a job run on the cluster, until told otherwise."""
    member.holds_runs = True
    await hub.apply(
        manifest("Namespace", LAB), manifest("Queue", "lab"), manifest("Job", "picks", job_spec(**spec), LAB)
    )
    await hub.phase(f"{API}/namespaces/{LAB}/runs/picks-1", "Running")


async def test_a_cluster_that_nobody_ever_heard_goes_at_once(nats_server: Any, tmp_path: Path) -> None:
    async with running_hub(nats_server.url, tmp_path) as hub:
        await hub.apply(manifest("Cluster", "edge"))
        await hub.http.delete(EDGE)
        await is_gone(hub)


async def test_a_cluster_leaves_when_its_agent_has_said_farewell_and_nothing_of_it_stays_on_the_wire(
    bus: Bus, nats_server: Any, tmp_path: Path
) -> None:
    """Deleted twice, it leaves once; the mark of the store stays for an agent that was away."""
    async with running_hub(nats_server.url, tmp_path) as hub, heard(hub, bus) as member:
        member.says_farewell = False
        await hub.http.delete(EDGE)
        await hub.http.delete(EDGE)
        assert await leaving(hub, "Clearing") in ("the agent is told to clear the cluster", "waiting for the agent")
        order = FarewellOrder.decode(member.orders["farewell/cluster"])
        report = FarewellReport(id=order.id, is_done=True, removed=("Job a/b",), at=now())
        await member.report("farewell/cluster", report)
        await is_gone(hub)

        async def is_quiet() -> bool:
            return {path.rest for path in hub.hub.context.desired.of_member("cluster", "edge")} == {"store"}

        assert await eventually(is_quiet)
        assert await told(hub) == [("Left", "removed Job a/b")]


async def test_a_cluster_that_left_may_join_again(bus: Bus, nats_server: Any, tmp_path: Path) -> None:
    async with running_hub(nats_server.url, tmp_path) as hub:
        for _ in range(2):
            async with heard(hub, bus):
                await hub.http.delete(EDGE)
                await is_gone(hub)


async def test_runs_end_first_and_a_hub_that_dies_meanwhile_changes_nothing(
    bus: Bus, nats_server: Any, tmp_path: Path
) -> None:
    """The next hub knows that the cluster is leaving, and waits on; the run ends by itself, as one that waits may."""
    async with joined(bus, "edge") as member:
        async with running_hub(nats_server.url, tmp_path) as hub:
            await hub.apply(manifest("Cluster", "edge"))
            await hub.phase(EDGE, "Ready")
            await run_job(hub, member)
            await hub.http.delete(EDGE)
            assert "--force" in await leaving(hub, "Draining")
            assert (await hub.get(EDGE))["spec"]["draining"]
        async with running_hub(nats_server.url, tmp_path) as hub:
            assert (await hub.get(EDGE))["metadata"]["deletionTimestamp"]
            (order,) = member.applied.values()
            await member.tell(order, "Succeeded", finished_at=now())
            await is_gone(hub)
            assert (await hub.status(f"{API}/namespaces/{LAB}/jobs/picks"))["phase"] == "Succeeded"


async def test_a_forced_leave_stops_the_runs(bus: Bus, nats_server: Any, tmp_path: Path) -> None:
    async with running_hub(nats_server.url, tmp_path) as hub, heard(hub, bus) as member:
        await run_job(hub, member)
        change = {"metadata": {"annotations": {FORCE_ANNOTATION: "true"}}}
        await hub.http.patch(EDGE, json=change, headers={"content-type": "application/merge-patch+json"})
        await hub.http.delete(EDGE)
        await is_gone(hub)
        assert member.applied == {}


async def test_a_silent_cluster_is_given_up_when_its_time_is_over_and_what_it_holds_is_named(
    bus: Bus, nats_server: Any, tmp_path: Path
) -> None:
    """Nothing that it still does there counts, with its credentials gone: its job is to be placed anew."""
    async with running_hub(nats_server.url, tmp_path, heartbeat_timeout_seconds=1.0) as hub:
        async with heard(hub, bus) as member:
            await run_job(hub, member)
        await hub.phase(EDGE, "Unreachable")
        await hub.http.delete(EDGE)
        assert "sent away without being cleared" in await leaving(hub, "Silent")
        change = {"metadata": {"annotations": {"atoll.dev/leave-timeout": "1s"}}}
        await hub.http.patch(EDGE, json=change, headers={"content-type": "application/merge-patch+json"})
        await is_gone(hub)
        kept = [message.partition(":")[0] for reason, message in await told(hub) if reason == "Kept"]
        assert sorted(kept) == ["run lab/picks-1", "the agent"]
        assert (await hub.phase(f"{API}/namespaces/{LAB}/runs/picks-1", "Failed"))["reason"] == "ClusterGone"
        assert (await hub.phase(f"{API}/namespaces/{LAB}/jobs/picks", "Pending"))["attempts"] == 1


async def test_a_silent_cluster_is_not_let_go_by_force_while_what_fails_over_may_be_running_there(
    bus: Bus, nats_server: Any, tmp_path: Path
) -> None:
    lease = {"heartbeat_timeout_seconds": 1.0, "run_lease_seconds": 4.0, "run_lease_margin_seconds": 0.5}
    async with running_hub(nats_server.url, tmp_path, **lease) as hub:
        async with heard(hub, bus) as member:
            await run_job(hub, member, lossPolicy="Failover", workload=PROMPT)
        silent_at = time.monotonic()
        await hub.phase(EDGE, "Unreachable")
        change = {"metadata": {"annotations": {FORCE_ANNOTATION: "true"}}}
        await hub.http.patch(EDGE, json=change, headers={"content-type": "application/merge-patch+json"})
        await hub.http.delete(EDGE)
        assert "lab/picks-1 cannot be running there" in await leaving(hub, "Fencing")
        await is_gone(hub)
        assert time.monotonic() - silent_at >= 4.5 - HEARTBEAT_SECONDS
        assert (await hub.status(f"{API}/namespaces/{LAB}/runs/picks-1"))["reason"] == "Lost"
        assert (await hub.phase(f"{API}/namespaces/{LAB}/jobs/picks", "Pending"))["attempts"] == 1


async def test_whoever_deletes_a_cluster_is_told_of_streams_that_have_it_as_home(
    nats_server: Any, tmp_path: Path
) -> None:
    async with running_hub(nats_server.url, tmp_path) as hub:
        spec = {"gateway": "far", "topics": ["a/#"], "dataset": "anmo", "home": "edge"}
        stream = manifest("Stream", "anmo", spec, LAB)
        members = manifest("Cluster", "edge"), manifest("Gateway", "far", {"site": "lab"})
        await hub.apply(manifest("Namespace", LAB), *members, stream)
        await hub.http.delete(EDGE)
        await is_gone(hub)
        events = (await hub.get("/api/v1/namespaces/default/events"))["items"]
        (event,) = [each for each in events if each["reason"] == "HomeLeaves"]
        assert event["type"] == "Warning"
        assert event["message"].startswith("stream lab/anmo has edge as home")


async def test_a_stream_without_its_home_is_ordered_of_nobody_until_a_cluster_of_that_name_is_there(
    bus: Bus, nats_server: Any, tmp_path: Path
) -> None:
    """Two controllers that write and take back one order would go on for ever."""
    async with running_hub(nats_server.url, tmp_path) as hub:
        spec = {"gateway": "far", "topics": ["a/#"], "dataset": "anmo", "home": "edge"}
        edge, gateway = manifest("Cluster", "edge"), manifest("Gateway", "far", {"site": "lab"})
        await hub.apply(manifest("Namespace", LAB), edge, gateway, manifest("Stream", "anmo", spec, LAB))

        async def is_ordered() -> bool:
            return any(path.topic == "stream" for path in hub.hub.context.desired.of_member("cluster", "edge"))

        async def is_quiet() -> bool:
            before = await table.last_revision()
            await asyncio.sleep(0.5)
            return await table.last_revision() == before

        table = bus.table(DESIRED_STREAM, DESIRED_PREFIX)
        assert await eventually(is_ordered)
        await hub.http.delete(EDGE)
        await is_gone(hub)
        assert await eventually(is_quiet)
        assert not await is_ordered()
        await hub.apply(edge)
        assert await eventually(is_ordered)


async def test_a_gateway_leaves_with_all_that_it_was_told_and_has_told(
    bus: Bus, nats_server: Any, tmp_path: Path
) -> None:
    path = f"{API}/gateways/far"
    async with running_hub(nats_server.url, tmp_path) as hub:
        await hub.apply(manifest("Gateway", "far", {"site": "lab"}))
        table = bus.table(OBSERVED_STREAM, observed_prefix("gateway", "far"))
        await table.put("heartbeat", GatewayReport(broker_connected=True, at=now()).encode())
        await hub.phase(path, "Ready")
        await hub.http.delete(path)
        await is_gone(hub, path)

        async def is_forgotten() -> bool:
            context = hub.hub.context
            return not context.observed.of_member("gateway", "far") and not context.desired.of_member("gateway", "far")

        assert await eventually(is_forgotten)
        assert await table.get("heartbeat") is None


async def test_a_gateway_that_streams_name_stays_until_they_are_gone_or_it_is_deleted_by_force(
    nats_server: Any, tmp_path: Path
) -> None:
    path = f"{API}/gateways/far"
    spec = {"gateway": "far", "topics": ["a/#"], "dataset": "d", "home": "edge"}

    async def why(hub: HubClient) -> str:
        conditions = (await hub.status(path)).get("conditions", [])
        return next((each["message"] for each in conditions if each["reason"] == "InUse"), "")

    async with running_hub(nats_server.url, tmp_path) as hub:
        await hub.apply(
            manifest("Cluster", "edge"), manifest("Gateway", "far"), manifest("Stream", "s", spec, "default")
        )
        await hub.http.delete(path)
        assert "stream default/s has far as gateway: delete them or set" in str(await eventually(lambda: why(hub)))
        await hub.http.delete(f"{API}/namespaces/default/streams/s")
        await is_gone(hub, path)
        await hub.apply(manifest("Gateway", "far"), manifest("Stream", "s", spec, "default"))
        await hub.http.delete(path)
        assert await eventually(lambda: why(hub))
        force = {"metadata": {"annotations": {FORCE_ANNOTATION: "true"}}}
        await hub.http.patch(path, json=force, headers={"content-type": "application/merge-patch+json"})
        await is_gone(hub, path)
