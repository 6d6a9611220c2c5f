"""Labs, datasets, copies and policy sets of the federation that never was, as a hub would have stored them.

Owns their making, with ledgers and proofs as long as real ones. `synthetic` makes the rest.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from benchmarks.dashboard.synthetic import TEAMS, iso, obj

_RUNGS = ("applied", "valid", "realized", "resolved")


@dataclass(frozen=True)
class Counts:
    """How many of each."""

    gateways: int = 300
    datasets: int = 10_000
    transfers: int = 1_000
    policysets: int = 10


def gateways(count: int, chooser: random.Random, now: datetime, home: str) -> Iterator[dict[str, Any]]:
    """Make gateways with two Streams each; a few are behind, a few are not heard."""
    for number in range(count):
        name, phase = f"lab-{number:03d}", chooser.choices(("Ready", "Degraded", "Unreachable"), (94, 3, 3))[0]
        rows = []
        for stream in ("counts", "frames"):
            team, received = TEAMS[number % len(TEAMS)], chooser.randrange(10_000_000)
            spec = {"gateway": name, "topics": [f"{name}/{stream}/#"], "dataset": "d.{date}", "home": home}
            yield obj("Stream", f"{name}-{stream}", spec, {"received": received}, namespace=team)
            rate = round(chooser.expovariate(1 / 200), 1)
            rows.append({"stream": f"{team}/{name}-{stream}", "received": received, "committed": received,
                         "readingsPerSecond": rate, "forwardedPerSecond": rate})  # fmt: skip
        status = {"phase": phase, "ledger": rows, "lastProvenAt": iso(now), "brokerConnected": phase == "Ready"}
        status |= {"readingsPerSecond": sum(row["readingsPerSecond"] for row in rows), "outboxReadings": 40}
        yield obj("Gateway", name, {"site": f"site-{number % 40}"}, status)


def datasets(count: int, chooser: random.Random, now: datetime, places: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Make datasets of three versions each, the ledger of every tenth with instruments and a gap."""
    for number in range(count):
        holders, made = chooser.sample(places, 2), now - timedelta(minutes=number)
        versions = [
            {"version": version, "complete": True, "bytes": 10 ** chooser.randint(6, 11), "files": 12,
             "clusters": holders[: 1 + version % 2], "completedAt": iso(made), "producedBy": "stream/counts"}
            for version in (3, 2, 1)
        ]  # fmt: skip
        ledger: dict[str, Any] = {"received": 400_000}
        if number % 10 == 0:
            ledger |= {"gaps": int(number % 100 == 0), "sources": [_source(each) for each in range(8)]}
        newest = versions[0]
        status = {"version": 3, "complete": True, "bytes": newest["bytes"], "files": 12, "ledger": ledger,
                  "completedAt": iso(made), "versions": versions, "manifestSha256": "9f" * 32}  # fmt: skip
        yield obj("Dataset", f"d.{number:05d}", {"home": holders[0]}, status, namespace=TEAMS[number % len(TEAMS)])


def _source(number: int) -> dict[str, Any]:
    return {"gateway": "lab-000", "stream": "optics/lab-000-counts", "source": f"lab-000/counts/{number}",
            "file": f"{number}.jsonl", "received": 50_000, "bytes": 5_000_000, "sha256": "ab" * 32}  # fmt: skip


def transfers(count: int, chooser: random.Random, places: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Make copies, a fifth of them under way."""
    for number in range(count):
        source, destination = chooser.sample(places, 2)
        phase = chooser.choices(("Copying", "Pending", "Failed", "Succeeded"), (20, 10, 2, 68))[0]
        spec = {"dataset": f"d.{number:05d}", "version": 3, "source": source, "destination": destination}
        copied = chooser.randrange(10**9) if phase == "Copying" else 0
        status = {"phase": phase, "totalBytes": 10**9, "copiedBytes": copied, "bytesPerSecond": 1e8}
        yield obj("Transfer", f"t-{number:05d}", spec, status, namespace=TEAMS[number % len(TEAMS)])


def policysets(count: int, chooser: random.Random, now: datetime, places: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Make policy sets that mean every cluster, with the proof of each."""
    commit, times = "9b" * 20, dict.fromkeys(_RUNGS, iso(now))
    for number in range(count):
        rows = [
            {"cluster": place, "phase": chooser.choices(("Applied", "Unreachable", "Drifted"), (95, 3, 2))[0],
             "commit": commit, "objects": 12,
             "proof": {"rung": "Resolved", "nodes": 8, "realizedNodes": 8, "provenAt": times}}
            for place in places
        ]  # fmt: skip
        spec = {"source": {"repository": "https://git.example/policies", "path": f"set-{number}"}}
        yield obj("PolicySet", f"set-{number}", spec, {"commit": commit, "manifests": 12, "clusters": rows})


def labs(counts: Counts, places: Sequence[str], now: datetime, *, seed: int = 11) -> Iterator[dict[str, Any]]:
    """Make all of it."""
    chooser = random.Random(seed)
    yield from gateways(counts.gateways, chooser, now, places[0])
    yield from datasets(counts.datasets, chooser, now, places)
    yield from transfers(counts.transfers, chooser, places)
    yield from policysets(counts.policysets, chooser, now, places)
