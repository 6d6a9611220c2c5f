"""Instruments of every laboratory, whose runs follow each other; each completes a dataset, which triggers a job.

Owns what the brokers have acknowledged, and where the sinks' files are. Nobody else knows what was published.
"""

import itertools
import json
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from campaign.evidence import RunFiles, SubmittedJob
from campaign.load.jobs import QUEUE, workload
from campaign.whole import Federation, Lab
from exactly_once.lab import Instrument
from hub.support import manifest, path_of

STREAM, INSTRUMENTS = "readings", 5
_PAUSE_SECONDS, _RUN_SECONDS = 0.2, 20.0
_ANALYSIS_SECONDS = 2.0


class Bench:
    """The instruments of one laboratory."""

    def __init__(self, federation: Federation, lab: Lab, home: str, tally: Path) -> None:
        """`home` is the cluster that the laboratory's datasets are written in."""
        self._federation, self._lab, self._home, self._tally = federation, lab, home, tally
        self._instruments = [Instrument(lab.mosquitto.port, number) for number in range(INSTRUMENTS)]
        self._enough = threading.Event()
        self._thread: threading.Thread | None = None
        self.published: dict[str, dict[str, list[bytes]]] = {}
        """By run and topic."""

    @property
    def name(self) -> str:
        return self._lab.name

    def set_up(self) -> None:
        """Make what this laboratory has at the hub, and wait until its gateway has subscribed."""
        spec = {
            "gateway": self.name,
            "topics": [f"{self.name}/+/+/data"],
            "dataset": "run.{topic[1]}",
            "home": self._home,
            "distinct": True,
            "endOfRun": {"topic": f"{self.name}/+/end"},
        }
        job = {
            "queue": QUEUE,
            "inputs": [{"dataset": "{dataset}", "mountPath": "/data"}],
            "preemptible": False,
            "workload": workload(self._tally, f"{self.name}.{{dataset}}", seconds=_ANALYSIS_SECONDS),
        }
        trigger = {"on": {"name": "run.*"}, "job": {"name": "analysis-{dataset}", "spec": job}}
        self._federation.create(
            manifest("Namespace", self.name),
            manifest("Stream", STREAM, spec, self.name),
            manifest("Trigger", "analysis", trigger, self.name),
        )

    def is_subscribed(self) -> bool:
        """From then on the broker keeps everything for the gateway, whatever becomes of it."""
        return bool(self._federation.get(path_of(manifest("Gateway", self.name))).get("status", {}).get("ledger"))

    def start(self, prefix: str) -> None:
        """Let the runs `<prefix>-0`, `<prefix>-1`, … follow each other until told that it is enough."""
        self._enough.clear()
        self._thread = threading.Thread(target=self._run, args=(prefix,), name=f"bench {self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the present run, and return when the broker has all of it."""
        assert self._thread is not None
        self._enough.set()
        self._thread.join(120)

    def close(self) -> None:
        for instrument in self._instruments:
            instrument.close()

    def _run(self, prefix: str) -> None:
        for number in itertools.count():
            self._publish(f"{prefix}-{number}")
            if self._enough.is_set():
                return

    def _publish(self, run: str) -> None:
        sent = self.published.setdefault(run, {})
        end = time.monotonic() + _RUN_SECONDS
        for number in itertools.count():
            for instrument in self._instruments:
                topic = f"{self.name}/{run}/i{instrument.number:02d}/data"
                payload = f"{topic} {number:06d} {'x' * (number * 7 % 50)}\n".encode()
                sent.setdefault(topic, []).append(payload)
                instrument.publish(topic, payload)
            if self._enough.wait(_PAUSE_SECONDS) or time.monotonic() > end:
                break
        for instrument in self._instruments:
            instrument.wait()
        self._instruments[0].publish(f"{self.name}/{run}/end", b"end")
        self._instruments[0].wait()

    def status(self, run: str) -> dict[str, Any]:
        """Give the status of a run's Dataset, as the hub tells it."""
        return dict(self._federation.get(path_of(manifest("Dataset", f"run.{run}", {}, self.name))).get("status", {}))

    def analysis(self, run: str) -> tuple[SubmittedJob, str]:
        """Give the job that a run's dataset has triggered, as its processes name it, and its phase."""
        found = self._federation.get(path_of(manifest("Job", f"analysis-run.{run}-v1", {}, self.name)))
        return SubmittedJob(f"{self.name}.run.{run}", "Wait", 1), str(found.get("status", {}).get("phase", ""))

    def files(self, prefix: str) -> Iterator[RunFiles]:
        """Give what lies on the volume of each run of this prefix."""
        storage = Path(self._federation.cluster(self._home).state.storage_root)
        for run, published in self.published.items():
            if run.startswith(f"{prefix}-"):
                folder = next((path for path in storage.rglob(f"run.{run}/v1") if path.is_dir()), storage / "nowhere")
                contents = {topic: _read(folder / topic.replace("/", ".")) for topic in published}
                ledger = self.status(run).get("ledger", {})
                yield RunFiles(f"{self.name} {run}", published, contents, _ledger(folder), ledger)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _ledger(folder: Path) -> dict[str, Any]:
    path = folder / ".atoll/ledger.json"
    told: Mapping[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
    return dict(told.get("ledger", {}))
