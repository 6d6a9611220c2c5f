"""What a stranger finds on the volume: is every reading that was acknowledged there, once and in order?"""

import hashlib
import json
import time
from pathlib import Path

from exactly_once.lab import INSTRUMENTS, NAMESPACE, Lab, topic_of

_SECONDS = 60.0


def findings(lab: Lab, run: str) -> list[str]:
    """Compare a run's files, its ledger and the hub's Dataset with what was published; empty if all agree."""
    folder = lab.volume.path / "data" / f"run.{run}" / "v1"
    found = []
    hashes, total = {}, 0
    for number in range(INSTRUMENTS):
        topic = topic_of(run, number)
        content = _read(folder / topic.replace("/", "."))
        wanted = lab.published[topic]
        total += len(wanted)
        hashes[topic] = hashlib.sha256(content).hexdigest()
        found += _differences(topic, content.splitlines(keepends=True), wanted)
    ledger = json.loads(_read(folder / ".atoll/ledger.json") or b"{}").get("ledger", {})
    status = lab.get("Dataset", f"run.{run}", NAMESPACE).get("status", {})
    for name, told in (("ledger", ledger), ("Dataset", status.get("ledger", {}))):
        counts = tuple(told.get(key, 0) for key in ("received", "gaps", "duplicates", "shed"))
        if counts != (total, 0, 0, 0):
            found.append(f"the {name} says received, gaps, duplicates, shed {counts}; published were {total}")
        if {row["source"]: row["sha256"] for row in told.get("sources", [])} != hashes:
            found.append(f"the {name}'s checksums are not those of the files")
    return found


def wait_until_complete(lab: Lab, run: str, *, seconds: float = _SECONDS) -> bool:
    """Wait for the run's dataset to be complete at the hub; False if it does not come to that."""
    end = time.monotonic() + seconds
    while not lab.get("Dataset", f"run.{run}", NAMESPACE).get("status", {}).get("complete"):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _differences(topic: str, lines: list[bytes], wanted: list[bytes]) -> list[str]:
    if lines == wanted:
        return []
    missing = len(set(wanted) - set(lines))
    repeated = len(lines) - len(set(lines))
    strange = len(set(lines) - set(wanted))
    told = f"{missing} missing, {repeated} twice, {strange} that nobody sent"
    return [f"{topic}: {told if missing or repeated or strange else 'out of order'}"]
