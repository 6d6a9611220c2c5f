"""The datasets and copies of the federation that the dashboard is looked at with."""

from typing import Any

from dashboard.lagoon_labs import Ago, Stated


def datasets(ago: Ago) -> list[Stated]:
    def version(number: int, size: int, *clusters: str, complete: bool = True, **more: Any) -> dict[str, Any]:
        return {
            "version": number,
            "complete": complete,
            "bytes": size,
            "files": 12,
            "clusters": list(clusters),
            "completedAt": ago(hours=number) if complete else None,
            "producedBy": "stream/shots",
            **more,
        }

    def feed(stream: str, intervals: list[tuple[int, int]], gaps: Any = (), shed: Any = (), duplicates: int = 0) -> Any:
        def spans(items: Any) -> list[dict[str, int]]:
            return [{"first": first, "last": last} for first, last in items]

        def count(items: Any) -> int:
            return sum(last - first + 1 for first, last in items)

        return {
            "gateway": "seismometers",
            "stream": stream,
            "outbox": "7c0e11aa",
            "received": count(intervals),
            "intervals": spans(intervals),
            "intervalCount": len(intervals),
            "gaps": count(gaps),
            "gapIntervals": spans(gaps),
            "shed": count(shed),
            "shedIntervals": spans(shed),
            "duplicates": duplicates,
        }

    sources = [
        {
            "gateway": "seismometers",
            "stream": "seismology/shots",
            "source": f"lab/shots/anmo-{index}",
            "file": f"anmo-{index}.jsonl",
            "received": 900_000 // (index + 1),
            "bytes": 90_000_000 // (index + 1),
            "sha256": "ab" * 32,
        }
        for index in range(6)
    ]
    feeds = [
        feed(
            "seismology/shots",
            [(1, 410_000), (410_004, 905_000), (960_000, 1_400_000), (1_450_001, 2_205_000)],
            gaps=[(410_001, 410_003), (1_400_001, 1_400_400)],
            shed=[(1_440_000, 1_450_000)],
            duplicates=118,
        ),
        feed("seismology/drums", [(1, 70_000)]),
    ]
    ledger = {
        "received": 2_170_000,
        "gaps": 403,
        "shed": 10_001,
        "duplicates": 118,
        "late": 12,
        "segments": 40,
        "merkleRoot": "c4" * 32,
        "sources": sources,
        "feeds": feeds,
        "lastAt": ago(seconds=9),
    }
    lacking = {
        "type": "Replicated",
        "status": "False",
        "reason": "Lacking",
        "message": "1 copies are missing",
        "lastTransitionTime": ago(minutes=3),
    }
    damaged = {
        "type": "Healthy",
        "status": "False",
        "reason": "Damaged",
        "message": "archive: file spectra-3.parquet has another hash",
        "lastTransitionTime": ago(hours=1),
    }
    found = [
        (
            "Dataset",
            "shots.2026-11-23",
            "seismology",
            {"home": "onprem", "replicas": {"count": 2}, "residency": ["eu"]},
            {
                "version": 3,
                "complete": True,
                "bytes": 48_000_000_000,
                "files": 40,
                "manifestSha256": "9f" * 32,
                "ledger": ledger,
                "completedAt": ago(minutes=20),
                "producedBy": "stream/shots",
                "conditions": [lacking],
                "versions": [
                    version(3, 48_000_000_000, "onprem", "hpc"),
                    version(2, 41_000_000_000, "onprem", "archive", "hpc", surplus={"hpc": ago(minutes=9)}),
                    version(1, 9_000_000, "onprem", obsoleteSince=ago(hours=1)),
                ],
            },
        ),
        (
            "Dataset",
            "balances.2026-11-23",
            "chemistry",
            {"home": "onprem"},
            {
                "version": 1,
                "bytes": 92_000_000,
                "files": 3,
                "ledger": {"received": 482_113, "lastAt": ago(seconds=2)},
                "versions": [version(1, 92_000_000, "onprem", complete=False)],
            },
        ),
        (
            "Dataset",
            "spectra.run-11",
            "chemistry",
            {"home": "archive"},
            {
                "version": 1,
                "complete": True,
                "bytes": 7_000_000_000,
                "files": 9,
                "ledger": {"received": 7_000},
                "conditions": [damaged],
                "versions": [version(1, 7_000_000_000, "archive")],
            },
        ),
        (
            "Dataset",
            "slides.6",
            "imaging",
            {"home": "lab-a", "replicas": {"count": 3}},
            {
                "version": 1,
                "complete": True,
                "bytes": 610_000_000_000,
                "files": 1900,
                "conditions": [lacking],
                "versions": [version(1, 610_000_000_000, "lab-a", "archive")],
            },
        ),
        (
            "Dataset",
            "picks.2026-11-22",
            "seismology",
            {"home": "cloud", "pinned": True},
            {
                "version": 2,
                "complete": True,
                "bytes": 31_000_000,
                "files": 4,
                "producedBy": "run/picks-1",
                "completedAt": ago(hours=8),
                "versions": [version(2, 31_000_000, "cloud", "onprem", "hpc", "cloud-gpu", "archive")],
            },
        ),
        ("Dataset", "buoys.2026-11", "ocean", {"home": "field"}, {}),
    ]
    for index in range(26):
        namespace = ("chemistry", "seismology", "imaging")[index % 3]
        home = ("onprem", "archive", "lab-b")[index % 3]
        size = 10 ** (6 + index % 5)
        status = {
            "version": 1,
            "complete": True,
            "bytes": size,
            "files": 2,
            "completedAt": ago(days=index + 1),
            "ledger": {"received": 1000 * index},
            "versions": [version(1, size, home)],
        }
        found.append(("Dataset", f"run.{index:03}", namespace, {"home": home}, status))
    for name, dataset, source, to, phase, status in (
        ("slides", "slides.6", "lab-a", "cloud", "Copying", (610e9, 220e9, 118e6)),
        ("shots-a", "shots.2026-11-23", "onprem", "archive", "Copying", (48e9, 41e9, 210e6)),
        ("shots-b", "shots.2026-11-23", "onprem", "lab-b", "Pending", (48e9, 0, 0)),
        ("picks", "picks.2026-11-22", "cloud", "onprem", "Succeeded", (31e6, 31e6, 0)),
        ("old", "spectra.run-11", "archive", "hpc", "Failed", (7e9, 2e9, 0)),
    ):
        namespace = {"slides.6": "imaging", "spectra.run-11": "chemistry"}.get(dataset, "seismology")
        total, copied, rate = status
        message = "spectra-3.parquet: the hash differs from the manifest's" if phase == "Failed" else ""
        ended = {"finishedAt": ago(hours=2)} if phase in ("Succeeded", "Failed") else {}
        found.append(
            (
                "Transfer",
                name,
                namespace,
                {"dataset": dataset, "version": 1, "source": source, "destination": to},
                {
                    "phase": phase,
                    "totalBytes": int(total),
                    "copiedBytes": int(copied),
                    "bytesPerSecond": rate,
                    "message": message,
                    **ended,
                },
            )
        )
    return found
