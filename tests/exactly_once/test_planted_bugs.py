"""The proof fails for each bug that it is there to find: else its success would say nothing."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from exactly_once.bugs import BUGS
from exactly_once.cable import Link
from exactly_once.lab import Lab, has_mosquitto, open_lab
from exactly_once.witness import findings, wait_until_complete

pytestmark = [
    pytest.mark.faults,
    pytest.mark.mosquitto,
    pytest.mark.skipif(not has_mosquitto(), reason="needs the mosquitto broker (apt-get install mosquitto)"),
]
_TRIES, _KILLS, _PATIENCE_SECONDS = 8, 4, 20.0
# More than a process is sent before it works; and less than the bugs tarry.
_WORK_BYTES, _IN_HAND_SECONDS = 20_000, 0.1


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_the_proof_fails_with_a_planted_bug(bug: Callable[[], None], tmp_path: Path) -> None:
    with open_lab(tmp_path, planted=bug.__name__) as lab:
        for number in range(_TRIES):
            found = suffer(lab, f"r{number}", BUGS[bug])
            if found:
                print(found)
                return
    pytest.fail(f"{_TRIES} runs with {_KILLS} kills of the {BUGS[bug]} each found nothing")


def suffer(lab: Lab, run: str, victim: str) -> list[str]:
    """Let the instruments publish while one process is killed again and again; give what the witness finds."""
    process, cable = (lab.gateway, lab.to_broker) if victim == "gateway" else (lab.sink, lab.sink_link)
    enough = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(lab.publish_run, run, readings=1000, pause_seconds=0.1, enough=enough)
        for _ in range(_KILLS):
            _wait_for_work(cable)
            process.end()
            process.start()
        enough.set()
        publishing.result()
    lab.end_run(run)
    if not wait_until_complete(lab, run, seconds=_PATIENCE_SECONDS):
        return [f"{run} is never complete"]
    return findings(lab, run)


def _wait_for_work(cable: Link) -> None:
    """Wait until a process has been given something since it was started, and has it in hand."""
    before, end = cable.carried, time.monotonic() + _PATIENCE_SECONDS
    while cable.carried < before + _WORK_BYTES and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(_IN_HAND_SECONDS)
