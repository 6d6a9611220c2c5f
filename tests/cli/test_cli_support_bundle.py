"""A support bundle holds what helps, and none of the secrets that Atoll's users, members and processes have."""

import json
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from clitool import Cli

from atoll.cli.bundling.showing import shown_object
from atoll.cli.bundling.vocabulary import HIDDEN, Vocabulary, program_words

# What a person may put where Atoll has a place for text; none of these words is in Atoll's program text.
PLANTED = {
    "env": "zanzibar-tr0ub4dor",
    "argument": "--api-key=swordfishy99",
    "annotation": "quuxannotated",
    "label": "xylophonelabel",
    "password": "hunterpassw0rd",
    "git": "ghp_plantedGitTokenA1b2C3",
    "expression": "plantedinanoption",
    "event": "c2VjcmV0LWV2ZW50",
    "log": "AKIAPLANTEDLOGKEY",
    "jwt": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJwbGFudGVkIn0.c2ln",
}
OBJECTS = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: bundle}}
---
apiVersion: atoll.dev/v1alpha1
kind: Queue
metadata: {{name: bundle}}
spec: {{maxRunningJobs: 0}}
---
apiVersion: atoll.dev/v1alpha1
kind: Gateway
metadata: {{name: bundle-lab, annotations: {{note: {PLANTED["annotation"]}}}, labels: {{x: {PLANTED["label"]}}}}}
spec: {{broker: "mqtts://lab:{PLANTED["password"]}@broker.example.org:8883"}}
---
apiVersion: atoll.dev/v1alpha1
kind: PolicySet
metadata: {{name: bundle}}
spec:
  source: {{repository: "https://bot:{PLANTED["git"]}@git.example.org/policies.git"}}
---
apiVersion: atoll.dev/v1alpha1
kind: Job
metadata: {{name: bundle-job, namespace: bundle}}
spec:
  queue: bundle
  workload:
    apiVersion: batch/v1
    kind: Job
    spec:
      template:
        spec:
          containers:
            - name: main
              image: registry.example.org/{PLANTED["expression"]}
              args: ["{PLANTED["argument"]}"]
              env: [{{name: PASSWORD, value: "{PLANTED["env"]}"}}]
"""
EVENT = {
    "apiVersion": "v1",
    "kind": "Event",
    "metadata": {"name": "planted", "namespace": "bundle"},
    "involvedObject": {"kind": "Job", "name": "bundle-job", "namespace": "bundle"},
    "type": "Warning",
    "reason": "Planted",
    "message": f"pull failed: {PLANTED['event']} is no password of {PLANTED['jwt']}",
}


@pytest.fixture
def planted(hub: Cli, tmp_path: Path) -> Iterator[list[str]]:
    """Everything secret that a hub and its users have, in all places where it may be."""
    hub.ok("apply", "-f", "-", stdin=OBJECTS)
    (tmp_path / "event.json").write_text(json.dumps(EVENT))
    hub.ok("apply", "-f", str(tmp_path / "event.json"))
    token = hub.ok("token", "issue", "bundler", "--role", "Viewer", "--for", "2h").strip()
    (hub.root / "logs" / "planted.log").write_text(
        f"{datetime.now(UTC).isoformat()} [error] connection lost password={PLANTED['log']} token={token}\n"
        f"Authorization: Bearer {PLANTED['jwt']}\n"
    )
    files = [*(hub.root / "pki").glob("*.key"), *(hub.root / "nats-keys").iterdir()]
    keys = [line for path in files for line in path.read_text().split() if len(line) > 30]
    yield [*PLANTED.values(), token, token.split("_")[2], *keys]
    (hub.root / "logs" / "planted.log").unlink()
    for kind, name in (("job", "bundle-job"), ("gateway", "bundle-lab"), ("policyset", "bundle")):
        hub("delete", kind, name, "-n", "bundle")
    hub("token", "revoke", token.split("_")[1])


def test_no_secret_gets_into_a_bundle_and_what_helps_does(hub: Cli, planted: list[str], tmp_path: Path) -> None:
    file = tmp_path / "fault.tar.gz"
    told = hub.ok("support-bundle", str(file))
    with tarfile.open(file) as tar:
        content = {info.name: tar.extractfile(info).read().decode() for info in tar}  # type: ignore[union-attr]
    everything = "\n".join(content.values())
    assert [secret for secret in planted if secret in everything] == []
    assert file.stat().st_mode & 0o777 == 0o600
    names = {name.removeprefix("atoll-support/") for name in content}
    assert {"about.json", "doctor.json", "events.json", "metrics.txt", "logs/hub.log", "objects/job.json"} <= names
    assert all(name in told for name in names), "what is in it is printed"
    assert "atoll_controller_reconciles_total{controller=" in content["atoll-support/metrics.txt"]
    job = json.loads(content["atoll-support/objects/job.json"])
    assert any(each["metadata"]["name"] == "bundle-job" and each["spec"]["queue"] == "bundle" for each in job)
    assert "the hub serves" in content["atoll-support/logs/hub.log"]
    assert "connection lost password=…" in content["atoll-support/logs/planted.log"]
    assert hub("support-bundle", str(file)).returncode == 1, "a file that is there is left alone"


def test_without_a_hub_a_bundle_has_what_the_machine_tells(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "alone.tar.gz"
    cli.ok("support-bundle", str(file))
    with tarfile.open(file) as tar:
        names = {name.rpartition("/")[2] for name in tar.getnames()}
    assert names == {"about.json", "doctor.json", "missing.json"}


def test_words_pass_that_the_program_or_an_object_has() -> None:
    words = Vocabulary({"onprem-gpu", "picks.1"})
    assert words.filter("cluster onprem-gpu is not heard since 2026-11-23 11:58:56 UTC") == (
        "cluster onprem-gpu is not heard since 2026-11-23 11:58:56 UTC"
    )
    assert words.filter("run picks.1 took 1h3m, 2.5 GiB") == "run picks.1 took 1h3m, 2.5 GiB"
    secrets = ("s3cr3t", "AAAAB3NzaC1yc2E", "12345678901", "deadbeefcafe", "zanzibar", "p-a-s-s-w0rd", "a" * 50)
    for secret in secrets:
        assert words.filter(f"password={secret}") == f"password={HIDDEN}", secret
    assert not {"zanzibar", "swordfishy"} & program_words()


def test_an_object_that_cannot_be_read_is_shown_by_its_name_only() -> None:
    obj = {"metadata": {"name": "x", "annotations": {"a": "b"}}, "spec": {"priority": "zanzibar"}}
    shown = shown_object("Job", obj, Vocabulary())
    assert shown == {"metadata": {"name": "x"}, "note": "not readable by this version"}
