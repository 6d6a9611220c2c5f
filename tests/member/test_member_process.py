"""The agent killed, restarted, cut off from hub and API server: its work goes on and is reported later."""

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from atoll.edge.member.main import run
from atoll.edge.member.settings import MemberSettings
from atoll.federation.bus.messages import Heartbeat, PolicyReport, RunReport
from atoll.federation.errors import Conflict, Internal, InvalidInput
from member.harness import HubSide, running_agent
from member.orders import DENY, NAMESPACE, POLICY_KEY, RUN, RUN_KEY, policies, policy_order, run_order
from member.world import Cluster, eventually, now_text

PROGRAM = """
import asyncio, pathlib, sys
from atoll.edge.member.main import run
from atoll.edge.member.settings import MemberSettings
from atoll.edge.enrolment import EnrolmentSettings
cluster, url, kubeconfig, state = sys.argv[1:]
asyncio.run(run(MemberSettings(cluster=cluster, enrolment=EnrolmentSettings(url), kubeconfig=pathlib.Path(kubeconfig),
                               state_dir=pathlib.Path(state), heartbeat_seconds=0.5)))
"""


@contextlib.contextmanager
def agent_process(settings: MemberSettings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An agent in a process of its own, killed at the end of the block."""
    arguments = [settings.cluster, settings.enrolment.nats_url, str(settings.kubeconfig), str(settings.state_dir)]
    with log.open("ab") as output:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdout=output, stderr=output)
    try:
        yield process
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.faults
async def test_killed_and_restarted_without_a_hub_the_agent_carries_on_and_reports_later(
    cluster: Cluster, settings: MemberSettings, hub: HubSide, nats_server: Any, tmp_path: Path
) -> None:
    """kill -9 of agent and NATS: the restarted agent heals drift and follows its run; the hub hears when it is back."""
    log = tmp_path / "agent.log"
    with agent_process(settings, log):
        await hub.order(RUN_KEY, run_order())
        await hub.order(POLICY_KEY, policy_order(DENY))
        pod = await cluster.pod_of(RUN, NAMESPACE)
        await cluster.set_pod(pod, "Running", state={"running": {"startedAt": now_text()}})
        await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Running", within_seconds=30)
        await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.phase == "Applied")
    job = (await cluster.objects("Job", NAMESPACE))[RUN]
    nats_server.kill9()

    with agent_process(settings, log):
        await cluster.delete("NetworkPolicy", "deny", namespace=NAMESPACE)

        async def healed() -> bool:
            return "deny" in await policies(cluster)

        await eventually(healed, within_seconds=30)
        await cluster.end_pod(pod, 3, began=now_text())
        nats_server.start()
        failed = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Failed", within_seconds=30)
        drifted = await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.drift_healed == 1)
    assert failed.exit_code == 3
    assert drifted.phase == "Applied"
    assert (await cluster.objects("Job", NAMESPACE))[RUN]["metadata"]["uid"] == job["metadata"]["uid"]


@pytest.mark.faults
async def test_what_happened_in_a_cut_is_reported_with_its_own_time_by_an_agent_that_did_not_see_it(
    cluster: Cluster, settings: MemberSettings, hub: HubSide, nats_server: Any, tmp_path: Path
) -> None:
    """A run ends, its Job is cleaned up, drift is healed; then the agent dies, and only its successor meets the hub."""
    log = tmp_path / "agent.log"
    with agent_process(settings, log):
        await hub.order(RUN_KEY, run_order())
        await hub.order(POLICY_KEY, policy_order(DENY))
        pod = await cluster.pod_of(RUN, NAMESPACE)
        await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.phase == "Applied", within_seconds=30)
        nats_server.kill9()
        await cluster.delete("NetworkPolicy", "deny", namespace=NAMESPACE)
        await cluster.end_pod(pod, 3, began=now_text())
        await _on_disk(settings, "runs", b'"phase":"Failed"')
        await _on_disk(settings, "drifts", b'"healed":1')
        await cluster.delete("Job", RUN, namespace=NAMESPACE)
    back_at = datetime.now(UTC)
    with agent_process(settings, log):
        nats_server.start()
        failed = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Failed", within_seconds=30)
        drifted = await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.drift_healed, within_seconds=30)
    assert failed.exit_code == 3
    assert failed.reason != "WorkloadDeleted", "how it ended, not that its Job is gone by now"
    assert failed.finished_at is not None
    assert failed.finished_at <= failed.at < back_at
    assert (drifted.drift_healed, [drift.name for drift in drifted.drifts]) == (1, ["deny"])
    assert drifted.drifts[0].at < back_at


async def _on_disk(settings: MemberSettings, shelf: str, words: bytes) -> None:
    """Wait until the agent has written something to its state."""

    async def found() -> bool:
        return any(words in path.read_bytes() for path in (settings.state_dir / shelf).glob("*.entry"))

    await eventually(found, within_seconds=30)


@pytest.mark.faults
async def test_a_run_ordered_while_the_agent_was_dead_starts_and_one_withdrawn_ends(
    cluster: Cluster, settings: MemberSettings, hub: HubSide, tmp_path: Path
) -> None:
    """After kill -9 the agent catches up with the orders: new ones are carried out, ended ones removed with report."""
    log = tmp_path / "agent.log"
    with agent_process(settings, log):
        await hub.order(RUN_KEY, run_order())
        await hub.reported(RUN_KEY, RunReport, within_seconds=30)
    await hub.withdraw(RUN_KEY)
    await hub.order("run/seismology/next-1", run_order(run="next-1"))
    with agent_process(settings, log):
        await hub.reported("run/seismology/next-1", RunReport, within_seconds=30)
        await hub.gone(RUN_KEY)
    assert (await cluster.objects("Job", NAMESPACE)).keys() == {"next-1"}


@pytest.mark.faults
async def test_a_lost_nats_disk_stops_no_work_and_brings_all_reports_back(
    cluster: Cluster, agent: None, hub: HubSide, nats_server: Any
) -> None:
    """G2: with its store made anew the hub hears of the running work, and the heartbeat names the orders it lost."""
    await hub.order(RUN_KEY, run_order())
    pod = await cluster.pod_of(RUN, NAMESPACE)
    await cluster.set_pod(pod, "Running", state={"running": {"startedAt": now_text()}})
    await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Running")
    nats_server.kill9()
    shutil.rmtree(nats_server.home / "store")
    nats_server.start()
    await _make_tables(hub)
    await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Running", within_seconds=60)
    await hub.reported("heartbeat", Heartbeat, lambda beat: RUN_KEY in beat.message, within_seconds=60)
    assert RUN in await cluster.objects("Job", NAMESPACE)
    assert "deletionTimestamp" not in (await cluster.objects("Job", NAMESPACE))[RUN]["metadata"]


async def _make_tables(hub: HubSide) -> None:
    async def made() -> bool:
        with contextlib.suppress(Exception):
            await hub.bus.ensure_table("DESIRED", "desired")
            await hub.bus.ensure_table("OBSERVED", "observed")
            return True
        return False

    await eventually(made, within_seconds=30)


async def test_while_the_api_server_is_away_the_heartbeat_says_so_and_nothing_is_called_failed(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """Transport loss is not failure: the run stays Running, and what happened meanwhile is reported afterwards."""
    await hub.order(RUN_KEY, run_order())
    pod = await cluster.pod_of(RUN, NAMESPACE)
    await cluster.set_pod(pod, "Running", state={"running": {"startedAt": now_text()}})
    await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Running")
    await cluster.stop_server()
    lost = await hub.reported("heartbeat", Heartbeat, lambda beat: not beat.api_reachable)
    assert "cannot be reached" in lost.message
    assert (await hub.reported(RUN_KEY, RunReport)).phase == "Running"
    await cluster.end_pod(pod, 0, began=now_text())
    await cluster.start_server()
    await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Succeeded", within_seconds=30)
    await hub.reported("heartbeat", Heartbeat, lambda beat: beat.api_reachable)


async def test_a_slow_and_throttling_api_server_is_served_with_patience(
    cluster: Cluster, settings: MemberSettings, hub: HubSide
) -> None:
    """With 300 ms per answer and 429 in between, a run still starts and a policy still heals."""
    cluster.faults.delay_seconds = 0.3
    async with running_agent(settings):
        await hub.order(RUN_KEY, run_order())
        await hub.order(POLICY_KEY, policy_order(DENY))
        cluster.faults.throttle_next = 3
        await cluster.pod_of(RUN, NAMESPACE)
        await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.phase == "Applied", within_seconds=30)
        await cluster.delete("NetworkPolicy", "deny", namespace=NAMESPACE)
        await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.drift_healed == 1, within_seconds=30)


async def test_expired_watches_cost_no_news(cluster: Cluster, settings: MemberSettings, hub: HubSide) -> None:
    """When every first watch is answered with 410, drift is still healed and runs are still followed."""
    cluster.faults.expire_next_watches = 8
    async with running_agent(settings):
        await hub.order(POLICY_KEY, policy_order(DENY))
        await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.phase == "Applied")
        await cluster.delete("NetworkPolicy", "deny", namespace=NAMESPACE)
        await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.drift_healed == 1, within_seconds=30)


async def test_heartbeats_carry_version_and_time(agent: None, hub: HubSide) -> None:
    """A heartbeat comes again and again, each newer than the one before."""
    first = await hub.reported("heartbeat", Heartbeat)
    second = await hub.reported("heartbeat", Heartbeat, lambda beat: beat.at > first.at)
    assert second.agent_version
    assert second.started_at == first.started_at
    assert second.api_reachable


async def test_a_second_agent_on_the_same_state_is_refused(settings: MemberSettings, agent: None, hub: HubSide) -> None:
    """Two agents would fight over one disk: the second ends with one clear line."""
    await hub.reported("heartbeat", Heartbeat)
    with pytest.raises(Conflict, match="another agent"):
        await run(settings)


async def test_a_disk_that_takes_nothing_ends_the_agent_with_one_error(
    cluster: Cluster, settings: MemberSettings, hub: HubSide
) -> None:
    """An agent that cannot keep its orders must not carry them out: it ends and names the folder."""
    task = asyncio.create_task(run(settings))
    try:
        await hub.reported("heartbeat", Heartbeat)
        entry = hashlib.sha256(RUN_KEY.encode()).hexdigest()[:40]
        (settings.state_dir / "orders" / f"{entry}.tmp").mkdir()  # a folder stands where the order would be written
        await hub.order(RUN_KEY, run_order())
        with pytest.raises(Internal, match="keeps its state there"):
            await asyncio.wait_for(task, 20)
    finally:
        task.cancel()
    assert await cluster.objects("Job") == {}


async def test_a_missing_kubeconfig_ends_the_agent_with_its_name(settings: MemberSettings, tmp_path: Path) -> None:
    """Bad settings are told at once, not retried."""
    with pytest.raises(InvalidInput, match="nowhere"):
        await asyncio.wait_for(run(replace(settings, kubeconfig=tmp_path / "nowhere")), 30)
