"""Jobs on a simulated cluster, by the real kubectl: they run as processes and end as Kubernetes says."""

import subprocess
import time
from pathlib import Path

from sandbox.worlds import KUBECTL, Job, Kubectl, Sandbox, claim, condition, eventually, python


def _ended(kubectl: Kubectl, name: str) -> dict[str, object]:
    """Wait for a job's end; return its status."""

    def ending() -> dict[str, object] | None:
        status = kubectl.status("job", name)
        return status if condition(status, "Complete") or condition(status, "Failed") else None

    found: dict[str, object] = eventually(ending, what=f"the end of job {name}")
    return found


def test_a_job_reads_and_writes_its_claim_at_the_mount_paths(sandbox: Sandbox, onprem: Kubectl) -> None:
    """A container sees subPaths of its claim at real paths, read-only where asked, and the files are on the volume."""
    code = """
import pathlib
try:
    pathlib.Path("/data/forbidden").write_text("x")
except OSError as error:
    print("read-only:", error.strerror)
pathlib.Path("/out/result").write_text(pathlib.Path("/data/in").read_text().upper())
"""
    onprem.apply(claim())
    folder = sandbox.storage("onprem-gpu") / onprem.namespace / "data"
    eventually(folder.exists, what="the provisioning of the claim")
    (folder / "set" / "v1").mkdir(parents=True)
    (folder / "set" / "v1" / "in").write_text("seismogram")
    mounts = [
        {"name": "data", "mountPath": "/data", "subPath": "set/v1", "readOnly": True},
        {"name": "data", "mountPath": "/out", "subPath": ".runs/r-e1/picks"},
    ]
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    onprem.apply(Job("work", python(code), container={"volumeMounts": mounts}, pod={"volumes": volumes}).manifest())
    assert condition(_ended(onprem, "work"), "Complete")
    assert (folder / ".runs" / "r-e1" / "picks" / "result").read_text() == "SEISMOGRAM"
    assert not (folder / "set" / "v1" / "forbidden").exists()
    assert onprem("logs", "job/work").startswith("read-only:")


WAITS_FOR_US = """\
import pathlib, time
print("line 0")
while not pathlib.Path({go_on!r}).exists():
    time.sleep(0.05)
for number in (1, 2, 3):
    print("line", number)
"""


def test_a_followed_log_shows_lines_while_they_are_written_and_ends_with_the_container(
    lab: Kubectl, tmp_path: Path
) -> None:
    """`kubectl logs -f` prints the first line while the container waits for us, and all lines by its end."""
    go_on = tmp_path / "go-on"
    code = WAITS_FOR_US.format(go_on=str(go_on))
    lab.apply(Job("talk", python(code)).manifest())
    eventually(lambda: [p for p in lab.pods() if p["status"]["phase"] == "Running"], what="the start of the pod")
    command = ["env", f"KUBECONFIG={lab.kubeconfig}", str(KUBECTL), "-n", lab.namespace, "logs", "-f", "job/talk"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "line 0\n"
        go_on.touch()
        assert following.stdout.read() == "line 1\nline 2\nline 3\n"
    assert lab("logs", "job/talk", "--tail=1") == "line 3\n"
    assert lab("logs", "job/talk", "--limit-bytes=6") == "line 0"
    stamped = lab("logs", "job/talk", "--timestamps", "--tail=1")
    assert stamped.endswith("Z line 3\n")


def test_a_container_gets_its_environment_and_arguments_expanded(lab: Kubectl) -> None:
    """env, envFrom, fieldRef, ConfigMap and Secret values arrive, and $(NAME) is expanded in arguments."""
    lab.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings"},
            "data": {"MODE": "fast", "LEVEL": "3"},
        },
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"key": "s3cret"}},
    )
    env = [
        {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "WHERE", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "token", "key": "key"}}},
        {"name": "BOTH", "value": "$(MODE)-$(KEY)-$$(MODE)-$(ABSENT)"},
    ]
    container = {"env": env, "envFrom": [{"configMapRef": {"name": "settings"}}], "args": ["$(BOTH)", "$(LEVEL)"]}
    code = "import os, sys\nprint(sys.argv[1:], os.environ['ME'].startswith('env-'), os.environ['WHERE'][:5])"
    lab.apply(Job("env", python(code), container=container).manifest())
    assert condition(_ended(lab, "env"), "Complete")
    assert lab("logs", "job/env") == "['fast-s3cret-$(MODE)-$(ABSENT)', '3'] True 10.3.\n"


def test_config_maps_and_secrets_are_files_where_they_are_mounted(lab: Kubectl) -> None:
    """A ConfigMap volume has a file per key that the container can read and cannot change."""
    lab.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "files"}, "data": {"a.txt": "alpha"}})
    mounts = [{"name": "v", "mountPath": "/etc/app/conf"}]
    volumes = [{"name": "v", "configMap": {"name": "files"}}]
    code = """
import os
print(open("/etc/app/conf/a.txt").read(), os.access("/etc/app/conf", os.W_OK), os.path.exists("/etc/passwd"))
"""
    lab.apply(Job("files", python(code), container={"volumeMounts": mounts}, pod={"volumes": volumes}).manifest())
    assert condition(_ended(lab, "files"), "Complete")
    assert lab("logs", "job/files") == "alpha False True\n"


def test_init_containers_run_one_after_another_before_the_containers(lab: Kubectl) -> None:
    """The main container sees what both init containers left in an emptyDir, in their order."""
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    inits = [
        {"name": f"step-{n}", "command": ["sh", "-c", f"echo {n} >> /shared/steps"], "volumeMounts": mounts}
        for n in (1, 2)
    ]
    pod = {"initContainers": inits, "volumes": [{"name": "shared", "emptyDir": {}}]}
    lab.apply(Job("inits", ["cat", "/shared/steps"], container={"volumeMounts": mounts}, pod=pod).manifest())
    assert condition(_ended(lab, "inits"), "Complete")
    assert lab("logs", "job/inits") == "1\n2\n"


def test_a_failing_job_says_why_and_with_which_exit_code(lab: Kubectl) -> None:
    """Exit code 3 with backoffLimit 0 makes the Job Failed with BackoffLimitExceeded after one pod."""
    lab.apply(Job("bad", ["sh", "-c", "exit 3"]).manifest())
    failed = condition(_ended(lab, "bad"), "Failed")
    (pod,) = lab.pods("job-name=bad")
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert failed["reason"] == "BackoffLimitExceeded"
    assert (pod["status"]["phase"], ended["exitCode"], ended["reason"]) == ("Failed", 3, "Error")


def test_a_failed_pod_is_replaced_until_the_back_off_limit(lab: Kubectl) -> None:
    """With backoffLimit 1 a job that always fails makes two pods and is then Failed."""
    lab.apply(Job("twice", ["false"], spec={"backoffLimit": 1}).manifest())
    assert condition(_ended(lab, "twice"), "Failed")
    assert len(lab.pods("job-name=twice")) == 2


def test_a_program_that_is_not_there_ends_with_a_clear_reason(lab: Kubectl) -> None:
    """A command that does not exist is a StartError that names the command."""
    lab.apply(Job("absent", ["no-such-program"]).manifest())
    assert condition(_ended(lab, "absent"), "Failed")
    ended = lab.pods("job-name=absent")[0]["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["reason"] == "StartError"
    assert "no-such-program" in ended["message"]


def test_a_job_is_ended_at_its_deadline(lab: Kubectl) -> None:
    """activeDeadlineSeconds stops the process and fails the Job with DeadlineExceeded."""
    lab.apply(Job("slow", ["sleep", "60"], spec={"activeDeadlineSeconds": 1}).manifest())
    began = time.monotonic()
    assert condition(_ended(lab, "slow"), "Failed")["reason"] == "DeadlineExceeded"
    assert time.monotonic() - began < 60, "it was ended, and did not end by itself"


def test_a_suspended_job_runs_nothing_until_it_is_resumed(lab: Kubectl) -> None:
    """suspend: true stops the pods of a job without counting them as failed; false lets it go on to its end."""
    lab.apply(Job("pausing", ["sleep", "1"], spec={"suspend": True}).manifest())
    eventually(lambda: condition(lab.status("job", "pausing"), "Suspended"), what="the suspension")
    assert lab.pods("job-name=pausing") == []
    lab("patch", "job", "pausing", "--type=merge", "-p", '{"spec":{"suspend":false}}')
    status = _ended(lab, "pausing")
    assert condition(status, "Complete")
    assert status["failed"] == 0


def test_an_indexed_job_gives_each_index_once(lab: Kubectl) -> None:
    """Three completions, two at a time: the pods get the indexes 0, 1 and 2."""
    spec = {"completions": 3, "parallelism": 2, "completionMode": "Indexed"}
    lab.apply(Job("array", ["sh", "-c", "echo $JOB_COMPLETION_INDEX"], spec=spec).manifest())
    assert _ended(lab, "array")["completedIndexes"] == "0-2"
    said = sorted(lab("logs", pod["metadata"]["name"]) for pod in lab.pods("job-name=array"))
    assert said == ["0\n", "1\n", "2\n"]


def test_a_finished_job_goes_with_its_pods_when_its_time_is_over(lab: Kubectl) -> None:
    """ttlSecondsAfterFinished deletes the Job, and the garbage collector its pods."""
    lab.apply(Job("brief", ["true"], spec={"ttlSecondsAfterFinished": 1}).manifest())
    made = {"reason": "SuccessfulCreate"}  # the pod itself may be gone before a busy machine has looked
    eventually(lambda: any(made.items() <= event.items() for event in lab.objects("event")), what="the pod")
    eventually(lambda: lab.get("job", "brief") is None and not lab.pods(), what="the deletion of the job and its pods")


def test_a_deleted_running_pod_counts_as_failed(lab: Kubectl) -> None:
    """Deleting the pod of a Job with backoffLimit 0 fails the Job: the pod is counted before it goes."""
    lab.apply(Job("struck", ["sleep", "60"]).manifest())
    (pod,) = eventually(lambda: [p for p in lab.pods() if p["status"]["phase"] == "Running"], what="the start")
    lab("delete", "pod", pod["metadata"]["name"], "--grace-period=1")
    assert condition(_ended(lab, "struck"), "Failed")
    eventually(lambda: not lab.pods("job-name=struck"), what="the end of the pod")


def test_an_on_failure_container_is_restarted_in_its_pod(lab: Kubectl) -> None:
    """restartPolicy OnFailure restarts the container in place until it succeeds, and counts the restart."""
    mounts = [{"name": "v", "mountPath": "/v"}]
    pod = {"restartPolicy": "OnFailure", "volumes": [{"name": "v", "emptyDir": {}}]}
    command = ["sh", "-c", "test -e /v/tried || { touch /v/tried; echo first; exit 1; }; echo second"]
    job = Job("again", command, spec={"backoffLimit": 3}, pod=pod, container={"volumeMounts": mounts})
    lab.apply(job.manifest())
    assert condition(_ended(lab, "again"), "Complete")
    (ran,) = lab.pods("job-name=again")
    assert ran["status"]["containerStatuses"][0]["restartCount"] == 1
    assert lab("logs", "job/again") == "second\n"
    assert lab("logs", "job/again", "--previous") == "first\n"
