"""What `get` and each noun's `list` do: ask the hub for a table and print it, once or as long as it changes."""

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from atoll.cli import kinds
from atoll.cli.api import Api, Json
from atoll.cli.kinds import KindRef
from atoll.cli.options import Output
from atoll.cli.output import hint, print_objects, table_rows
from atoll.cli.tables import TablePrinter
from atoll.federation.capacity import parse_duration
from atoll.federation.errors import Forbidden, InvalidInput, Unavailable

# Between two streams of changes: a hub that ends each at once is not asked all the time.
_AGAIN_SECONDS = 0.5


@dataclass(frozen=True)
class Query:
    """Which objects: of a kind, in a namespace (empty: all), one by name or those that match."""

    ref: KindRef
    name: str = ""
    namespace: str = ""
    selector: str = ""
    fields: str = ""
    submitter: str = ""

    @classmethod
    def of(cls, kind: str, name: str | None, *, namespace: str, selector: str = "") -> Self:
        """Read `KIND NAME` or `KIND/NAME`.

        Raises:
            InvalidInput: no such kind, or a name together with what selects many.
        """
        word, _, inline = kind.partition("/")
        chosen = name or inline
        if chosen and selector:
            raise InvalidInput("give a name or a selector, not both")
        ref = kinds.find(word)
        if chosen and ref.namespaced and not namespace:
            raise InvalidInput("a name needs a namespace: use -n instead of -A")
        return cls(ref, chosen, namespace if ref.namespaced else "", selector)

    @property
    def path(self) -> str:
        """The URL path of the object or the collection."""
        return self.ref.path(self.namespace, self.name) if self.name else self.ref.collection(self.namespace)

    @property
    def object_path(self) -> str:
        """The URL path of the one object.

        Raises:
            InvalidInput: no name was given.
        """
        if not self.name:
            raise InvalidInput(f"which {self.ref.name.lower()}? Give its name")
        return self.path

    @property
    def shows_namespace(self) -> bool:
        """Whether the namespace is a column: only where objects of several are listed."""
        return self.ref.namespaced and not self.namespace

    @property
    def parameters(self) -> dict[str, str]:
        """The selectors as the API's query."""
        named = f"metadata.name={self.name}" if self.name else ""
        fields = ",".join(each for each in (named, self.fields) if each)
        given = {"labelSelector": self.selector, "fieldSelector": fields}
        return {name: text for name, text in given.items() if text}

    def chosen(self, answer: Json) -> Json:
        """Leave out of a list or a table what is not of the submitter; field selectors know no annotations."""
        if not self.submitter:
            return answer
        kept: Json = {
            name: [each for each in answer[name] or () if self.is_of(each.get("object", each))]
            for name in ("rows", "items")
            if name in answer
        }
        return {**answer, **kept}

    def is_of(self, obj: Json) -> bool:
        """Tell whether an object is the submitter's; everything is nobody's in particular."""
        if not self.submitter:
            return True
        from atoll.federation.resources.submitter import SUBMITTER  # loads all models, of which `get` needs none

        annotations = (obj.get("metadata") or {}).get("annotations") or {}
        return bool(annotations.get(SUBMITTER) == self.submitter)


def show(api: Api, query: Query, output: Output, *, watch: bool = False, show_managed_fields: bool = False) -> None:
    """Print what is there now, and if asked each change from then on, until interrupted."""
    printer: TablePrinter | None = None
    if output in (Output.TABLE, Output.WIDE):
        headers, rows = _table(api.get(query.path, query.parameters, as_table=True), query, output)
        if rows:
            printer = TablePrinter(headers)
            printer.print(rows)
        else:
            hint(f"no {query.ref.plural} found{missing_namespace(api, query.namespace) or _where(query)}")
    else:
        answer = query.chosen(api.get(query.path, query.parameters))
        print_objects(answer, output, query.ref, show_managed_fields=show_managed_fields)
        if answer.get("items") == [] and (missing := missing_namespace(api, query.namespace)):
            hint(f"no {query.ref.plural} found{missing}")
    if watch:
        _follow(api, query, output, printer=printer, show_managed_fields=show_managed_fields)


def missing_namespace(api: Api, namespace: str) -> str:
    """Say that a namespace is not there, for whoever finds nothing in it; empty if it is, or if we may not know."""
    if not namespace:
        return ""
    try:
        is_there = api.find(kinds.NAMESPACES.path(None, namespace)) is not None
    except Forbidden:
        return ""
    return "" if is_there else f": there is no namespace {namespace}; atoll get namespaces shows those there are"


def _follow(api: Api, query: Query, output: Output, *, printer: TablePrinter | None, show_managed_fields: bool) -> None:
    as_table = output in (Output.TABLE, Output.WIDE)
    sys.stdout.flush()  # a pipe would get it when there is a lot of it
    for changed in _changes(api, query, as_table=as_table):
        if as_table:
            headers, rows = _table(changed, query, output)
            if rows:
                printer = printer or TablePrinter(headers)
                printer.print(rows)
        elif query.is_of(changed):
            print_objects(changed, output, query.ref, show_managed_fields=show_managed_fields)
            sys.stdout.flush()


def _changes(api: Api, query: Query, *, as_table: bool) -> Iterator[Json]:
    """Give each change, as a table or as the object, for as long as anybody reads.

    A stream ends with its hub, and by itself after an hour. What has changed until the next one begins is told by its
    revision, which the hub counts up; what was deleted meanwhile is not.
    """
    collection = query.ref.collection(query.namespace)
    seen = _now(api, query)
    while True:
        with contextlib.suppress(Unavailable):  # cut off: whether the hub comes back is seen below, with patience
            since = {"resourceVersion": str(seen)}
            for event in api.watch(collection, {**query.parameters, **since}, as_table=as_table):
                if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
                    seen = max([seen, *map(_revision, _each(event["object"]))])
                    yield event["object"]
        time.sleep(_AGAIN_SECONDS)
        now = _now(api, query)
        answer = api.get(collection, query.parameters, as_table=as_table)
        newer = [each for each in _each(answer) if _revision(each) > seen]
        yield from [{**answer, "rows": newer}] if as_table else newer
        seen = now


def _each(answer: Json) -> list[Json]:
    """Give the rows of a table, the objects of a list, or the one object."""
    return answer.get("rows", answer.get("items", [answer])) or []


def _revision(part: Json) -> int:
    return int(part.get("object", part)["metadata"]["resourceVersion"])


def _table(answer: Json, query: Query, output: Output) -> tuple[list[str], list[list[object]]]:
    headers, rows = table_rows(query.chosen(answer), wide=output is Output.WIDE, with_namespace=query.shows_namespace)
    return headers, _oldest_first(headers, rows) if query.ref.plural == kinds.EVENTS.plural else rows


def _oldest_first(headers: list[str], rows: list[list[object]]) -> list[list[object]]:
    """Order events as a log is read; the API gives them by name."""
    column = headers.index("LAST SEEN")

    def seconds_ago(row: list[object]) -> float:
        try:
            return parse_duration(str(row[column]))
        except InvalidInput:  # no date at all
            return math.inf

    return sorted(rows, key=seconds_ago, reverse=True)


def _now(api: Api, query: Query) -> int:
    answer = api.get(query.ref.collection(query.namespace), {"limit": "1"})
    return int(answer.get("metadata", {}).get("resourceVersion") or 0)


def _where(query: Query) -> str:
    if not query.namespace:
        return ""
    advice = ": choose another with -n NAMESPACE, or all with -A" if query.namespace == "default" else ""
    return f" in namespace {query.namespace}{advice}"
