"""G3: what the broker has acknowledged is in its file exactly once, whatever is killed, cut, stalled or full.

Forty seeds, five to a storm: their runs follow each other without a pause, so that one's aftermath meets the next.
More on demand: `ATOLL_SEEDS=1-1000 pytest tests/exactly_once`.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from exactly_once.lab import Lab, has_mosquitto, may_mount, open_lab
from exactly_once.storm import wreak
from exactly_once.witness import findings, wait_until_complete

pytestmark = [
    pytest.mark.faults,
    pytest.mark.mosquitto,
    pytest.mark.skipif(not has_mosquitto(), reason="needs the mosquitto broker (apt-get install mosquitto)"),
]
_FIRST, _LAST = (int(part) for part in os.environ.get("ATOLL_SEEDS", "1-40").split("-"))
_IN_A_STORM, _CLUSTERED_STORMS = 5, 1
STORMS = [range(first, min(first + _IN_A_STORM, _LAST + 1)) for first in range(_FIRST, _LAST + 1, _IN_A_STORM)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with open_lab(tmp_path_factory.mktemp("lab")) as opened:
        yield opened


@pytest.fixture(scope="module")
def clustered_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with open_lab(tmp_path_factory.mktemp("clustered-lab"), is_clustered=True, receiver="paho") as opened:
        yield opened


@pytest.mark.parametrize("seeds", STORMS, ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_every_acknowledged_reading_is_in_its_file_once_after_a_storm(lab: Lab, seeds: range) -> None:
    storm(lab, seeds)


@pytest.mark.parametrize("seeds", STORMS[:_CLUSTERED_STORMS], ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_three_servers_that_die_in_turn_keep_it_too(clustered_lab: Lab, seeds: range) -> None:
    storm(clustered_lab, seeds)


def storm(lab: Lab, seeds: range) -> None:
    """Let the seeds' runs follow each other, then look at the files of all."""
    for seed in seeds:
        done = weather(lab, seed)
        print(f"seed {seed}: {', '.join(done)}")
    for seed in seeds:
        assert wait_until_complete(lab, f"r{seed}"), f"seed {seed} does not end: {lab.logs()}"
        assert findings(lab, f"r{seed}") == [], f"seed {seed}"


@pytest.mark.skipif(not may_mount(), reason="needs root to mount small file systems that can be full")
def test_the_storms_fill_disks_too(lab: Lab) -> None:
    for disk in (lab.gateway_disk, lab.volume):
        disk.fill()
        with pytest.raises(OSError, match="No space left"):
            (disk.path / "more").write_bytes(bytes(4096))
        disk.free()


def weather(lab: Lab, seed: int) -> list[str]:
    """Let the instruments publish one run while the seed's faults happen; return when both are over."""
    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(lab.publish_run, f"r{seed}", readings=15, pause_seconds=0.06)
        done = wreak(lab, seed)
        publishing.result()
    lab.end_run(f"r{seed}")
    return done
