"""The proof fails for each bug that it is there to find: else its success would say nothing."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from exactly_once.bugs import BUGS, BUGS_OF_SYNCS
from exactly_once.cable import Link
from exactly_once.lab import Lab, Site, has_mosquitto, open_lab, open_site
from exactly_once.witness import broken_promise, damage, promised
from rig.forgetful_disk import ForgetfulDisk, why_not

pytestmark = [
    pytest.mark.faults,
    pytest.mark.mosquitto,
    pytest.mark.skipif(not has_mosquitto(), reason="needs the mosquitto broker (apt-get install mosquitto)"),
]
_KILLS, _PATIENCE_SECONDS = 12, 30.0
# After this long the next kill is more likely to bring the bug out than more waiting.
_AFTERMATH_SECONDS, _LOOK_SECONDS = 1.5, 0.05
# More than a process is sent before it works; and less than the bugs tarry.
_WORK_BYTES, _IN_HAND_SECONDS = 20_000, 0.1


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("site")) as opened:
        yield opened


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_the_proof_fails_with_a_planted_bug(site: Site, bug: Callable[[], None]) -> None:
    """And by what the bug does: a dataset that is late, or never complete, proves nothing."""
    with open_lab(site, bug.__name__.replace("_", "-"), planted=bug.__name__) as lab:
        found = suffer(lab, "r0", BUGS[bug].victim)
    assert any(re.search(BUGS[bug].witness, line) for line in found), found or "nothing was found"


@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize("bug", BUGS_OF_SYNCS, ids=lambda bug: bug.__name__)
def test_the_proof_fails_after_a_power_cut_if_something_was_not_synced(site: Site, bug: Callable[[], None]) -> None:
    symptom = BUGS_OF_SYNCS[bug]
    with open_lab(site, bug.__name__.replace("_", "-"), planted=bug.__name__, disk=ForgetfulDisk) as lab:
        found = suffer(lab, "r0", symptom.victim)
    assert any(re.search(symptom.witness, line) for line in found), found or "nothing was found"


def suffer(lab: Lab, run: str, victim: str) -> list[str]:
    """Let the instruments publish while one process is killed again and again; give what is found, once it is.

    On a disk that forgets, the power goes with the process.
    """
    process, cable = (lab.gateway, lab.to_broker) if victim == "gateway" else (lab.sink, lab.sink_link)
    enough = threading.Event()
    found: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(lab.publish_run, run, readings=1000, pause_seconds=0.1, enough=enough)
        for _ in range(_KILLS):
            if isinstance(lab.volume, ForgetfulDisk):
                found = cut_gateways_power(lab) if victim == "gateway" else cut_sinks_power(lab, run)
            else:
                _wait_for_work(cable)
                process.end()
            process.start()
            if found := found or _look(lab, run):
                break
        enough.set()
        publishing.result()
    return found


def cut_gateways_power(lab: Lab) -> list[str]:
    """Cut a gateway off first, so that nobody else has what it has taken in; give what is wrong already."""
    assert isinstance(lab.gateway_disk, ForgetfulDisk)
    lab.uplink.cut()
    _wait_for_work(lab.to_broker)
    lab.gateway.end()
    lab.gateway_disk.cut("everything", 1)
    lab.uplink.mend()
    return []


def cut_sinks_power(lab: Lab, run: str) -> list[str]:
    """Cut a sink's power once it has said that something is in files; give what is wrong already."""
    assert isinstance(lab.volume, ForgetfulDisk)
    end = time.monotonic() + _PATIENCE_SECONDS
    while not (told := promised(lab)) and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
    lab.sink.end()
    lab.volume.cut("everything", 1)
    return damage(lab, run) or broken_promise(lab, told)


def _look(lab: Lab, run: str) -> list[str]:
    """Look at the files until something is wrong or, after a while, nothing is."""
    end = time.monotonic() + _AFTERMATH_SECONDS
    while not (found := damage(lab, run)) and time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
    return found


def _wait_for_work(cable: Link) -> None:
    """Wait until a process has been given something since it was started, and has it in hand."""
    before, end = cable.carried, time.monotonic() + _PATIENCE_SECONDS
    while cable.carried < before + _WORK_BYTES and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(_IN_HAND_SECONDS)
