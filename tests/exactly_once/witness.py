"""What a stranger finds on the volume: is every reading that was acknowledged there, once and in order?"""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from exactly_once.lab import INSTRUMENTS, STREAM, Lab

_SECONDS = 60.0
_NOTHING_ELSE = ("gaps", "duplicates", "shed")


def findings(lab: Lab, run: str) -> list[str]:
    """Compare a run's files, its ledger and the hub's Dataset with what was published, once the run is complete."""
    found = damage(lab, run)
    contents = {topic: _read(_file(lab, run, topic)) for topic in _topics(lab, run)}
    for topic, content in contents.items():
        found += _differences(topic, content.splitlines(keepends=True), lab.published[topic])
    total = sum(len(lab.published[topic]) for topic in contents)
    hashes = {topic: hashlib.sha256(content).hexdigest() for topic, content in contents.items()}
    for name, told in (("ledger", _ledger(lab.folder(run))), ("Dataset", lab.dataset(run).get("ledger", {}))):
        if told.get("received", 0) != total:
            found.append(f"the {name} says {told.get('received', 0)} received; published were {total}")
        if {row["source"]: row["sha256"] for row in told.get("sources", [])} != hashes:
            found.append(f"the {name}'s checksums are not those of the files")
    return found


def damage(lab: Lab, run: str) -> list[str]:
    """Give what is wrong with a run already, complete or not, and can never be right again; empty while nothing is.

    The bytes of each file that the ledger names must be a beginning of what that instrument has published, at any
    moment: who reads the dataset now reads them. And nothing is ever to be counted as missing, shed or twice.
    """
    try:
        told = _ledger(lab.folder(run))  # before the files: they have more at any time, never less
    except ValueError:
        return ["the ledger is not readable"]
    found = [f"the ledger says {key}: {told[key]}" for key in _NOTHING_ELSE if told.get(key)]
    for row in told.get("sources", []):
        named = _read(_file(lab, run, row["source"]))[: row["bytes"]]
        if len(named) < row["bytes"]:
            found.append(f"{row['source']}: the ledger names {row['bytes']} bytes, the file has {len(named)}")
        wanted = list(lab.published[row["source"]])
        if not b"".join(wanted).startswith(named):
            lines = named.splitlines(keepends=True)
            found += _differences(row["source"], lines, wanted[: len(lines)])
    return found


def promised(lab: Lab) -> int:
    """Give how many readings the hub was told are in files, and the gateway forgot; 0 while the hub is away."""
    return int(lab.site.get("Stream", STREAM, lab.name).get("status", {}).get("committed", 0))


def broken_promise(lab: Lab, promised: int) -> list[str]:
    """Give what is wrong if the files hold less than was promised before."""
    kept = sum(_ledger(folder).get("received", 0) for folder in lab.folder("").parent.parent.glob("run.*/v1"))
    return [f"{promised} readings were in files; {kept} are"] if kept < promised else []


def wait_until_complete(lab: Lab, run: str, *, seconds: float = _SECONDS) -> bool:
    """Wait for the run's dataset to be complete at the hub; False if it does not come to that."""
    end = time.monotonic() + seconds
    while not lab.dataset(run).get("complete"):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def _topics(lab: Lab, run: str) -> list[str]:
    return [lab.topic(run, number) for number in range(INSTRUMENTS)]


def _file(lab: Lab, run: str, topic: str) -> Path:
    return lab.folder(run) / topic.replace("/", ".")


def _ledger(folder: Path) -> dict[str, Any]:
    path = folder / ".atoll/ledger.json"
    return dict(json.loads(path.read_bytes()).get("ledger", {})) if path.exists() else {}


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _differences(topic: str, lines: list[bytes], wanted: list[bytes]) -> list[str]:
    if lines == wanted:
        return []
    missing = len(set(wanted) - set(lines))
    repeated = len(lines) - len(set(lines))
    strange = len(set(lines) - set(wanted))
    told = f"{missing} missing, {repeated} twice, {strange} that were not to be there"
    return [f"{topic}: {told if missing or repeated or strange else 'out of order'}"]
