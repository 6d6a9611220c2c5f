"""What a person sees while the demo works: a live list of steps on a terminal, plain lines everywhere else.

Everything goes to stderr; the report at the end is the demo's answer and goes to stdout.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text


class Screen(Protocol):
    """Shows steps; `detail` may be called from any thread."""

    def step(self, title: str) -> AbstractContextManager[None]:
        """Show a step as going on while the context is open, and as done or failed after it."""

    def detail(self, title: str, text: str) -> None:
        """Say how far a step is."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


@dataclass
class _Step:
    title: str
    started: float = field(default_factory=time.monotonic)
    detail: str = ""
    seconds: float | None = None
    has_failed: bool = False


class LiveScreen:
    """Steps that change in place."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._steps: list[_Step] = []
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(self, console=self._console, refresh_per_second=10)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._live.stop()

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show a step until its context closes."""
        step = _Step(title)
        self._steps.append(step)
        try:
            yield
        except BaseException:
            step.has_failed = True
            raise
        finally:
            step.seconds = time.monotonic() - step.started

    def detail(self, title: str, text: str) -> None:
        """Say how far a step is."""
        for step in self._steps:
            if step.title == title:
                step.detail = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the steps at this moment."""
        table = Table.grid(padding=(0, 1))
        for _ in range(2):
            table.add_column(no_wrap=True)
        table.add_column(style="dim", no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column(justify="right", no_wrap=True)
        for step in self._steps:
            spent = time.monotonic() - step.started if step.seconds is None else step.seconds
            table.add_row(self._mark(step), step.title, step.detail, f"{spent:.1f} s")
        yield table

    def _mark(self, step: _Step) -> Spinner | Text:
        if step.seconds is None:
            return self._spinner
        return Text("✗", style="bold red") if step.has_failed else Text("✓", style="green")


class PlainScreen:
    """Steps as lines, for pipes and logs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        return None

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Print a line when a step begins and one when it ends."""
        started = time.monotonic()
        self._print(f"{title} ...")
        try:
            yield
        except BaseException:
            self._print(f"{title} failed after {time.monotonic() - started:.1f} s")
            raise
        self._print(f"{title} done in {time.monotonic() - started:.1f} s")

    def detail(self, title: str, text: str) -> None:
        """Leave the details out: a log wants lines that stay true."""

    def _print(self, line: str) -> None:
        with self._lock:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()


def open_screen() -> Screen:
    """Choose by what stderr is."""
    return LiveScreen() if sys.stderr.isatty() else PlainScreen()
