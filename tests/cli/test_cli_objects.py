"""apply, get, describe, delete: what a person does with objects, against a real hub."""

import json
import signal
import time
from pathlib import Path

import pytest
import yaml
from clitool import Cli, read_until, wait_ready

from atoll.local.home import Home

QUEUE = """
apiVersion: atoll.dev/v1alpha1
kind: Queue
metadata:
  name: {name}
spec:
  weight: {weight}
"""
POLICY_SET = """
apiVersion: atoll.dev/v1alpha1
kind: PolicySet
metadata: {name: unread}
spec: {source: {repository: "file:///no/such/repository"}}
"""
JOB = """
apiVersion: atoll.dev/v1alpha1
kind: Job
metadata: {{name: {name}, namespace: default}}
spec:
  queue: {queue}
  workload:
    spec:
      template:
        spec:
          containers: [{{name: main, image: busybox, command: [sh, -c, "true"]}}]
"""


def test_apply_says_created_unchanged_configured(hub: Cli, tmp_path: Path) -> None:
    """Each result line tells what really happened."""
    file = tmp_path / "queue.yaml"
    file.write_text(QUEUE.format(name="three-words", weight=1))
    assert hub.ok("apply", "-f", str(file)) == "queue.atoll.dev/three-words created\n"
    assert hub.ok("apply", "-f", str(file)) == "queue.atoll.dev/three-words unchanged\n"
    file.write_text(QUEUE.format(name="three-words", weight=2))
    assert hub.ok("apply", "-f", str(file)) == "queue.atoll.dev/three-words configured\n"
    assert json.loads(hub.ok("get", "queue", "three-words", "-o", "json"))["spec"]["weight"] == 2


def test_apply_reads_standard_input_lists_and_folders(hub: Cli, tmp_path: Path) -> None:
    """Files, folders below folders, '-' and `kind: List` all do."""
    (tmp_path / "below").mkdir()
    (tmp_path / "a.yaml").write_text(QUEUE.format(name="folder-a", weight=1))
    (tmp_path / "below" / "b.yaml").write_text(QUEUE.format(name="folder-b", weight=1))
    assert hub.ok("apply", "-f", str(tmp_path)) == "queue.atoll.dev/folder-a created\n"
    deep = hub.ok("apply", "-R", "-f", str(tmp_path)).splitlines()
    assert deep == ["queue.atoll.dev/folder-a unchanged", "queue.atoll.dev/folder-b created"]
    items = [yaml.safe_load(QUEUE.format(name=name, weight=1)) for name in ("list-a", "list-b")]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    assert hub.ok("apply", "-f", "-", stdin=text).count("created") == 2


def test_a_dry_run_changes_nothing(hub: Cli) -> None:
    """--dry-run lets the hub check, and that is all."""
    text = QUEUE.format(name="only-tried", weight=1)
    assert hub.ok("apply", "--dry-run", "-f", "-", stdin=text) == "queue.atoll.dev/only-tried created (dry run)\n"
    assert hub("get", "queue", "only-tried").returncode == 1


def test_get_prints_every_form(hub: Cli) -> None:
    """The same object as table, wide table, JSON, YAML and name."""
    hub.ok("apply", "-f", "-", stdin=QUEUE.format(name="many-forms", weight=7))
    headers, row = hub.ok("get", "queue/many-forms").splitlines()
    assert headers.split()[:2] == ["NAME", "WEIGHT"]
    assert row.split()[:2] == ["many-forms", "7"]
    assert hub.ok("get", "q", "many-forms", "-o", "wide").startswith("NAME")
    assert json.loads(hub.ok("get", "queue", "many-forms", "-o", "json"))["spec"]["weight"] == 7
    assert yaml.safe_load(hub.ok("get", "queue", "many-forms", "-o", "yaml"))["spec"]["weight"] == 7
    assert hub.ok("get", "queue", "many-forms", "-o", "name") == "queue.atoll.dev/many-forms\n"
    assert "queue.atoll.dev/many-forms\n" in hub.ok("get", "queues", "-o", "name")


def test_an_empty_answer_says_so_on_stderr(hub: Cli) -> None:
    """A pipe gets no rows, a person gets a sentence."""
    done = hub("get", "datasets", "-n", "default")
    assert (done.returncode, done.stdout) == (0, "")
    expected = "no datasets found in namespace default: choose another with -n NAMESPACE, or all with -A\n"
    assert done.stderr == expected


@pytest.mark.parametrize(("form", "printed"), [("table", ""), ("name", ""), ("json", '"items": []')])
def test_nothing_in_a_namespace_that_is_not_there_is_told_with_why(hub: Cli, form: str, printed: str) -> None:
    """A mistyped -n is not taken for an empty one, whatever form is asked for."""
    done = hub("get", "jobs", "-n", "nope", "-o", form)
    assert (done.returncode, done.stderr) == (
        0,
        "no jobs found: there is no namespace nope; atoll get namespaces shows those there are\n",
    )
    assert printed in done.stdout


def test_describe_shows_spec_and_status(hub: Cli) -> None:
    """Everything about one object, without the machinery's bookkeeping."""
    hub.ok("apply", "-f", "-", stdin=QUEUE.format(name="described", weight=3))
    text = hub.ok("describe", "queue", "described")
    assert "Name:       described" in text
    assert "  weight: 3" in text
    assert "managedFields" not in text


def test_describe_shows_a_script_as_it_was_written(hub: Cli) -> None:
    """Line by line; and not a second time as kubectl's annotation."""
    hub.ok("apply", "-f", "-", stdin=QUEUE.format(name="scripts", weight=1))
    job = yaml.safe_load(JOB.format(name="scripted", queue="scripts"))
    job["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "by": "ada"}
    job["spec"]["workload"]["spec"]["template"]["spec"]["containers"][0]["command"][2] = "echo one\necho two\n"
    hub.ok("apply", "-f", "-", stdin=json.dumps(job))
    text = hub.ok("describe", "job", "scripted")
    assert "- |\n              echo one\n              echo two\n" in text
    assert "  annotations:\n    by: ada\n" in text
    assert "last-applied" not in text
    shown = yaml.safe_load(hub.ok("get", "job", "scripted", "-o", "yaml"))
    assert (
        shown["spec"]["workload"]["spec"]["template"]["spec"]["containers"][0]["command"][2] == "echo one\necho two\n"
    )
    hub.ok("delete", "job", "scripted")


def test_delete_deletes(hub: Cli) -> None:
    """A deleted object is gone; deleting it again is an error."""
    hub.ok("apply", "-f", "-", stdin=QUEUE.format(name="goes", weight=1))
    assert hub.ok("delete", "queue", "goes", "--dry-run") == "queue.atoll.dev/goes deleted (dry run)\n"
    assert hub.ok("delete", "queue", "goes") == "queue.atoll.dev/goes deleted\n"
    again = hub("delete", "queue", "goes")
    assert again.returncode == 1
    assert 'queues.atoll.dev "goes" not found' in again.stderr


def test_watch_prints_changes_as_they_come(hub: Cli) -> None:
    """`get -w` prints what is there, then each change, until it is interrupted."""
    hub.ok("apply", "-f", "-", stdin=QUEUE.format(name="watched", weight=1))
    with hub.running("get", "queue", "watched", "-w") as watcher:
        assert watcher.stdout is not None
        assert watcher.stdout.readline().startswith("NAME")
        assert watcher.stdout.readline().split()[1] == "1"
        hub.ok("apply", "-f", "-", stdin=QUEUE.format(name="watched", weight=9))
        seen = [watcher.stdout.readline().split()[:2]]
        while seen[-1] == ["watched", "1"]:  # the hub writes the queue's counts meanwhile: a change as well
            seen.append(watcher.stdout.readline().split()[:2])
        assert seen[-1] == ["watched", "9"]


def test_job_run_makes_a_job_that_explains_why_it_waits(hub: Cli) -> None:
    """Without any cluster the job is accepted, waits, says why, and can be cancelled."""
    hub.ok("apply", "-f", "-", stdin=QUEUE.format(name="waiting", weight=1))
    made = hub.ok("job", "run", "--name", "waits", "--queue", "waiting", "--", "echo", "hello")
    assert made == "job.atoll.dev/waits created\n"
    waited = hub("job", "wait", "waits", "--timeout", "1s")
    assert waited.returncode == 3
    assert "job/waits is still Pending after 1 s" in waited.stderr
    assert hub("job", "logs", "waits").returncode == 1
    with hub.running("job", "logs", "waits", "-f") as following:
        read_until(following, "waiting: Pending ")
        assert following.poll() is None
        one = hub("job", "cancel", "waits", "--task", "3")
        assert (one.returncode != 0, "one task of an array cannot be cancelled" in one.stderr) == (True, True)
        assert hub.ok("job", "cancel", "waits") == "job.atoll.dev/waits cancelled\n"
        assert "job/waits has no run: Cancelled" in following.communicate(timeout=20)[1]
    assert hub.ok("job", "explain", "waits").startswith("job/waits was cancelled")
    assert hub("job", "wait", "waits", "--timeout", "20s").returncode == 3
    assert hub.ok("job", "cancel", "waits") == "job.atoll.dev/waits had ended already: Cancelled\n"
    assert json.loads(hub.ok("get", "job", "waits", "-o", "json"))["status"]["phase"] == "Cancelled"


def _await_listed(hub: Cli, name: str, word: str) -> None:
    """Wait until the list of jobs says a word of one."""
    deadline = time.monotonic() + 20
    while not any(name in line and word in line for line in hub.ok("job", "list").splitlines()):
        assert time.monotonic() < deadline, f"job/{name} never was {word}"
        time.sleep(0.1)


def test_a_job_is_held_and_released(hub: Cli) -> None:
    """A held job says so in the list; what has ended, and what was not held, is told as such."""
    hub.ok("apply", "-f", "-", stdin=QUEUE.format(name="held", weight=1))
    hub.ok("job", "run", "--name", "stays", "--queue", "held", "--", "true")
    try:
        assert hub.ok("job", "hold", "stays", "--dry-run") == "job.atoll.dev/stays held (dry run)\n"
        assert hub.ok("job", "release", "stays") == "job.atoll.dev/stays was not held\n"
        assert hub.ok("job", "hold", "stays") == "job.atoll.dev/stays held\n"
        _await_listed(hub, "stays", "Held")
        assert "atoll job release stays -n default" in hub.ok("job", "explain", "stays")
        assert hub.ok("job", "release", "stays") == "job.atoll.dev/stays released\n"
        _await_listed(hub, "stays", "NoFeasibleCluster")
    finally:
        hub.ok("job", "cancel", "stays")
    _await_listed(hub, "stays", "Cancelled")
    assert hub.ok("job", "hold", "stays") == "job.atoll.dev/stays had ended already: Cancelled\n"


def test_many_jobs_are_chosen_by_name_or_by_what_they_are(hub: Cli) -> None:
    """What cannot be done to one is told, and done to the others; many need a yes; the list chooses likewise."""
    hub.ok("apply", "-f", "-", stdin=QUEUE.format(name="many", weight=1))
    for name in ("many-a", "many-b", "many-c"):
        hub.ok("job", "run", "--name", name, "--queue", "many", "--", "true")
    held = hub("job", "hold", "many-a", "nobody", "many-b")
    assert held.stdout == "job.atoll.dev/many-a held\njob.atoll.dev/many-b held\n"
    nobody = 'jobs.atoll.dev "nobody" not found in namespace default: atoll get jobs -A shows those of all namespaces'
    assert (held.returncode, held.stderr) == (1, f"error: {nobody}\n")
    of_queue = ("--queue", "many", "--phase", "active")
    refused = hub("job", "cancel", *of_queue)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "3 jobs match: with --yes" in refused.stderr
    released = hub.ok("job", "release", "--queue", "many", "--yes", "-A").splitlines()
    assert released == [f"job.atoll.dev/{name} -n default released" for name in ("many-a", "many-b")]
    assert len(hub.ok("job", "cancel", *of_queue, "--dry-run").splitlines()) == 3
    assert len(hub.ok("job", "cancel", *of_queue, "--user", "me", "--yes").splitlines()) == 3
    _await_listed(hub, "many-c", "Cancelled")
    assert hub("job", "list", "--queue", "many", "--phase", "Pending").stdout == ""
    assert "many-c" in hub.ok("job", "list", "--queue", "many", "--phase", "ended")
    assert hub("job", "cancel", *of_queue).stderr == "no job to cancel\n"


def test_a_job_without_a_name_gets_one(hub: Cli) -> None:
    """The hub makes it, and the answer tells it."""
    hub.ok("apply", "-f", "-", stdin=QUEUE.format(name="nameless", weight=1))
    made = hub.ok("job", "run", "--queue", "nameless", "--", "true")
    name = made.removeprefix("job.atoll.dev/").removesuffix(" created\n")
    assert name.startswith("run-")
    assert json.loads(hub.ok("get", "job", name, "-o", "json"))["spec"]["queue"] == "nameless"
    hub.ok("delete", "job", name)


def test_an_interrupted_follow_says_that_the_job_goes_on(hub: Cli) -> None:
    """Ctrl-C ends the command, not the job, and the line says how to follow it again."""
    hub.ok("apply", "-f", "-", stdin=QUEUE.format(name="followed", weight=1))
    with hub.running("job", "run", "--name", "goes-on", "--queue", "followed", "--follow", "--", "true") as following:
        read_until(following, "job/goes-on Pending")
        following.send_signal(signal.SIGINT)
        told = following.communicate(timeout=20)[1]
    assert following.returncode == 130
    assert "job/goes-on goes on; atoll job logs goes-on -n default -f" in told
    hub.ok("delete", "job", "goes-on")


def test_managed_fields_are_shown_only_on_request(hub: Cli) -> None:
    """They are noise to a person, and there for who asks."""
    hub.ok("apply", "-f", "-", stdin=QUEUE.format(name="managed", weight=1))
    assert "managedFields" not in hub.ok("get", "queue", "managed", "-o", "yaml")
    assert "managedFields" in hub.ok("get", "queue", "managed", "-o", "yaml", "--show-managed-fields")


def test_a_cluster_is_cordoned_and_uncordoned(hub: Cli) -> None:
    """Cordon sets the field, uncordon takes it back, and a missing cluster is an error."""
    cluster = "apiVersion: atoll.dev/v1alpha1\nkind: Cluster\nmetadata: {name: cordon-me}\nspec: {}\n"
    hub.ok("apply", "-f", "-", stdin=cluster)
    assert hub.ok("cluster", "cordon", "cordon-me") == "cluster/cordon-me cordoned\n"
    assert json.loads(hub.ok("get", "cluster", "cordon-me", "-o", "json"))["spec"]["unschedulable"] is True
    assert hub.ok("cluster", "uncordon", "cordon-me") == "cluster/cordon-me uncordoned\n"
    assert hub("cluster", "cordon", "no-such-cluster").returncode == 1
    hub.ok("delete", "cluster", "cordon-me")  # a cluster that nobody hears is a reason to wait for other tests' jobs


def test_home_finds_a_hub_that_does_not_run_in_the_default_home(cli: Cli, tmp_path: Path) -> None:
    """--home finds it, and so does the variable that `up` prints; a folder where no hub runs is named."""
    elsewhere = tmp_path / "some where"
    with cli.running("up", "--hub-only", "--home", str(elsewhere)) as process:
        read_until(process, f"export ATOLL_HOME='{elsewhere}'")
        wait_ready(Home(elsewhere), process)
        assert cli("get", "queues").returncode == 1
        assert cli("get", "queues", "--home", str(elsewhere)).returncode == 0
        assert cli("job", "list", "--home", str(elsewhere)).returncode == 0
        assert Cli(elsewhere)("policy", "status").returncode == 0
        missing = cli("get", "queues", "--home", str(tmp_path))
        assert missing.stderr.startswith(f"error: no hub runs in {tmp_path}: ")
        assert f"'atoll down' and --home '{elsewhere}'," in cli("up", "--home", str(elsewhere)).stderr
        assert cli("down", "--home", str(elsewhere)).returncode == 0


def test_a_policy_set_whose_source_cannot_be_read_exits_3(hub: Cli) -> None:
    """Even where no cluster is concerned, the condition's reason and message are told on stderr."""
    hub.ok("apply", "-f", "-", stdin=POLICY_SET)
    deadline = time.monotonic() + 20
    while (done := hub("policy", "status", "unread")).returncode != 3:
        assert time.monotonic() < deadline, done.stderr
        time.sleep(0.2)
    assert "policyset/unread: " in done.stderr
    assert "/no/such/repository" in done.stderr
    hub.ok("delete", "policyset", "unread")


@pytest.mark.parametrize(
    "command",
    [
        ("cluster", "list"),
        ("queue", "list"),
        ("job", "list", "-A"),
        ("dataset", "list", "-A"),
        ("gateway", "list"),
        ("stream", "list", "-A"),
        ("policy", "status"),
        ("mesh", "status"),
    ],
    ids=" ".join,
)
def test_every_noun_can_be_listed(hub: Cli, command: tuple[str, ...]) -> None:
    """Each list command answers on a hub that has next to nothing."""
    assert hub(*command).returncode == 0
