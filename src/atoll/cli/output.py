"""How answers are printed: rows for tables, JSON, YAML, names. Only data goes to stdout, all else to stderr.

Whatever is printed comes through here or `tables`, where characters that steer a terminal become visible.
"""

import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from atoll.cli.options import Output
from atoll.cli.visible import is_hidden, visible

if TYPE_CHECKING:
    from atoll.cli.kinds import KindRef  # loads all models, of which most commands need none

_COMMIT = re.compile(r"^[0-9a-f]{40,64}$")
_COMMIT_SHOWN = 12


def say(text: str) -> None:
    """Print one line of an answer."""
    sys.stdout.write(visible(text) + "\n")


def hint(text: str) -> None:
    """Print a line that is no data: progress, advice, an empty result."""
    sys.stderr.write(visible(text) + "\n")


def tell_interrupted() -> None:
    """Say at once that Ctrl-C was seen: stopping takes a moment."""
    hint("interrupted: stopping what was started")


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: 1 file, 2 files, 2 policies."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun.removesuffix('y')}ies" if noun.endswith("y") else f"{count} {noun}s"


def bytes_shown(count: float) -> str:
    """Write an amount of bytes as it is read: 512 B, 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def table_rows(table: Mapping[str, Any], *, wide: bool, with_namespace: bool) -> tuple[list[str], list[list[object]]]:
    """Take headers and cells out of a meta/v1 Table; columns of priority above 0 are for wide output only."""
    columns = [
        (index, str(column["name"]).upper())
        for index, column in enumerate(table.get("columnDefinitions") or [])
        if wide or not column.get("priority")
    ]
    rows = []
    for row in table.get("rows") or []:
        cells = [_shown(row["cells"][index], wide=wide) for index, _ in columns]
        rows.append([_namespace(row), *cells] if with_namespace else cells)
    headers = [header for _, header in columns]
    return (["NAMESPACE", *headers] if with_namespace else headers), rows


def print_objects(
    answer: Mapping[str, Any], output: Output, ref: "KindRef", *, show_managed_fields: bool = False
) -> None:
    """Print an object or a list as JSON, YAML or names; who manages which field is noise unless asked for."""
    if not show_managed_fields:
        answer = _without_managed_fields(answer)
    if output is Output.JSON:
        say(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
    elif output is Output.YAML:
        sys.stdout.write(to_yaml(answer))
    else:
        for item in answer.get("items", [answer]):
            say(f"{ref.qualified}/{item['metadata']['name']}")


def _without_managed_fields(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    if "items" in answer:
        return {**answer, "items": [_without_managed_fields(item) for item in answer["items"]]}
    metadata = {key: value for key, value in answer.get("metadata", {}).items() if key != "managedFields"}
    return {key: metadata if key == "metadata" else value for key, value in answer.items()}


def to_yaml(value: object) -> str:
    """Write YAML in the order of the object, block style; a text of several lines is written as such.

    A text that has what steers a terminal is quoted: only there are escapes what they mean.
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        style = '"' if is_hidden(text) else "|" if "\n" in text else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, represent)
    return visible(yaml.dump(value, Dumper=Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True))


def _namespace(row: Mapping[str, Any]) -> str:
    return str(((row.get("object") or {}).get("metadata") or {}).get("namespace") or "")


def _shown(cell: object, *, wide: bool) -> object:
    """Shorten a commit, which nobody reads to its end, unless all is asked for."""
    is_commit = isinstance(cell, str) and _COMMIT.match(cell)
    return cell[:_COMMIT_SHOWN] if isinstance(cell, str) and is_commit and not wide else cell
