"""Signs of life for what takes longer than a moment: on a terminal only, on stderr, and gone when it is done."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from atoll.cli.visible import visible_line

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

Advance = Callable[[int], None]


@contextmanager
def byte_bar(what: str, total: int | None = None) -> Iterator[Advance]:
    """Show how many bytes are through; give the function that is told of more. A pipe gets nothing."""
    if not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich.progress import BarColumn, DownloadColumn, SpinnerColumn, TextColumn, TransferSpeedColumn

    moving = BarColumn() if total is not None else SpinnerColumn()
    with _shown(
        TextColumn("{task.description}", markup=False), moving, DownloadColumn(), TransferSpeedColumn()
    ) as bars:
        task = bars.add_task(visible_line(what), total=total)
        yield lambda count: bars.update(task, advance=count)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show what is waited for, and for how long already. A pipe gets nothing."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    with _shown(SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()) as bars:
        bars.add_task(visible_line(what), total=None)
        yield


def _shown(*columns: "ProgressColumn") -> "AbstractContextManager[Progress]":
    """Make the display. Lines that are printed meanwhile go above it; data that go to a pipe stay there."""
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty())
