"""Feeds the parsers for minutes, guided by coverage: `make fuzz MINUTES=5 ONLY="envelope sbatch"`.

Needs atheris (`pip install atheris`), which has wheels for Linux only and is no dependency of the tests. Each parser
has a process of its own, for libFuzzer ends it. An input that does harm is left in build/fuzz/<parser>; once it is
mended, it goes into corpus/<parser>.
"""

import argparse
import importlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from security.fuzzing import Harness

FOUND = Path(__file__).parents[2] / "build" / "fuzz"
_LONGEST_INPUT, _MEMORY_MB, _TIMES_AS_LONG = 4096, 3072, 5


def main() -> int:
    """Feed the parsers that are named, or all, one after the other; give 1 if one of them failed."""
    arguments = argparse.ArgumentParser(prog="fuzz")
    arguments.add_argument("parsers", nargs="*")
    arguments.add_argument("--minutes", type=float, default=1.0, help="for all of them together")
    arguments.add_argument("--inside", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.inside:
        _feed(given.inside, given.parsers[0], given.minutes)
    from security.parsers import HARNESSES

    unknown = sorted(set(given.parsers) - set(HARNESSES))
    if unknown:
        arguments.error(f"there is no parser {', '.join(unknown)}; there are {', '.join(HARNESSES)}")
    chosen = given.parsers or list(HARNESSES)
    failed = [name for name in chosen if not _has_held(name, given.minutes / len(chosen))]
    print(f"failed: {', '.join(failed)}" if failed else "all held")
    return 1 if failed else 0


def _has_held(name: str, minutes: float) -> bool:
    """Feed one parser in a process of its own; tell in a line what came of it."""
    from security.parsers import ROOMS

    command = [sys.executable, "-m", "security.fuzz", "--inside", ROOMS[name], name, "--minutes", str(minutes)]
    started = time.monotonic()
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    counted = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    inputs = counted[1] if counted else "?"
    outcome = "FAILED" if done.returncode else "held"
    print(f"{name:20} {time.monotonic() - started:6.0f} s  {inputs:>9} inputs  {outcome}", flush=True)
    if done.returncode:
        print(done.stderr[-3000:])
    return not done.returncode


def _feed(room: str, name: str, minutes: float) -> None:
    """Feed one parser of a module until the time is over; never returns."""
    import atheris

    with atheris.instrument_imports(include=["atoll"]):
        harnesses: tuple[Harness, ...] = importlib.import_module(room).HARNESSES
    harness = next(one for one in harnesses if one.name == name)
    for data in (*harness.corpus(), *harness.stretched(_TIMES_AS_LONG)):
        harness.run(data)
    found = FOUND / name
    found.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="atoll-fuzz-") as folder:
        for number, seed in enumerate((*harness.seeds, *harness.corpus())):
            (Path(folder) / str(number)).write_bytes(seed)
        options = [
            f"-max_total_time={max(1, round(60 * minutes))}", f"-max_len={_LONGEST_INPUT}",
            f"-rss_limit_mb={_MEMORY_MB}",
            f"-artifact_prefix={found}/", "-print_final_stats=1", "-verbosity=0", "-timeout=60", folder,
        ]  # fmt: skip
        atheris.Setup([name, *options], _feeding(harness))
        atheris.Fuzz()


def _feeding(harness: "Harness") -> Callable[[bytes], None]:
    """Give the harness as atheris calls it: what is returned would mean something to libFuzzer."""

    def feed(data: bytes) -> None:
        harness.run(data)

    return feed


if __name__ == "__main__":
    sys.exit(main())
