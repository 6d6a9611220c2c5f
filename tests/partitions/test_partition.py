"""A cluster is cut off from the hub for several time-outs, both sides change, the agent restarts, the link is mended.

Everything is a process of its own; the cut is a black hole in the relay between the cluster's side and the hub's.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from partitions.federation import TIMEOUT_SECONDS
from partitions.land import (
    DENY,
    FAR,
    NAMESPACE,
    NEAR,
    POLICIES,
    QUEUE,
    STREAM,
    Land,
    Witness,
    eventually,
    now,
    policy,
    running_land,
)

CUT_SECONDS = 4 * TIMEOUT_SECONDS
ORDER = ("Pending", "Staging", "Starting", "Running", "Committing", "Succeeded")
HOLE = {"spec": {"podSelector": {"matchLabels": {"temporarily": "open"}}}}
pytestmark = [pytest.mark.faults, pytest.mark.demo]


@dataclass
class Story:
    """What happened, and when."""

    land: Land
    witness: Witness
    cut_at: datetime
    healed_at: datetime
    drifts_at: list[datetime]
    agents: list[int | None]
    phases_during: dict[str, str]
    lost_since: datetime | None
    commit: str


@pytest.fixture(scope="module")
def land(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Land]:
    """A federation with a queue, a stream, a policy, and two jobs that run: one goes on, one ends when it is told."""
    folder = tmp_path_factory.mktemp("cut")
    with running_land(folder) as land:
        land.hub.apply(
            f"/api/v1/namespaces/{NAMESPACE}",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        )
        land.apply("Queue", QUEUE, {})
        stream = {"gateway": "lab-a", "topics": ["lab/readings"], "dataset": "readings", "home": FAR}
        stream |= {"format": "jsonl", "endOfRun": {"topic": "lab/end"}}
        land.apply("Stream", STREAM, stream, namespace=NAMESPACE)
        land.submit("long", f"echo $$$$ >> {folder}/long.pid; exec sleep 600")
        land.submit("short", f"until test -e {folder}/end; do sleep 0.1; done")
        eventually(lambda: {land.job(name).status.phase for name in ("long", "short")} == {"Running"}, what="the jobs")
        land.repository.commit("deny", directions=("Ingress",))
        source = {"repository": f"file://{land.repository.path}", "revision": "main", "path": ".", "interval": "1s"}
        land.apply("PolicySet", POLICIES, {"source": source})
        eventually(lambda: _applied(land, FAR) and _applied(land, NEAR), what="the policies")
        land.publish(range(20))
        eventually(lambda: land.readings() == [*range(20)], what="the first readings")
        yield land


@pytest.fixture(scope="module")
def story(land: Land) -> Iterator[Story]:
    """Cut, change both sides, heal, and wait until everything has returned."""
    with Witness(land).watching() as witness:
        pid = land.agent_pid(FAR)
        land.control.plant({"kind": "CutHub", "cluster": FAR})
        cut_at, began = now(), time.monotonic()
        drifts_at = [_drift(land)]
        (land.folder / "end").touch()
        _start_by_hand(land)
        commit = land.repository.commit("deny-more", directions=("Egress",))
        land.submit("later", "true")
        land.publish(range(20, 40))
        land.control.plant({"kind": "KillAgent", "cluster": FAR, "once": True})
        restarted = eventually(lambda: land.agent_pid(FAR) not in (None, pid) and land.agent_pid(FAR), what="restart")
        drifts_at.append(_drift(land))
        eventually(lambda: land.cluster(FAR).status.phase == "Unreachable", what="the loss")
        time.sleep(max(0.0, began + CUT_SECONDS - time.monotonic()))
        lost_since = land.cluster(FAR).status.lost_since
        during = {name: land.run(f"{name}-1").status.phase for name in ("long", "short")}
        healed_at = now()
        land.control.heal()
        eventually(lambda: land.cluster(FAR).status.phase == "Ready", what="the return")
        eventually(lambda: land.job("later").status.phase == "Succeeded", what="the job of meanwhile")
        eventually(lambda: _applied(land, FAR) and land.policy_status(FAR).commit == commit, what="the new policy")
        land.publish(range(40, 50), end=True)
        eventually(lambda: len(land.readings()) >= 50, what="the readings of meanwhile")
    yield Story(land, witness, cut_at, healed_at, drifts_at, [pid, restarted], during, lost_since, commit)


def _applied(land: Land, cluster: str) -> bool:
    status = land.policy_status(cluster)
    return status is not None and status.phase == "Applied" and status.objects > 0


def _drift(land: Land) -> datetime:
    """Open a hole by hand in the far cluster and wait until its agent has closed it; give when it was opened."""
    at = now()
    with land.member(FAR) as api:
        wanted = api.get(f"{DENY}/deny")["spec"]
        assert api.merge(f"{DENY}/deny", HOLE, manager="kubectl-edit")["spec"] != wanted
        eventually(lambda: api.get(f"{DENY}/deny")["spec"] == wanted, what="the healing of the drift")
    return at


def _start_by_hand(land: Land) -> None:
    """Let somebody take two of the far cluster's GPUs, past the hub."""
    limits = {"limits": {"nvidia.com/gpu": "2"}}
    container = {"name": "c", "image": "any", "command": ["sleep", "600"], "resources": limits}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "by-hand"}, "spec": {"containers": [container]}}
    with land.member(FAR) as api:
        api.create("/api/v1/namespaces/default/pods", pod)


def test_the_cluster_was_lost_at_its_last_proof_and_is_ready_again_by_itself(story: Story) -> None:
    """It is Ready once more and not before, the other cluster is never anything else.

    On its way back it may be Degraded for a moment: heartbeats of before arrive late, or before the inventory.
    """
    assert [phase for phase in story.witness.phases[FAR] if phase != "Degraded"] == ["Ready", "Unreachable", "Ready"]
    assert story.witness.phases[NEAR] == ["Ready"]
    assert story.lost_since is not None
    assert abs((story.lost_since - story.cut_at).total_seconds()) < TIMEOUT_SECONDS
    assert story.land.cluster(FAR).status.lost_since is None


def test_running_work_was_not_touched(story: Story) -> None:
    """The job that went on is the same process, started once; to the hub it was Running all the time."""
    (pid,) = (story.land.folder / "long.pid").read_text().split()
    assert Path(f"/proc/{pid}").exists()
    assert story.phases_during["long"] == "Running"
    assert story.witness.phases["long-1"] == ["Running"]
    with story.land.member(FAR) as api:
        pods = api.get(f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]
    counts = [each["restartCount"] for pod in pods for each in pod["status"].get("containerStatuses", ())]
    assert counts
    assert set(counts) == {0}


def test_a_job_that_ended_meanwhile_is_told_with_its_own_time_and_once(story: Story) -> None:
    """The hub knew nothing while it was cut off, then learned the end as it was; there was no second attempt."""
    assert story.phases_during["short"] == "Running"
    run, job = story.land.run("short-1"), story.land.job("short")
    assert (run.status.phase, job.status.phase, job.status.run) == ("Succeeded", "Succeeded", "short-1")
    assert run.status.started_at is not None
    assert run.status.finished_at is not None
    cut_at = story.cut_at.replace(microsecond=0)  # Kubernetes' times are of whole seconds
    assert run.status.started_at < story.cut_at
    assert cut_at <= run.status.finished_at < story.healed_at


def test_every_run_went_through_its_phases_in_order(story: Story) -> None:
    """No client ever saw a run go back."""
    runs = {name: phases for name, phases in story.witness.phases.items() if name not in (FAR, NEAR)}
    assert set(runs) == {"long-1", "short-1", "later-1"}
    for phases in runs.values():
        assert [ORDER.index(phase) for phase in phases] == sorted({ORDER.index(phase) for phase in phases})


def test_drift_was_healed_without_the_hub_and_is_told_with_its_own_time(story: Story) -> None:
    """By the agent from before its restart and by the one from after it, which knew its orders from disk."""
    assert len(set(story.agents)) == 2
    status = story.land.policy_status(FAR)
    assert status.drift_healed >= 2
    assert status.last_drift_at is not None
    assert story.drifts_at[-1].replace(microsecond=0) <= status.last_drift_at <= story.healed_at
    assert "deny" in status.last_drift


def test_what_the_hub_decided_meanwhile_is_done(story: Story) -> None:
    """The policy of the new commit is in the cluster, the new job has run there, and nowhere else."""
    with story.land.member(FAR) as api:
        assert api.get(f"{DENY}/deny-more")["spec"]["policyTypes"] == ["Egress"]
        assert api.get(f"{DENY}/deny")["spec"]["podSelector"] == policy("deny", directions=())["spec"]["podSelector"]
    later = story.land.run("later-1")
    assert later.spec.cluster == FAR
    assert later.status.started_at is not None
    assert later.status.started_at.replace(microsecond=999_999) >= story.healed_at


def test_what_was_started_by_hand_meanwhile_is_counted(story: Story) -> None:
    """Two of eight GPUs are somebody's."""

    def free() -> int:
        inventory = story.land.cluster(FAR).status.inventory
        return sum(shape.count for shape in inventory.free_gpus) if inventory is not None else 0

    eventually(lambda: free() == 6, what=f"the inventory; last {free()}")


def test_no_reading_was_lost_or_doubled(story: Story) -> None:
    """What was published before, during and after the cut is in the files, once each and in order."""
    assert story.land.readings() == [*range(50)]


def test_a_link_that_flaps_or_is_slow_costs_nothing(story: Story) -> None:
    """Cuts shorter than the time-out, again and again, and half a second of delay: nothing is lost, work goes on."""
    land = story.land
    with Witness(land).watching() as witness:
        for _ in range(4):
            land.control.plant({"kind": "CutHub", "cluster": FAR})
            time.sleep(TIMEOUT_SECONDS / 5)
            land.control.heal()
            time.sleep(TIMEOUT_SECONDS / 10)
        land.control.plant({"kind": "SlowHub", "cluster": FAR, "delaySeconds": 0.5})
        land.submit("through", "true")
        eventually(lambda: land.job("through").status.phase == "Succeeded", what="the job over a slow link")
        land.control.heal()
    assert "Unreachable" not in witness.phases[FAR]
    assert witness.phases["long-1"] == ["Running"]
    assert len((land.folder / "long.pid").read_text().split()) == 1
