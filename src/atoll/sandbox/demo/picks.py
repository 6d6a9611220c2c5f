"""The analysis that the demo's job runs: find earthquakes in a folder of miniSEED files by STA/LTA coincidence.

A program of its own (`python -m atoll.sandbox.demo.picks --in /data --out /out`), as a researcher would bring it: it
knows folders and waveforms and nothing of Atoll.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path
from typing import Any

# The network operator's settings for these stations, as obspy's trigger tutorial has them: local events are between
# 10 and 20 Hz, half a second against ten, and an event is what three stations saw.
BAND_HZ = (10.0, 20.0)
STA_SECONDS, LTA_SECONDS = 0.5, 10.0
ON_RATIO, OFF_RATIO = 3.5, 1.0
LEAST_STATIONS = 3


def main() -> int:
    """Read the waveforms, write events.json and picks.csv."""
    options = _options()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stream = _read(options.input)
        events = _find(stream)
    _write(options.output, stream, events)
    for event in events:
        stations = " ".join(event["stations"])
        sys.stdout.write(f"event {event['time']}  {event['duration_seconds']:.2f} s  {stations}\n")
    sys.stdout.write(f"{len(events)} events in {len(stream)} traces\n")
    return 0 if events else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Find earthquakes by STA/LTA coincidence.")
    parser.add_argument("--in", dest="input", type=Path, required=True, help="folder with miniSEED files")
    parser.add_argument("--out", dest="output", type=Path, required=True, help="folder for the results")
    return parser.parse_args()


def _read(folder: Path) -> Any:
    from obspy import Stream, read

    stream = Stream()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts):
            stream += read(str(file), format="MSEED")
    return stream


def _find(stream: Any) -> list[dict[str, Any]]:
    from obspy.signal.trigger import coincidence_trigger

    vertical = stream.select(component="Z").copy()
    vertical.merge()
    vertical.filter("bandpass", freqmin=BAND_HZ[0], freqmax=BAND_HZ[1])
    found = coincidence_trigger(
        "recstalta", ON_RATIO, OFF_RATIO, vertical, LEAST_STATIONS, sta=STA_SECONDS, lta=LTA_SECONDS
    )
    return [_event(item) for item in found]


def _event(found: dict[str, Any]) -> dict[str, Any]:
    return {
        "time": str(found["time"]),
        "duration_seconds": round(float(found["duration"]), 3),
        "stations": sorted(found["stations"]),
    }


def _write(folder: Path, stream: Any, events: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    summary = {"traces": len(stream), "samples": sum(len(trace) for trace in stream), "events": events}
    (folder / "events.json").write_text(json.dumps(summary, indent=2) + "\n")
    rows = [f"{event['time']},{station}" for event in events for station in event["stations"]]
    (folder / "picks.csv").write_text("\n".join(["time,station", *rows]) + "\n")


if __name__ == "__main__":
    sys.exit(main())
