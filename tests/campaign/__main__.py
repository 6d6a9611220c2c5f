"""`python -m campaign`: a whole federation under faults for so many minutes; 0 if every guarantee held, else 1.

With `--planted` one short campaign after the other has a known bug; then 0 says that every one was found.
"""

import argparse
import contextlib
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from campaign.bugs import BUGS
from campaign.planting import campaign_with, is_found
from campaign.report import Report
from campaign.running import Plan, open_campaign
from campaign.whole import Size
from rig.hosts import Centre, enter, why_not

_USUAL_SEEDS, _CALM_SECONDS = 1000, 150.0


def main() -> int:
    chosen = _arguments()
    home = Path(chosen.home or tempfile.mkdtemp(prefix="atoll-campaign-"))
    home.mkdir(parents=True, exist_ok=True)
    lack = why_not()
    with _centre(lack) as centre:
        is_well = _plant(chosen.planted, home, centre) if chosen.planted else _run(chosen, home, centre, lack=lack)
    if is_well and not chosen.home:
        shutil.rmtree(home, ignore_errors=True)
    else:
        print(f"logs, ledgers and everything else are in {home}", file=sys.stderr)
    return 0 if is_well else 1


def _run(chosen: argparse.Namespace, home: Path, centre: Centre | None, *, lack: str) -> bool:
    """Run seeds until the time is over; tell whether nothing was found. `lack` says why there is no centre."""
    size = Size(clusters=chosen.clusters, gateways=chosen.gateways)
    deadline = time.monotonic() + chosen.minutes * 60
    plan = Plan(
        seeds=chosen.seeds,
        storm_seconds=chosen.storm_seconds,
        calm_seconds=_CALM_SECONDS,
        faults_per_second=chosen.faults_per_second,
        deadline=deadline,
    )
    report = Report("campaign", f"{size.text}; {_network(lack)}", machine())
    begun, say = time.monotonic(), _teller()
    try:
        with open_campaign(home, size, plan, report=report, say=say, centre=centre) as campaign:
            campaign.run()
    finally:
        report.seconds = time.monotonic() - begun
        if chosen.report:
            report.write(Path(chosen.report))
    print(f"\n{report.markdown()}")
    return report.is_green


@contextlib.contextmanager
def _centre(lack: str) -> Iterator[Centre | None]:
    """Move this process, which has begun no other yet, into a network namespace of its own, unless that cannot be."""
    if lack:
        yield None
        return
    with Centre.opened() as centre:
        enter(centre.namespace.path)
        yield centre


def _network(lack: str) -> str:
    if lack:
        return f"no network namespaces, so nothing goes wrong below TCP: {lack}"
    return "hubs, agents and gateways in a network namespace each"


def _plant(names: str, home: Path, centre: Centre | None) -> bool:
    """Run a campaign with each of the planted bugs; tell whether all were found. "all" is all that this machine can."""
    missed = []
    every = [name for name, bug in BUGS.items() if centre or not bug.needs_hosts]
    for name in every if names == "all" else names.split(","):
        folder = home / name.replace("_", "-")
        folder.mkdir()
        report = campaign_with(name, folder, machine=machine(), say=_teller(), centre=centre)
        found = is_found(name, report)
        missed += [] if found else [name]
        texts = [failure.text for failure in report.failures if failure.guarantee == BUGS[name].guarantee]
        print(f"{'FOUND' if found else 'MISSED'} {BUGS[name].guarantee} {name}: {texts[0] if texts else 'nothing'}")
    return not missed


def _teller() -> Callable[[str], None]:
    begun, lock = time.monotonic(), threading.Lock()

    def say(line: str) -> None:
        with lock:
            print(f"{time.monotonic() - begun:7.1f}  {line}", flush=True)

    return say


def machine() -> str:
    """Say what this ran on."""
    return f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="campaign", description=__doc__)
    parser.add_argument("--seeds", type=_seeds, default=range(1, _USUAL_SEEDS), help="7, or 3-9; as many as fit")
    parser.add_argument("--minutes", type=float, default=10.0, help="no seed begins that would end later")
    parser.add_argument("--clusters", type=int, default=8)
    parser.add_argument("--gateways", type=int, default=4)
    parser.add_argument("--storm-seconds", type=float, default=60.0, help="of each seed, before the calm")
    parser.add_argument("--faults-per-second", type=float, default=0.6)
    parser.add_argument("--report", help="where to write PATH.json and PATH.md")
    parser.add_argument("--planted", metavar="NAMES", help="all, or names of bugs.py with commas between them")
    parser.add_argument("--home", help="an empty folder for everything; a temporary one if not given")
    return parser.parse_args()


def _seeds(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


if __name__ == "__main__":
    sys.exit(main())
