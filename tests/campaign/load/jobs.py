"""Researchers: jobs of every loss policy, single, arrays and gangs, submitted one after the other through any weather.

Owns what was submitted and what the campaign did to it. The work itself is `worker.py`, which writes down when it was.
"""

import itertools
import random
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from atoll.federation.resources import FINISHED_JOB_PHASES
from campaign import worker
from campaign.evidence import Read, Register, SubmittedJob
from campaign.whole import Federation
from hub.support import manifest, path_of

NAMESPACE, QUEUE = "work", "campaign"
_AT_ONCE, _PAUSE_SECONDS = 10, 1.5
_TASKS = 2
FORMS = ("Wait", "Failover", "Wait", "Duplicate", "gang", "array", "Failover")
"""What is submitted in turns; gangs and arrays wait when contact is lost."""


def workload(folder: Path, job: str, *, seconds: float, **spec: Any) -> dict[str, Any]:
    """Give the workload of a job whose processes write into a folder who they are."""
    fields = {"RUN": "metadata.labels['job-name']", "TASK": _INDEX}
    container = {
        "name": "main",
        "image": "campaign",
        "command": [sys.executable, "-I", "-S", worker.__file__, str(folder), job, "$(RUN)", "$(TASK)", f"{seconds:g}"],
        "env": [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()],
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    }
    pod = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 2}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {"backoffLimit": 0, "template": {"spec": pod}, **spec}}


_INDEX = "metadata.annotations['batch.kubernetes.io/job-completion-index']"


class Submitter:
    """Submits jobs in a thread of its own until told that it is enough."""

    def __init__(
        self, federation: Federation, tally: Path, seed: int, *, seconds: tuple[float, float] = (3.0, 25.0)
    ) -> None:
        """The work of each job takes a time between these `seconds`."""
        self._federation, self._tally, self._seed, self._seconds = federation, tally, seed, seconds
        self._chance = random.Random(seed)
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run, name="submitter", daemon=True)
        self.submitted: dict[str, SubmittedJob] = {}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._enough.set()
        self._thread.join(200)

    def hit(self, job: str) -> None:
        """Note that a process of a job was killed."""
        if job in self.submitted:
            self.submitted[job] = replace(self.submitted[job], was_hit=True)

    def _run(self) -> None:
        for number in itertools.count():
            if self._enough.wait(_PAUSE_SECONDS):
                return
            if len(self.unfinished()) < _AT_ONCE:
                self._submit(f"s{self._seed}-{number}", FORMS[number % len(FORMS)])

    def _submit(self, name: str, form: str) -> None:
        loss_policy = form if form in ("Failover", "Duplicate") else "Wait"
        indexed: Mapping[str, Any] = (
            {"parallelism": _TASKS, "completions": _TASKS, "completionMode": "Indexed"} if form == "gang" else {}
        )
        spec: dict[str, Any] = {
            "queue": QUEUE,
            "lossPolicy": loss_policy,
            "preemptible": False,
            "workload": workload(self._tally, name, seconds=self._chance.uniform(*self._seconds), **indexed),
        }
        if form == "array":
            spec["array"] = {"count": _TASKS}
        tasks = _TASKS if form in ("gang", "array") else 1
        self.submitted[name] = SubmittedJob(name, loss_policy, tasks, was_acknowledged=False)
        self._federation.create(manifest("Job", name, spec, NAMESPACE))
        self.submitted[name] = replace(self.submitted[name], was_acknowledged=True)

    def unfinished(self) -> list[str]:
        """Name the jobs of which no hub says that they have ended."""
        phases = self._phases()
        return [name for name in self.submitted if phases.get(name) not in FINISHED_JOB_PHASES]

    def read(self, hub: int) -> list[Read]:
        """Give which of the jobs that were acknowledged one hub has: each once."""
        found = self._phases(hub)
        there = [job.name for job in self.submitted.values() if job.was_acknowledged]
        return [Read(Register(f"job {name}", 1), hub, 1 if name in found else None) for name in there]

    def _phases(self, hub: int | None = None) -> dict[str, str]:
        path = path_of(manifest("Job", "", {}, NAMESPACE)).rstrip("/")
        answer = self._federation.insist(lambda: self._federation.ask("GET", path, hub=hub), 200)
        items = answer.json()["items"]
        return {item["metadata"]["name"]: item.get("status", {}).get("phase", "") for item in items}
