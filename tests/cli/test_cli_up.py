"""`atoll up`: a hub with a cluster of this machine on which jobs run at once, found by kubectl and atoll alike."""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from clitool import Cli, kubectl, read_until, wait_until_gone

from atoll.local.home import Home
from atoll.local.hub import context_of

EXAMPLES = Path(__file__).parents[2] / "examples"
MINIKUBE = (
    "current-context: minikube\nclusters: [{name: minikube, cluster: {server: 'https://minikube'}}]\n"
    "contexts: [{name: minikube, context: {cluster: minikube}}]\n"
)


@pytest.fixture
def person(tmp_path: Path) -> Cli:
    """A person who set no variable and works with minikube."""
    (tmp_path / "me").mkdir()
    cli = Cli(tmp_path / "me", names_home=False)
    cli.kubeconfig.write_text(MINIKUBE)
    return cli


@contextlib.contextmanager
def up(cli: Cli, *arguments: str, told: str = "kubectl and atoll now use") -> Iterator[subprocess.Popen[str]]:
    """Run `atoll up` until it has said how to find the hub; end it with Ctrl-C."""
    with cli.running("up", *arguments) as process:
        read_until(process, told)
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=40)


def current(cli: Cli) -> str:
    return str(yaml.safe_load(cli.kubeconfig.read_text())["current-context"])


def ended(cli: Cli, *, seconds: float) -> list[str]:
    """Wait until the second of the example jobs has succeeded, as kubectl sees it; give what it showed."""
    deadline = time.monotonic() + seconds
    while True:
        shown = kubectl("get", "jobs.atoll.dev", "-n", "weather", environment=cli.environment).stdout.splitlines()
        if sum("Succeeded" in line for line in shown) == 2:
            return shown
        assert time.monotonic() < deadline, shown
        time.sleep(0.3)


@pytest.mark.demo
def test_kubectl_applies_the_examples_on_a_fresh_hub_and_the_jobs_run(person: Cli) -> None:
    """Namespace, queue, dataset, trigger and jobs, by kubectl alone; a second time changes nothing."""
    with up(person):
        applied = kubectl("apply", "-k", str(EXAMPLES), environment=person.environment)
        assert applied.returncode == 0, applied.stderr
        assert applied.stdout.count(" created") == 5
        shown = ended(person, seconds=60)
        assert [line.split()[0] for line in shown[1:]] == ["hello", "warmest-readings-v1"]
        again = kubectl("apply", "-k", str(EXAMPLES), environment=person.environment)
        assert again.stdout.count(" unchanged") == 5
        assert person.ok("job", "logs", "warmest-readings-v1", "-n", "weather") == "15:00,20\n"
        assert person.ok("apply", "-f", str(EXAMPLES)).count(" unchanged") == 5
        cluster = json.loads(person.ok("get", "cluster", "local", "-o", "json"))
        assert cluster["status"]["phase"] == "Ready"
        assert "gpus" not in cluster["status"]["inventory"] or not cluster["status"]["inventory"]["gpus"]
    assert wait_until_gone(person.root) == []


def test_up_joins_the_kubeconfig_and_says_the_way_back(person: Cli) -> None:
    """The context is current while and after it runs; commands then say how to start it again."""
    with person.running("up", "--hub-only") as process:
        read_until(process, "kubectl and atoll now use the context atoll (in ")
        read_until(process, "back to minikube: kubectl config use-context minikube")
        assert current(person) == "atoll"
        assert person("get", "queues").returncode == 0
        assert person("down").stderr == "stopped\n"
        assert process.wait(30) == 0
    assert current(person) == "atoll"
    done = person("get", "queues")
    assert "the hub of context atoll does not run: start it with 'atoll up'" in done.stderr
    assert "minikube" in kubectl("config", "get-contexts", "-o", "name", environment=person.environment).stdout
    assert kubectl("config", "use-context", "minikube", environment=person.environment).returncode == 0
    with up(person, "--hub-only", "--no-context", told="kubectl finds it with: --kubeconfig "):
        assert current(person) == "minikube"
        assert person("get", "queues").returncode == 0


def test_a_kubeconfig_that_cannot_be_read_does_not_keep_the_hub_from_running(person: Cli) -> None:
    """It is named and left alone, and the line after it says how kubectl finds the hub all the same."""
    person.kubeconfig.write_text("clusters: {}\n")
    with up(person, "--hub-only", told="your kubeconfig was left alone: "):
        home = Home(person.root / ".atoll")
        done = kubectl("--kubeconfig", str(home.kubeconfig), "get", "queues.atoll.dev", environment=person.environment)
        assert done.returncode == 0, done.stderr
    assert person.kubeconfig.read_text() == "clusters: {}\n"


def test_a_home_keeps_its_address_and_its_ca(person: Cli) -> None:
    """What was told to others, a login elsewhere for instance, holds over restarts, also after kill -9."""
    home = Home(person.root / ".atoll")
    with up(person, "--hub-only") as process:
        before = context_of(home)
        process.kill()
        process.wait()
    assert wait_until_gone(home.root) == []
    with up(person, "--hub-only"):
        after = context_of(home)
    assert (before.server, before.credentials.ca) == (after.server, after.credentials.ca)


def test_a_damaged_ca_is_one_clear_line_and_nothing_runs(person: Cli) -> None:
    """A new CA is a person's decision."""
    home = Home(person.root / ".atoll")
    with up(person, "--hub-only"):
        pass
    (home.root / "pki" / "ca.crt").write_text("damaged")
    done = person("up", "--hub-only")
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "ca.crt is no certificate in PEM form: put the right file back; or remove " in done.stderr
    assert (home.root / "pki" / "ca.crt").read_text() == "damaged"
    assert wait_until_gone(home.root) == []
