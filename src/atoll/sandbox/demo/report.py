"""The report at the end: what was found, every claim with a tick or a cross, and where to look if one does not hold."""

import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from atoll.cli.hub import export_line
from atoll.local.home import Home
from atoll.sandbox.demo.evidence import Check, Section

# Wide enough that no row of the report wraps; a pipe has no width of its own.
_PIPE_WIDTH = 160


def print_report(sections: Sequence[Section], seconds: Mapping[str, float], *, total_seconds: float) -> None:
    """Print every section, the time taken, and the verdict."""
    console = _console()
    for section in sections:
        _print_section(console, section)
    spent = " · ".join(f"{name} {value:.1f}" for name, value in seconds.items())
    console.print(Text.assemble(("Time       ", "bold"), f"{total_seconds:.1f} s: {spent}"), soft_wrap=True)
    failed = [check for section in sections for check in section.checks if not check.holds]
    count = sum(len(section.checks) for section in sections)
    if failed:
        console.print(f"\n{len(failed)} of {count} checks failed:", style="bold red")
        for check in failed:
            console.print(f"  ✗ {check.claim}\n    look at: {check.look}", soft_wrap=True)
    else:
        console.print(f"\nAll {count} checks passed.", style="bold green")


def print_way_on() -> None:
    """Say what comes after a federation that is gone again."""
    _console().print(
        "\nIt is gone again, with all of its processes. Your own files next: 'A job on your own files' in README.md,\n"
        "with a federation that stays: . .venv/bin/activate && atoll sandbox up",
        soft_wrap=True,
    )


def print_next_steps(home: Home) -> None:
    """Say what to try on a federation that was kept."""
    export = export_line(home)
    variable = f"{export}\n  " if export else ""
    _console().print(
        f"\nThe federation is still running in {home.root}. Try:\n"
        f"  {variable}atoll get clusters -o wide\n"
        "  atoll dataset verify uh-network -n seismology\n"
        "  atoll job explain picks-uh-network-v1 -n seismology\n"
        "  atoll job run --name hello -n seismology --queue seismology.interactive \\\n"
        "    --input uh-network:/data --follow -- ls -l /data\n"
        "  atoll policy status\n"
        "  atoll sandbox down",
        soft_wrap=True,
    )


def _console() -> Console:
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=_PIPE_WIDTH)


def _print_section(console: Console, section: Section) -> None:
    console.print(Text.assemble((f"{section.title:<11}", "bold"), section.summary))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for header in section.headers:
        # On a narrow terminal the last column, which explains, breaks; the others stay whole.
        table.add_column(header, no_wrap=header != section.headers[-1], overflow="fold")
    for row in section.rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(Padding(table, (0, 0, 0, 2), expand=False))
    for note in section.notes:
        console.print(Padding(Text(note), (0, 0, 0, 2), expand=False))
    for check in section.checks:
        console.print(Padding(_claim(check), (0, 0, 0, 2), expand=False))
    console.print()


def _claim(check: Check) -> Text:
    mark = ("✓ ", "green") if check.holds else ("✗ ", "bold red")
    return Text.assemble(mark, check.claim)
