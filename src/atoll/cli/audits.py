"""What `audit` does: ask the hub for records, and print them as they come."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import orjson

from atoll.cli import kinds
from atoll.cli.api import Json
from atoll.cli.choosing import HubChoice
from atoll.cli.hub import connect
from atoll.cli.options import Output
from atoll.cli.output import hint, say, to_yaml
from atoll.cli.tables import TablePrinter

_PATH = "/access/audit"
_HEADERS = ("TIME", "USER", "VERB", "OBJECT", "RESULT")
_WIDE_HEADERS = (*_HEADERS, "FROM", "CREDENTIAL", "PROGRAM")
# Column widths come from the first rows: enough of them to be typical, few enough to show something at once.
_FIRST_ROWS = 200


@dataclass(frozen=True)
class Wanted:
    """Which records; what is empty does not limit."""

    since: str
    user: str
    verb: str
    kind: str
    namespace: str
    failed: bool
    limit: int | None
    follow: bool

    def query(self) -> dict[str, str]:
        """Give the parameters of the request.

        Raises:
            InvalidInput: there is no such kind.
        """
        given = {
            "since": self.since,
            "user": self.user,
            "verb": self.verb,
            "resource": kinds.find(self.kind).plural if self.kind else "",
            "namespace": self.namespace,
            "failed": "true" if self.failed else "",
            "limit": str(self.limit or ""),
            "follow": "true" if self.follow else "",
        }
        return {name: value for name, value in given.items() if value}


def show(choice: HubChoice, wanted: Wanted, output: Output) -> None:
    """Print the records, and with `follow` go on until interrupted."""
    query = wanted.query()
    with connect(choice) as api:
        records = _records(api.chunks(_PATH, query))
        if output in (Output.TABLE, Output.WIDE):
            _print_table(records, wide=output is Output.WIDE, follows=wanted.follow)
        else:
            for record in records:
                say(orjson.dumps(record).decode() if output is Output.JSON else f"---\n{to_yaml(record).rstrip()}")


def row(record: Json, *, wide: bool) -> tuple[object, ...]:
    """Give the cells of one record. Pure."""
    user = f"{record['acting']} as {record['user']}" if record.get("acting") else record["user"]
    cells = (record["at"][:19] + "Z", user, record["verb"], _object(record), _result(record))
    more = (record.get(key, "") for key in ("source", "credential", "userAgent"))
    return (*cells, *more) if wide else cells


def _object(record: Json) -> str:
    if "path" in record:
        return str(record["path"])
    subresource = f"/{record['subresource']}" if record.get("subresource") else ""
    name = "/".join(filter(None, (record.get("namespace"), record.get("name"))))
    return f"{record['resource']}{subresource} {name}".rstrip()


def _result(record: Json) -> str:
    if record["result"] == "Failed":
        what = record.get("reason") or f"Failed {record.get('code', '')}"
    else:
        what = record["result"]
    return f"{what} (dry run)" if record.get("dryRun") else str(what)


def _print_table(records: Iterator[Json], *, wide: bool, follows: bool) -> None:
    printer = TablePrinter(_WIDE_HEADERS if wide else _HEADERS)
    first = [] if follows else [row(record, wide=wide) for record in islice(records, _FIRST_ROWS)]
    if first:
        printer.print(first)
    elif not follows:
        hint("no records: choose a longer time with --since")
    for record in records:
        printer.print([row(record, wide=wide)])


def _records(chunks: Iterator[bytes]) -> Iterator[Json]:
    """Put the lines of an answer together again."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (orjson.loads(line) for line in lines if line)
    if rest:
        yield orjson.loads(rest)
