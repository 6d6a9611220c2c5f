"""The sandbox by its commands: up, the examples, a job with data, down; and that it ends cleanly at any moment."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from clitool import Cli, kubectl, wait_until_gone
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

EXAMPLES = Path(__file__).parents[2] / "examples"
LAB_JOB = """
apiVersion: atoll.dev/v1alpha1
kind: Job
metadata: {name: in-a-lab, namespace: weather}
spec:
  queue: weather.batch
  expectedDuration: 5s
  placement: {clusters: {matchLabels: {site: lab}}}
  workload: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: m, image: x, command: [hostname]}]}}}}
"""
pytestmark = pytest.mark.demo


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A running sandbox with the examples applied."""
    cli = Cli(tmp_path_factory.mktemp("sandbox"))
    try:
        cli.ok("sandbox", "up")
        cli.ok("apply", "-f", str(EXAMPLES))
        cli.ok("apply", "-f", str(EXAMPLES / "instruments"))
        yield cli
    finally:
        cli("sandbox", "down")


def until(cli: Cli, arguments: tuple[str, ...], text: str, seconds: float = 30.0) -> str:
    """Repeat a command until it prints some text."""
    deadline = time.monotonic() + seconds
    while text not in (shown := cli(*arguments).stdout):
        assert time.monotonic() < deadline, shown
        time.sleep(0.3)
    return shown


def publish(broker: str, messages: list[tuple[str, bytes]]) -> None:
    address = urlsplit(broker)
    client = Client(CallbackAPIVersion.VERSION2)
    client.connect(str(address.hostname), address.port or 1883)
    client.loop_start()
    for topic, payload in messages:
        client.publish(topic, payload, qos=1).wait_for_publish(10)
    client.disconnect()
    client.loop_stop()


def test_up_returns_when_everything_is_ready(sandbox: Cli) -> None:
    """Four clusters Ready, all links up, the gateway connected, and `status` says where everything is."""
    clusters = json.loads(sandbox.ok("get", "clusters", "-o", "json"))["items"]
    assert {cluster["metadata"]["name"]: cluster["status"]["phase"] for cluster in clusters} == {
        "cloud-eu": "Ready", "onprem-gpu": "Ready", "lab-k3s": "Ready", "lab-kubeedge": "Ready"
    }  # fmt: skip
    assert sandbox("mesh", "status").returncode == 0
    state = json.loads(sandbox.ok("sandbox", "status", "-o", "json"))
    assert state["phase"] == "Ready"
    assert {process["name"] for process in state["processes"]} >= {"nats", "hub", "clusters", "gateway"}
    assert "lab-kubeedge" in sandbox.ok("sandbox", "status")


def test_kubectl_works_on_the_hub_and_on_the_clusters(sandbox: Cli) -> None:
    """What speaks Kubernetes speaks to both: to the hub by the context that `up` made the current one."""
    state = json.loads(sandbox.ok("sandbox", "status", "-o", "json"))
    for arguments, expected in (
        (("get", "clusters"), "onprem-gpu"),
        (("--context", "atoll-sandbox", "get", "clusters"), "onprem-gpu"),
        (("--kubeconfig", state["hubKubeconfig"], "get", "clusters"), "onprem-gpu"),
        (("--kubeconfig", state["hubKubeconfig"], "--context", "lab-k3s", "get", "nodes"), "Ready"),
        (("--kubeconfig", state["clusters"][0]["kubeconfig"], "get", "nodes"), "Ready"),
    ):
        done = kubectl(*arguments, environment={**sandbox.environment, "HOME": str(sandbox.root)})
        assert done.returncode == 0, done.stderr
        assert expected in done.stdout


def test_the_example_jobs_follow_each_other(sandbox: Cli) -> None:
    """The first writes a dataset, whose completion starts the second where the data are."""
    assert sandbox("job", "wait", "hello", "-n", "weather", "--timeout", "40s").returncode == 0
    assert sandbox.ok("job", "logs", "hello", "-n", "weather").startswith("hello from ")
    until(sandbox, ("get", "jobs", "-n", "weather"), "warmest-readings-v1")
    assert sandbox("job", "wait", "warmest-readings-v1", "-n", "weather", "--timeout", "40s").returncode == 0
    assert sandbox.ok("job", "logs", "warmest-readings-v1", "-n", "weather") == "15:00,20\n"
    ran = [json.loads(sandbox.ok("get", "job", name, "-n", "weather", "-o", "json"))["status"]["cluster"] for name in (
        "hello", "warmest-readings-v1"
    )]  # fmt: skip
    assert ran[0] == ran[1]


def test_a_job_runs_where_its_labels_allow(sandbox: Cli) -> None:
    """apply, wait, explain, describe."""
    sandbox.ok("apply", "-f", "-", stdin=LAB_JOB)
    assert sandbox("job", "wait", "in-a-lab", "-n", "weather", "--timeout", "40s").returncode == 0
    explained = sandbox.ok("job", "explain", "in-a-lab", "-n", "weather")
    assert "selected" in explained
    assert "LabelMismatch" in explained
    assert "run in-a-lab-1 on lab-" in sandbox.ok("describe", "job", "in-a-lab", "-n", "weather")


def test_readings_become_a_dataset_and_a_job(sandbox: Cli, tmp_path: Path) -> None:
    """From MQTT to a verified dataset to the triggered job to its downloaded result."""
    until(sandbox, ("get", "gateway", "lab-a", "-o", "json"), '"weather/stations"')
    broker = json.loads(sandbox.ok("sandbox", "status", "-o", "json"))["mqttUrl"]
    readings = [(f"weather/roof{i % 2}/readings", b'{"celsius": %d}' % i) for i in range(20)]
    publish(broker, [*readings, ("weather/control/end", b"done")])
    shown = until(sandbox, ("get", "datasets", "-n", "weather"), "counts.stations.")
    name = next(line.split()[0] for line in shown.splitlines() if line.startswith("stations."))
    until(sandbox, ("get", "dataset", f"counts.{name}", "-n", "weather"), "yes")
    assert "weather.roof1.readings.jsonl" in sandbox.ok("dataset", "ls", name, "-n", "weather")
    assert "20 readings received, gaps 0, duplicates 0" in sandbox.ok("dataset", "verify", name, "-n", "weather")
    shown = sandbox.ok("dataset", "head", name, "-n", "weather", "-c", "2").splitlines()
    assert [json.loads(line)["payload"] for line in shown] == [{"celsius": 0}, {"celsius": 2}]
    sandbox.ok("dataset", "get", f"counts.{name}", str(tmp_path / "counts"), "-n", "weather")
    assert "20 total" in (tmp_path / "counts" / "counts.txt").read_text()
    again = sandbox("dataset", "get", f"counts.{name}", str(tmp_path / "counts"), "-n", "weather")
    assert again.returncode == 1
    assert "is there already" in again.stderr
    command = ("job", "run", "--name", "lines", "-n", "weather", "--queue", "weather.batch", "--input", f"{name}:/data")
    followed = sandbox(*command, "--follow", "--", "sh", "-c", "cat /data/*.jsonl | wc -l")
    assert (followed.returncode, followed.stdout.split()[-1]) == (0, "20"), followed.stderr


def test_a_failed_job_exits_3(sandbox: Cli) -> None:
    """--wait tells a failed job by its exit code and says why."""
    done = sandbox(
        "job", "run", "--name", "fails", "-n", "weather", "--queue", "weather.batch", "--wait", "--", "false"
    )
    assert done.returncode == 3
    assert "ended with exit code 1" in done.stderr


def test_a_running_job_is_cancelled(sandbox: Cli) -> None:
    """cancel stops the process, wherever it runs."""
    sandbox.ok("job", "run", "--name", "long", "-n", "weather", "--queue", "weather.batch", "--", "sleep", "61.25")
    until(sandbox, ("get", "job", "long", "-n", "weather"), "Running")
    sandbox.ok("job", "cancel", "long", "-n", "weather")
    assert sandbox("job", "wait", "long", "-n", "weather", "--timeout", "30s").returncode == 3
    assert "Cancelled" in sandbox.ok("get", "job", "long", "-n", "weather")
    assert wait_until_gone("sleep 61.25") == []


def test_a_policy_set_without_its_repository_says_so(sandbox: Cli) -> None:
    """The reason stands where a person looks for it, and the exit code says that nothing is held."""
    text = (
        "apiVersion: atoll.dev/v1alpha1\nkind: PolicySet\nmetadata: {name: lost}\n"
        "spec: {source: {repository: file:///no/such/repository}}\n"
    )
    sandbox.ok("apply", "-f", "-", stdin=text)
    deadline = time.monotonic() + 30
    while "/no/such/repository" not in (done := sandbox("policy", "status", "lost")).stderr:
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.3)
    assert done.returncode == 3
    sandbox.ok("delete", "policyset", "lost")


@pytest.mark.parametrize("after_seconds", [0.3, 0.6, 1.5, 4.0])
def test_an_interrupted_up_leaves_nothing_behind(tmp_path: Path, after_seconds: float) -> None:
    """Ctrl-C while the sandbox starts ends every process of it."""
    with Cli(tmp_path).running("sandbox", "up") as starting:
        time.sleep(after_seconds)
        starting.send_signal(signal.SIGINT)
        starting.communicate(timeout=40)
    assert wait_until_gone(tmp_path) == []


def test_a_home_is_used_again_and_a_killed_supervisor_leaves_nothing(tmp_path: Path) -> None:
    """kill -9 of the supervisor takes the processes along; the home starts again with its objects, and may grow.

    A cluster that has left meanwhile comes in anew.
    """
    cli = Cli(tmp_path)
    try:
        cli.ok("sandbox", "up", "--clusters", "1")
        queue = "apiVersion: atoll.dev/v1alpha1\nkind: Queue\nmetadata: {name: stays}\nspec: {}\n"
        cli.ok("apply", "-f", "-", stdin=queue)
        assert "runs already\nready: the hub is at https://" in cli("sandbox", "up").stderr
        refused = cli("sandbox", "up", "--clusters", "2")
        assert (refused.returncode, "runs with 1 cluster: 'atoll sandbox down' first" in refused.stderr) == (1, True)
        cli.ok("cluster", "leave", "cloud-eu")  # whose agent then has credentials that are worth nothing
        pid = json.loads(cli.ok("sandbox", "status", "-o", "json"))["pid"]
        subprocess.run(["kill", "-9", str(pid)], check=True)
        assert wait_until_gone(tmp_path) == []
        deadline = time.monotonic() + 15
        while cli("sandbox", "status").returncode != 3:  # a process that is not reaped yet still holds the home
            assert time.monotonic() < deadline, cli("sandbox", "status").stdout
        refused = cli("sandbox", "up", "--clusters", "51")
        assert (refused.returncode, "less than or equal to 50" in refused.stderr) == (2, True)
        cli.ok("sandbox", "up", "--clusters", "2")
        assert "stays" in cli.ok("get", "queues")
        assert len(cli.ok("get", "clusters", "-o", "name").split()) == 2
        cli.ok("sandbox", "down")
        refused = cli("sandbox", "up", "--clusters", "1")
        assert (refused.returncode, "this sandbox has 2, and grows but does not shrink" in refused.stderr) == (1, True)
    finally:
        cli("sandbox", "down")
    assert wait_until_gone(tmp_path) == []
