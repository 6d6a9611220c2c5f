"""Members come and go by the commands: a gateway enrols itself with what was printed, a cluster by its manifests."""

import asyncio
import base64
import json
import shlex
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from clitool import Cli, kubectl

from atoll.installation.plan import AGENT, ENROLMENT_SECRET, NAMESPACE
from atoll.sandbox.controllers import runtime
from atoll.sandbox.controllers.namespaces import NamespaceController
from member.world import Cluster


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster that a person has a kubeconfig of; nothing runs in it."""
    cluster = Cluster(tmp_path)
    await cluster.start()
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}})
    emptied = asyncio.create_task(runtime.run(NamespaceController(cluster.store).controller(), cluster.store))
    yield cluster
    emptied.cancel()
    await asyncio.gather(emptied, return_exceptions=True)
    await cluster.stop()


def manifests(text: str) -> dict[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def token_in(text: str) -> str:
    return base64.b64decode(manifests(text)["Secret"]["data"]["token"]).decode()


def gateway_invitation(hub: Cli, name: str) -> tuple[str, list[str]]:
    """Invite a gateway; give the token and the command line of its program."""
    script = hub.ok("gateway", "enroll", name).replace("\\\n", "")
    return shlex.split(script.splitlines()[0])[1], shlex.split(script.split("\nEND\n")[1])[1:]


@pytest.mark.parametrize("noun", ["cluster", "gateway"])
def test_an_invitation_makes_the_object_and_a_token_of_its_own_each_time(hub: Cli, noun: str) -> None:
    """Asked twice, it makes no second object; sent away, the member is unknown."""
    name = f"twice-{noun}"

    def invite() -> str:
        return token_in(hub.ok("cluster", "join", name)) if noun == "cluster" else gateway_invitation(hub, name)[0]

    first, second = invite(), invite()
    assert first != second
    assert name in hub.ok("get", f"{noun}s", "-o", "name")
    assert hub.ok(noun, "leave", name) == f"{noun}/{name} left\n"
    assert name not in hub.ok("get", f"{noun}s", "-o", "name")
    done = hub(noun, "leave", name)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"there is no {noun} {name}" in done.stderr


def test_a_gateway_enrols_with_what_was_printed_and_is_not_heard_after_it_left(hub: Cli, tmp_path: Path) -> None:
    """The token works once, on the machine of the gateway; after `leave` its program can do nothing more."""
    files, run = hub.ok("gateway", "enroll", "far").replace("\\\n", "").split("atoll gateway run")
    subprocess.run(["sh", "-e"], input=files, cwd=tmp_path, text=True, check=True)
    arguments = [str(tmp_path / word) if word in ("token", "ca.crt", "./far") else word for word in shlex.split(run)]
    more = ("--broker", "mqtt://127.0.0.1:9", "--heartbeat-seconds", "0.5")
    with hub.running("gateway", "run", *arguments, *more):
        deadline = time.monotonic() + 40
        while "far" not in hub.ok("get", "gateways", "-o", "name") or '"lastProvenAt"' not in hub.ok(
            "get", "gateways", "far", "-o", "json"
        ):
            assert time.monotonic() < deadline, hub.ok("get", "gateways", "-o", "yaml")
            time.sleep(0.3)
        assert hub.ok("gateway", "leave", "far") == "gateway/far left\n"
        assert "far" not in hub.ok("get", "gateways", "-o", "name")


def test_a_gateway_that_streams_name_is_not_taken_from_them_but_by_force(hub: Cli, tmp_path: Path) -> None:
    spec = "{gateway: fed, topics: [a/#], dataset: d, home: fed-home}"
    kinds = (("Gateway", "{}"), ("Cluster", "{}"), ("Stream", spec))
    names = {"Gateway": "fed", "Cluster": "fed-home", "Stream": "readings"}
    documents = [
        f"apiVersion: atoll.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {names[kind]}}}\nspec: {text}\n"
        for kind, text in kinds
    ]
    (tmp_path / "fed.yaml").write_text("---\n".join(documents))
    hub.ok("apply", "-f", str(tmp_path / "fed.yaml"))
    for command in (("gateway", "leave", "fed"), ("delete", "gateway", "fed"), ("delete", "gw/fed", "--dry-run")):
        done = hub(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert "stream default/readings has fed as gateway: delete them, or set" in done.stderr
    assert hub.ok("delete", "gateway", "fed", "--force") == "gateway.atoll.dev/fed deleted\n"
    deadline = time.monotonic() + 30
    while "fed" in hub.ok("get", "gateways", "-o", "name").split("/"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    hub.ok("delete", "stream", "readings")
    hub.ok("cluster", "leave", "fed-home")


def test_a_dry_run_makes_nothing_and_issues_no_token(hub: Cli) -> None:
    done = hub("cluster", "join", "maybe", "--dry-run", "--image", "registry.example/atoll:9")
    assert token_in(done.stdout) == "dry-run-issues-no-token"
    assert manifests(done.stdout)["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":9")
    assert "nothing was created" in done.stderr
    assert "maybe" not in hub.ok("get", "clusters", "-o", "name")


def test_a_script_for_a_host_holds_the_unit_and_the_token(hub: Cli) -> None:
    text = hub.ok("cluster", "join", "host-run", "--systemd", "--hub-url", "https://hub.example:8700")
    assert "DynamicUser=yes" in text
    assert "atoll-enrol_" in text
    assert "--hub https://hub.example:8700" in text
    hub.ok("cluster", "leave", "host-run")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--systemd", "--context", "x"), "give one of them"),
        (("--state", "host:relative"), "give claim, empty or host:/FOLDER"),
        (("--state", "empty", "--state-storage-class", "fast"), "--state-storage-class is of a claim"),
        (("--timeout", "soon"), "is no duration"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_options_that_make_no_sense_are_refused_before_anything_is_made(
    hub: Cli, options: tuple[str, ...], problem: str
) -> None:
    done = hub("cluster", "join", "nonsense", *options)
    assert (done.returncode, problem in done.stderr) == (1, True), done.stderr
    assert "nonsense" not in hub.ok("get", "clusters", "-o", "name")


async def test_a_cluster_of_one_s_own_gets_the_agent_and_loses_it_again_without_a_secret_on_the_screen(
    hub: Cli, member: Cluster
) -> None:
    """Twice is harmless, another name is refused, and leaving takes away what was put there and nothing else."""

    async def run(*words: str) -> Any:
        return await asyncio.to_thread(hub, *words, "--kubeconfig", str(member.kubeconfig))

    joined = await run("cluster", "join", "own", "--context", "test", "--no-wait", "--state", "empty")
    assert (joined.returncode, joined.stdout) == (0, "cluster/own installed\n"), joined.stderr
    token = base64.b64decode((await member.objects("Secret", NAMESPACE))[ENROLMENT_SECRET]["data"]["token"]).decode()
    assert token.startswith("atoll-enrol_")
    assert token not in joined.stderr
    again = await run("cluster", "join", "own", "--no-wait", "--state", "empty")
    assert again.returncode == 0, again.stderr
    other = await run("cluster", "join", "another", "--no-wait")
    assert other.returncode == 1
    assert "has an agent of cluster own already" in other.stderr
    assert AGENT in await member.objects("Deployment", NAMESPACE)
    absent = await run("cluster", "leave", "another")
    assert (absent.returncode, absent.stdout) == (1, "")
    left = await run("cluster", "leave", "own")
    assert (left.returncode, left.stdout) == (0, "cluster/own left\n"), left.stderr
    assert AGENT not in await member.objects("ClusterRole")
    assert await member.objects("Role", "kube-system") == {}
    assert {"kube-system"} >= set(await member.objects("Namespace"))
    gone = await run("cluster", "leave", "own")
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "there is no cluster own, and no member of that name" in gone.stderr


async def test_an_agent_that_the_hub_knows_nothing_of_is_removed_by_its_exact_name(hub: Cli, member: Cluster) -> None:
    """Such as after `leave` without --context: nothing is said to have left, and a dry run removes nothing."""
    context = ("--kubeconfig", str(member.kubeconfig))
    await asyncio.to_thread(hub.ok, "cluster", "join", "stray", "--no-wait", "--state", "empty", *context)
    bare = await asyncio.to_thread(hub, "cluster", "leave", "stray")
    commands = [line.strip() for line in bare.stderr.splitlines() if "kubectl" in line]
    assert commands
    assert all(line.startswith("kubectl --context CONTEXT-OF-stray delete ") for line in commands)
    await asyncio.to_thread(hub.ok, "cluster", "leave", "stray", "--dry-run", *context)
    assert AGENT in await member.objects("Deployment", NAMESPACE)
    left = await asyncio.to_thread(hub, "cluster", "leave", "stray", *context)
    assert (left.returncode, left.stdout) == (0, "agent of cluster/stray removed\n"), left.stderr
    assert AGENT not in await member.objects("ClusterRole")


def test_a_name_that_no_cluster_may_have_is_refused_once_and_before_the_hub_is_asked(hub: Cli) -> None:
    done = hub("cluster", "join", "Lab_9", "--dry-run")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("Lab_9") == 1


async def test_a_join_that_is_not_heard_says_what_keeps_the_pod_from_running(hub: Cli, member: Cluster) -> None:
    command = ("cluster", "join", "mute", "--kubeconfig", str(member.kubeconfig), "--timeout", "1s")
    done = await asyncio.to_thread(hub, *command)
    assert done.returncode == 1
    assert "cluster mute was not heard within 1s: its pod does not run: it has no pod" in done.stderr
    await asyncio.to_thread(hub.ok, "cluster", "leave", "mute")


def test_a_hub_is_no_cluster(hub: Cli) -> None:
    done = hub("cluster", "join", "odd", "--kubeconfig", str(hub.kubeconfig), "--context", "nowhere")
    assert done.returncode == 1
    assert "nowhere" in done.stderr


def test_a_cluster_that_streams_have_as_home_is_left_by_force_only_and_they_are_named_also_by_a_dry_run(
    hub: Cli, tmp_path: Path
) -> None:
    spec = {"gateway": "feeder", "topics": ["a/#"], "dataset": "anmo", "home": "homely"}
    kinds = {"apiVersion": "atoll.dev/v1alpha1"}
    stream = {**kinds, "kind": "Stream", "metadata": {"name": "anmo", "namespace": "default"}, "spec": spec}
    file = tmp_path / "objects.yaml"
    gateway = {**kinds, "kind": "Gateway", "metadata": {"name": "feeder"}, "spec": {"site": "lab"}}
    file.write_text(yaml.safe_dump_all([{**kinds, "kind": "Cluster", "metadata": {"name": "homely"}}, gateway, stream]))
    hub.ok("apply", "-f", str(file))
    for words in ((), ("--dry-run",)):
        done = hub("cluster", "leave", "homely", *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert "stream default/anmo has homely as home" in done.stderr
        assert "--force" in done.stderr
    assert "homely" in hub.ok("get", "clusters", "-o", "name")
    tried = hub("cluster", "leave", "homely", "--force", "--dry-run")
    assert (tried.returncode, tried.stdout) == (0, "cluster/homely left (dry run)\n")
    assert "stream default/anmo has homely as home" in tried.stderr
    done = hub("cluster", "leave", "homely", "--force")
    assert (done.returncode, done.stdout) == (0, "cluster/homely left\n")
    assert "stream default/anmo has homely as home" in done.stderr


def test_the_only_copy_of_a_dataset_is_deleted_with_a_cluster_by_force_only(hub: Cli, tmp_path: Path) -> None:
    """Kept, it is named as well."""
    kinds = {"apiVersion": "atoll.dev/v1alpha1"}
    dataset = {**kinds, "kind": "Dataset", "metadata": {"name": "anmo.1", "namespace": "default"}, "spec": {}}
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all([{**kinds, "kind": "Cluster", "metadata": {"name": "lonely"}}, dataset]))
    hub.ok("apply", "-f", str(file))
    status = {"status": {"version": 1, "complete": True, "replicas": [{"cluster": "lonely", "version": 1}]}}
    patch = ("patch", "datasets.atoll.dev", "anmo.1", "--subresource", "status", "--type", "merge", "--patch")
    patched = kubectl(*patch, json.dumps(status), environment=hub.environment)
    assert patched.returncode == 0, patched.stderr
    refused = hub("cluster", "leave", "lonely", "--delete-data", "--dry-run")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "dataset default/anmo.1 has no whole copy but in lonely" in refused.stderr
    for words, end in ((("--delete-data", "--force"), "it is deleted"), ((), "it stays there")):
        tried = hub("cluster", "leave", "lonely", *words, "--dry-run")
        assert (tried.returncode, tried.stdout) == (0, "cluster/lonely left (dry run)\n")
        assert f"dataset default/anmo.1 has no whole copy but in lonely; {end}" in tried.stderr
    hub.ok("cluster", "leave", "lonely")
