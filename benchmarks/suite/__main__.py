"""All benchmarks by one command, and two commits side by side.

    python -m benchmarks.suite [ROOM | ROOM/MEASURE ...] [--size small|full] [--rounds 3] [-o json|markdown]
    python -m benchmarks.suite --against COMMIT [--with COMMIT] [ROOM ...]

Each measure runs in a process of its own: once small, which does not count, then round after round; told are medians,
the lowest and the highest, and the aim where the project has one. A goal that is missed is no error, nor is a measure
for which this machine lacks something, such as a broker; one that fails is (exit code 1). Comparing checks both commits
out beside each other and lets them take turns. --with is what is checked out here, with changes that are not committed,
unless it is given.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.suite import telling
from benchmarks.suite.catalogue import MEASURES, Measure, chosen
from benchmarks.suite.running import Failed, LeftOut, rounds, told
from rich.console import Console

ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str]) -> int:
    """Parse, measure, print; give the exit code."""
    options = _parser().parse_args(arguments)
    try:
        measures = chosen(options.measures)
    except KeyError as error:
        names = ", ".join(f"{each.room}/{each.name}" for each in MEASURES)
        print(f"there is no measure {error.args[0]}: there are {names}", file=sys.stderr)
        return 2
    return _compare(measures, options) if options.against else _run(measures, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmarks.suite", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("measures", nargs="*", metavar="ROOM[/MEASURE]", help="all, if none is named")
    parser.add_argument("--size", choices=("small", "full"), default="full", help="small: seconds each; no aims count")
    parser.add_argument("--rounds", type=_rounds, default=3, help="medians of so many are told (default: 3)")
    parser.add_argument("--against", metavar="COMMIT", help="compare with this commit")
    parser.add_argument("--with", dest="other", metavar="COMMIT", help="compare this one; default: the working tree")
    parser.add_argument("-o", "--output", choices=("text", "json", "markdown"), default="text")
    return parser


def _rounds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError("between 1 and 100")
    return int(text)


def _run(measures: Sequence[Measure], options: argparse.Namespace) -> int:
    machine, results = telling.machine(ROOT), []
    for each in measures:
        print(f"{each.room}/{each.name} ...", file=sys.stderr)
        results.append(_measured(each, options))
    settings = {"size": options.size, "rounds": options.rounds}
    match options.output:
        case "json":
            print(json.dumps({"machine": machine, **settings, "measures": results}))
        case "markdown":
            print(f"{telling.conditions(machine | settings)}\n\n{telling.markdown(results)}")
        case _:
            console = Console(width=None if sys.stdout.isatty() else 140)
            telling.table(console, results)
            console.print(telling.conditions(machine | settings), style="dim", soft_wrap=True)
    return 1 if any("failed" in each for each in results) else 0


def _measured(measure: Measure, options: argparse.Namespace) -> dict[str, Any]:
    try:
        (results,), seconds = rounds(measure, options.size, [ROOT], options.rounds)
    except Failed as error:
        return {"measure": f"{measure.room}/{measure.name}", "failed": str(error)}
    except LeftOut as error:
        return {"measure": f"{measure.room}/{measure.name}", "left_out": str(error)}
    return telling.as_values(measure, told(measure, results), seconds, with_aims=options.size == "full")


def _compare(measures: Sequence[Measure], options: argparse.Namespace) -> int:
    pairs, failed = [], False
    with contextlib.ExitStack() as stack:
        trees = [stack.enter_context(_checkout(each)) for each in (options.against, options.other)]
        for each in measures:
            name = f"{each.room}/{each.name}"
            print(f"{name} ...", file=sys.stderr)
            try:
                (before, after), _ = rounds(each, options.size, trees, options.rounds)
            except (Failed, LeftOut) as error:
                failed |= isinstance(error, Failed)
                print(f"{name} {'failed' if isinstance(error, Failed) else 'is left out'}: {error}", file=sys.stderr)
                continue
            pairs.append((name, told(each, before), told(each, after)))
    console = Console(width=None if sys.stdout.isatty() else 140)
    telling.compared(console, pairs, (options.against, options.other or "working tree"))
    return 1 if failed else 0


@contextlib.contextmanager
def _checkout(commit: str | None) -> Iterator[Path]:
    """Check a commit out beside this tree for a while; None is this tree."""
    if commit is None:
        yield ROOT
        return
    with tempfile.TemporaryDirectory(prefix="atoll-bench-") as folder:
        tree = Path(folder) / "tree"
        made = subprocess.run(
            ["git", "worktree", "add", "--detach", str(tree), commit],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if made.returncode:
            sys.exit(f"cannot check out {commit}: {made.stderr.strip()}")
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
