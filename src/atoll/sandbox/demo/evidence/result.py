"""The result: the events that the job found in the data, against those that are known to be in it."""

import json
from datetime import datetime
from typing import Any

from atoll.cli import kinds
from atoll.federation.resources import Dataset
from atoll.sandbox.demo.evidence.section import Check, Section
from atoll.sandbox.demo.objects import NAMESPACE, PICKS
from atoll.sandbox.demo.recording import KNOWN_EVENTS, KnownEvent
from atoll.sandbox.demo.world import Outcome, World


def examine(world: World, outcome: Outcome) -> Section:
    """Read the output dataset's files from the volume."""
    found = Dataset.model_validate(world.hub.get(kinds.atoll("Dataset").path(NAMESPACE, PICKS)))
    folder = world.files_of(str(outcome.job.status.cluster), PICKS, found.status.version)
    file = folder / "events.json" if folder else None
    events = json.loads(file.read_text())["events"] if file and file.is_file() else []
    known = [event for event in KNOWN_EVENTS if any(_is(event, one) for one in events)]
    look = f"atoll job logs {outcome.job.metadata.name} -n {NAMESPACE}; files in {folder}"
    return Section(
        "Result",
        f"{len(events)} events found of {len(KNOWN_EVENTS)} known; {NAMESPACE}/{PICKS} v{found.status.version}",
        ("EVENT (UTC)", "LASTED", "STATIONS"),
        tuple(_row(event) for event in events),
        (
            Check("the job succeeded", outcome.job.status.phase == "Succeeded", look),
            Check("its output is a complete dataset", found.status.complete, look),
            Check("the output says which run made it", found.status.produced_by == outcome.job.status.run, look),
            Check("exactly the known events were found", len(known) == len(KNOWN_EVENTS) == len(events), look),
        ),
    )


def _is(known: KnownEvent, found: dict[str, Any]) -> bool:
    at = datetime.fromisoformat(found["time"]).replace(tzinfo=None)
    is_then = datetime.fromisoformat(known.after) < at < datetime.fromisoformat(known.before)
    return is_then and len(found["stations"]) == known.stations


def _row(event: dict[str, Any]) -> tuple[str, ...]:
    at = datetime.fromisoformat(event["time"])
    return (
        f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 10_000:02}",
        f"{event['duration_seconds']:.2f} s",
        " ".join(event["stations"]),
    )
