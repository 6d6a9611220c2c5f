"""How answers are printed: aligned tables, JSON, YAML, names. Colours only on a terminal; only data on stdout."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from atoll.cli.kinds import KindRef
from atoll.cli.options import Output

_GOOD = frozenset({"Ready", "Succeeded", "Applied", "Complete", "True", "connected"})
_WORKING = frozenset({"Pending", "Placed", "Running", "Staging", "Starting", "Committing", "Copying", "Drifted"})
_BAD = frozenset({"Failed", "Unreachable", "Unenforceable", "Degraded", "Cancelled", "unreachable"})


def say(text: str) -> None:
    """Print one line of an answer."""
    sys.stdout.write(text + "\n")


def hint(text: str) -> None:
    """Print a line that is no data: progress, advice, an empty result."""
    sys.stderr.write(text + "\n")


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under headers; a terminal gets colours, a pipe gets plain columns."""
    cells = [[_text(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_rich(headers, cells)
        return
    for line in plain_lines(headers, cells):
        say(line)


def plain_lines(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns with three spaces between them, as kubectl does."""
    widths = [max(len(row[i]) for row in (headers, *rows)) for i in range(len(headers))]
    lines = ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (headers, *rows)]
    return [line.rstrip() for line in lines]


def print_api_table(table: Mapping[str, Any], *, wide: bool, with_namespace: bool) -> None:
    """Print a meta/v1 Table as the server made it."""
    shown, rows = table_rows(table, wide=wide, with_namespace=with_namespace)
    print_table(shown, rows)


def table_rows(table: Mapping[str, Any], *, wide: bool, with_namespace: bool) -> tuple[list[str], list[list[object]]]:
    """Take headers and cells out of a meta/v1 Table; columns of priority above 0 are for wide output only."""
    columns = [
        (index, str(column["name"]).upper())
        for index, column in enumerate(table.get("columnDefinitions") or [])
        if wide or not column.get("priority")
    ]
    rows = []
    for row in table.get("rows") or []:
        cells = [row["cells"][index] for index, _ in columns]
        rows.append([_namespace(row), *cells] if with_namespace else cells)
    headers = [header for _, header in columns]
    return (["NAMESPACE", *headers] if with_namespace else headers), rows


def print_objects(answer: Mapping[str, Any], output: Output, ref: KindRef) -> None:
    """Print an object or a list as JSON, YAML or names."""
    if output is Output.JSON:
        say(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
    elif output is Output.YAML:
        sys.stdout.write(to_yaml(answer))
    else:
        for item in answer.get("items", [answer]):
            say(f"{ref.qualified}/{item['metadata']['name']}")


def to_yaml(value: object) -> str:
    """Write YAML in the order of the object, block style."""
    import yaml

    return yaml.safe_dump(value, sort_keys=False, default_flow_style=False, allow_unicode=True)


def _namespace(row: Mapping[str, Any]) -> str:
    return str(((row.get("object") or {}).get("metadata") or {}).get("namespace") or "")


def _text(cell: object) -> str:
    if cell is None or cell == "":
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:g}"
    if isinstance(cell, list | tuple):
        return ",".join(_text(part) for part in cell) or "-"
    return str(cell)


def _print_rich(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headers, box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for row in rows:
        table.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    Console(highlight=False).print(table)


def _style(cell: str) -> str:
    words = set(cell.split(","))
    if words & _BAD:
        return "red"
    if words & _WORKING:
        return "yellow"
    return "green" if words & _GOOD else ""
