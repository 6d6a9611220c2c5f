"""G3: what the broker has acknowledged is in its file exactly once, whatever is killed, cut, stalled or full.

The runs of a storm's seeds follow each other without a pause, so that one's aftermath meets the next. A few seeds by
default; `ATOLL_SEEDS=1-1000 pytest tests/exactly_once` for as many storms as it takes, each on one server and on three.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from exactly_once.disks import Disk, may_mount
from exactly_once.lab import Lab, has_mosquitto, open_lab, open_site
from exactly_once.storm import wreak
from exactly_once.witness import damage, findings, wait_until_complete
from rig.forgetful_disk import ForgetfulDisk, why_not

pytestmark = [
    pytest.mark.faults,
    pytest.mark.mosquitto,
    pytest.mark.skipif(not has_mosquitto(), reason="needs the mosquitto broker (apt-get install mosquitto)"),
]
_SEEDS = os.environ.get("ATOLL_SEEDS", "")
_IN_A_STORM = 5


def storms(default: str) -> list[range]:
    """Give the seeds of each storm: those that were asked for, or the default ones."""
    first, last = (int(part) for part in (_SEEDS or default).split("-"))
    return [range(begin, min(begin + _IN_A_STORM, last + 1)) for begin in range(first, last + 1, _IN_A_STORM)]


def named(seeds: range) -> str:
    return f"{seeds[0]}-{seeds[-1]}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with open_site(tmp_path_factory.mktemp("site")) as site, open_lab(site, "lab") as opened:
        yield opened


@pytest.fixture(scope="module")
def clustered_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("clustered-site")
    with open_site(home, is_clustered=True) as site, open_lab(site, "lab", receiver="paho") as opened:
        yield opened


@pytest.fixture(scope="module")
def forgetful_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if why := why_not():
        pytest.skip(why)
    home = tmp_path_factory.mktemp("forgetful-site")
    with open_site(home, forgets=True) as site, open_lab(site, "lab", disk=ForgetfulDisk) as opened:
        yield opened


@pytest.mark.parametrize("seeds", storms("1-10"), ids=named)
def test_every_acknowledged_reading_is_in_its_file_once_after_a_storm(lab: Lab, seeds: range) -> None:
    storm(lab, seeds)


@pytest.mark.parametrize("seeds", storms("1-3"), ids=named)
def test_three_servers_that_die_in_turn_keep_it_too(clustered_lab: Lab, seeds: range) -> None:
    storm(clustered_lab, seeds)


@pytest.mark.parametrize("seeds", storms("1-5"), ids=named)
def test_a_power_cut_takes_nothing_of_what_was_acknowledged(forgetful_lab: Lab, seeds: range) -> None:
    """Gateway, sink and NATS lose what they did not sync: all of it, its end, or any sectors of it."""
    storm(forgetful_lab, seeds)


def storm(lab: Lab, seeds: range) -> None:
    """Let the seeds' runs follow each other, then look at the files of all."""
    for seed in seeds:
        done = weather(lab, seed)
        print(f"seed {seed}: {', '.join(done)}")
        assert damage(lab, f"r{seed}") == [], f"seed {seed}"
    for seed in seeds:
        assert wait_until_complete(lab, f"r{seed}"), f"seed {seed} does not end: {lab.logs()}"
        assert findings(lab, f"r{seed}") == [], f"seed {seed}"


@pytest.mark.skipif(not may_mount(), reason="needs root to mount small file systems that can be full")
def test_the_storms_fill_disks_too(lab: Lab) -> None:
    for disk in (lab.gateway_disk, lab.volume):
        assert isinstance(disk, Disk)
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
