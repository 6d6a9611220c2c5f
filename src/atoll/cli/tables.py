"""Tables: how columns are laid out. A pipe gets plain columns, a terminal colours and lines that fit.

Nothing is ever cut off: what does not fit beside the row goes below it. Asks nobody, decides nothing about content.
"""

import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from atoll.cli.visible import visible_line

_GOOD = frozenset({"Ready", "Succeeded", "Applied", "Complete", "True", "connected", "Served", "ok"})
_WORKING = frozenset(
    {
        "Pending",
        "Placed",
        "Running",
        "Staging",
        "Starting",
        "Committing",
        "Copying",
        "Drifted",
        "Asleep",
        "Cordoned",
        "Draining",
        "Leaving",
    }
    | {"Connected", "sync", "FailedOver", "Partial", "warning"}
)
_BAD = frozenset(
    {"Failed", "Unreachable", "Unenforceable", "Degraded", "Cancelled", "unreachable"}
    | {"Down", "down", "Asymmetric", "Stale", "stale", "problem"}
)
# Columns that explain. They come last; where the terminal is too narrow they are written below their row.
_EXPLAINING = frozenset({"MESSAGE", "REASON", "KUBECONFIG", "WHY", "WHAT", "CONNECTIONS", ""})
_WIDE_GAP, _NARROW_GAP, _LEAST_GAP, _INDENT = 3, 2, 1, "    "
_LIST = re.compile(r"^[^\s,]+(,[^\s,]+)+$")


@dataclass(frozen=True)
class Layout:
    """How the rows of a table are written: column widths, the gap, and what is given its own lines."""

    widths: tuple[int, ...]
    gap: int
    stacks_lists: bool = False
    explains_below: int | None = None
    explanation_width: int = 0

    def lines(self, row: Sequence[str]) -> Iterator[list[str]]:
        """Give the lines of a row, each as its padded cells; only the last cell of a line is not padded.

        An explanation that has room stays in the row; a dash only where the header of its column has room, too.
        """
        needed = self.explanation_width if row[-1] in ("", "-") else len(row[-1])
        is_beside = self.explains_below is not None and _total(self) + self.gap + needed <= self.explains_below
        cells = row if self.explains_below is None else row[:-1]
        stacks = [_stack(cell) if self.stacks_lists else [cell] for cell in cells]
        for index in range(max(len(stack) for stack in stacks)):
            pieces = [stack[index] if index < len(stack) else "" for stack in stacks]
            # A later row may have a cell that is longer than its column: it must not touch the next one.
            padded = [f"{piece} ".ljust(width + self.gap) for piece, width in zip(pieces, self.widths, strict=False)]
            yield [*padded, row[-1]] if is_beside and index == 0 else [*padded[:-1], padded[-1].rstrip()]
        if self.explains_below is not None and not is_beside and row[-1] not in ("", "-"):
            yield from ([line] for line in _below(row[-1], self.explains_below))


@dataclass(frozen=True)
class Folded:
    """Rows of several lines, each with columns of its own: the first layout's, then those of the others below it."""

    parts: tuple[Layout, ...]

    def lines(self, row: Sequence[str]) -> Iterator[list[str]]:
        """Give the lines of a row, each as its padded cells."""
        start = 0
        for index, part in enumerate(self.parts):
            is_last = index == len(self.parts) - 1
            end = len(row) if is_last else start + len(part.widths)
            yield from ([_INDENT, *line] if index else line for line in part.lines(row[start:end]))
            start = end


def lay_out(headers: Sequence[str], rows: Sequence[Sequence[str]], *, width: int | None = None) -> Layout | Folded:
    """Choose the first layout that fits: as it is, closer, the explanation below, lists as stacks, two lines. Pure.

    Args:
        headers: the column names.
        rows: the cells.
        width: columns of the terminal; None means that any width will do.
    """
    whole = _widths(headers, rows)
    plain = Layout(whole, _WIDE_GAP)
    if width is None or _total(plain) <= width:
        return plain
    explains = headers[-1].strip() in _EXPLAINING and len(headers) > 1
    shorter = whole[:-1] if explains else whole
    stacked = _widths(headers, [["\n".join(_stack(cell)) for cell in row] for row in rows])[: len(shorter)]
    below, heading = (width, len(headers[-1])) if explains else (None, 0)
    attempts = (
        Layout(whole, _NARROW_GAP),
        Layout(shorter, _NARROW_GAP, explains_below=below, explanation_width=heading),
        Layout(stacked, _NARROW_GAP, stacks_lists=True, explains_below=below, explanation_width=heading),
        Layout(stacked, _LEAST_GAP, stacks_lists=True, explains_below=below, explanation_width=heading),
    )
    return next((attempt for attempt in attempts if _total(attempt) <= width), None) or _fold(attempts[2], width)


def _fold(layout: Layout, width: int) -> Layout | Folded:
    """Give the first line as many columns as it can hold, the next as many of the others, and so on."""
    if len(layout.widths) < 2:
        return layout
    parts: list[Layout] = []
    start, end = 0, len(layout.widths)
    while start < end:
        room = width - (len(_INDENT) if parts else 0)
        fitting = (at for at in range(end, start + 1, -1) if _total(_part(layout, start, at)) <= room)
        at = min(next(fitting, start + 1), end if parts else end - 1)
        explains = layout.explains_below if at == end else None
        below = explains - len(_INDENT) if explains is not None else None
        parts.append(replace(_part(layout, start, at), explains_below=below))
        start = at
    return Folded(tuple(parts))


def _part(layout: Layout, start: int, end: int) -> Layout:
    return replace(layout, widths=layout.widths[start:end])


class TablePrinter:
    """Prints rows as they come under one header: later rows keep the columns of the first ones."""

    def __init__(self, headers: Sequence[str]) -> None:
        self._headers = [visible_line(header) for header in headers]
        self._layout: Layout | Folded | None = None

    def print(self, rows: Iterable[Sequence[object]]) -> None:
        """Print rows, and the header if it was not printed yet."""
        cells = [[text(cell) for cell in row] for row in rows]
        show = _shower()
        if self._layout is None:
            self._layout = lay_out(self._headers, cells, width=_terminal_width())
            for line in self._layout.lines(self._headers):
                show(line, True)
        for row in cells:
            for line in self._layout.lines(row):
                show(line, False)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under headers."""
    TablePrinter(headers).print(rows)


def text(cell: object) -> str:
    """Write a cell in one line; what is empty is a dash, so that columns can be counted."""
    if cell is None or cell == "":
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:g}"
    if isinstance(cell, list | tuple):
        return ",".join(text(part) for part in cell) or "-"
    return visible_line(str(cell))


def _stack(cell: str) -> list[str]:
    """Split a list without spaces, such as GPU models; leave everything else whole."""
    return cell.split(",") if _LIST.match(cell) else [cell]


def _below(explanation: str, width: int) -> list[str]:
    room = max(width - len(_INDENT), 20)
    return [_INDENT + line for line in textwrap.wrap(explanation, room, break_on_hyphens=False)]


def _widths(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[int, ...]:
    return tuple(max(_width(row[index]) for row in (headers, *rows)) for index in range(len(headers)))


def _width(cell: str) -> int:
    return max(len(line) for line in cell.split("\n"))


def _total(layout: Layout) -> int:
    return sum(layout.widths) + layout.gap * (len(layout.widths) - 1)


def _terminal_width() -> int | None:
    if not sys.stdout.isatty():
        return None
    from rich.console import Console

    return Console().width


class _Plain:
    def __call__(self, pieces: Sequence[str], is_header: bool) -> None:  # noqa: ARG002 - a pipe has no bold
        sys.stdout.write("".join(pieces).rstrip() + "\n")
        sys.stdout.flush()


class _Coloured:
    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)

    def __call__(self, pieces: Sequence[str], is_header: bool) -> None:
        from rich.text import Text

        styled = [(piece, "bold" if is_header else _style(piece.strip())) for piece in pieces]
        self._console.print(Text.assemble(*styled), soft_wrap=True)


def _shower() -> _Plain | _Coloured:
    return _Coloured() if sys.stdout.isatty() else _Plain()


def _style(cell: str) -> str:
    words = set(cell.split(","))
    if words & _BAD:
        return "red"
    if words & _WORKING:
        return "yellow"
    return "green" if words & _GOOD else ""
