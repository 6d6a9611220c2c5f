"""The link matrix as a table: latencies for a few clusters, one character a link for dozens, what is broken for more.

Owns what a cell says. Every form fits 80 columns and says how old the proof is.
"""

import string
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from atoll.cli.ages import age
from atoll.cli.output import hint, plural, say
from atoll.cli.tables import print_table
from atoll.federation.mesh import Direction, LinkState, Matrix, Pair

# More columns of latencies, or of characters, do not fit a terminal beside names and ages.
_WIDEST_MATRIX, _WIDEST_MAP = 9, 50
# What columns and rows are called; numbers would be taken for the clusters' ids in the mesh.
_LETTERS = string.ascii_letters
# More broken links have few causes: they are told by cluster then.
_LONGEST_LIST = 20
_SELF, _NOTHING = "·", "-"
_CELLS = {
    LinkState.CONNECTED: "sync",
    LinkState.STALE: "stale",
    LinkState.DOWN: "down",
    LinkState.UNKNOWN: "?",
}
_MARKS = {"ok": "+", "sync": "~", "stale": "s", "down": "x"}
_LEGEND = "in the map: + ready, ~ not synchronised yet, s stale, x down, ? not told, - not expected"

Views = Mapping[str, Sequence[Direction]]


def print_matrix(whole: Matrix) -> None:
    """Print all links as fits their number, then those that are not ready with the reason."""
    names, views = (*whole.clusters, *whole.outsiders), _by_source(whole)
    if len(names) <= _WIDEST_MATRIX:
        print_table(("CLUSTER", "PROVEN", *_LETTERS[: len(names)]), _rows(whole, names, views))
    elif len(names) <= _WIDEST_MAP:
        print_table(("CLUSTER", "PROVEN", "READY", _LETTERS[: len(names)]), _map(whole, names, views))
        hint(_LEGEND)
    if whole.broken:
        if len(names) <= _WIDEST_MAP:
            say("")
        _print_broken(whole)
    hint(f"{len(whole.pairs) - len(whole.broken)} of {plural(len(whole.pairs), 'link')} are ready")


def _by_source(whole: Matrix) -> Views:
    found: dict[str, list[Direction]] = defaultdict(list)
    for side, _ in whole.directions():
        found[side.source].append(side)
    return found


def _rows(whole: Matrix, names: Sequence[str], views: Views) -> Iterator[tuple[object, ...]]:
    for letter, name in zip(_LETTERS, names, strict=False):
        cells = (_cell(whole.pair(name, other), name) if other != name else _SELF for other in names)
        yield f"{letter} {name}", _proven(whole, name, views), *cells


def _map(whole: Matrix, names: Sequence[str], views: Views) -> Iterator[tuple[object, ...]]:
    for letter, name in zip(_LETTERS, names, strict=False):
        pairs = [whole.pair(name, other) for other in names]
        known = [pair for pair in pairs if pair is not None]
        ready = sum(pair.link.state is LinkState.READY for pair in known)
        marks = "".join(
            _SELF if other == name else _mark(_cell(pair, name)) for other, pair in zip(names, pairs, strict=True)
        )
        yield f"{letter} {name}", _proven(whole, name, views), f"{ready}/{len(known)}", marks


def _mark(cell: str) -> str:
    """Give a cell in one character; a latency is one of a link that is ready."""
    return _MARKS["ok"] if cell[0].isdigit() else _MARKS.get(cell, cell)


def _proven(whole: Matrix, name: str, views: Views) -> str:
    """Tell the age of a cluster's own oldest proof."""
    seen = [side.view for side in views.get(name, ()) if side.view is not None]
    if not seen:
        return "-" if name in whole.outsiders else "never"
    dates = [view.last_proven_at for view in seen if view.last_proven_at is not None]
    return age(min(dates)) if len(dates) == len(seen) else "never"


def _cell(pair: Pair | None, source: str) -> str:
    """Tell how a cluster sees another one, in a few characters."""
    if pair is None:
        return _NOTHING
    side = pair.there if pair.there.source == source else pair.back
    if side is None:
        return _NOTHING
    if pair.link.state is LinkState.READY:
        latency = side.view.latency_seconds if side.view is not None else None
        return "ok" if latency is None else milliseconds(latency)
    if pair.link.state is LinkState.ASYMMETRIC:
        return "ok" if side.view is not None and side.view.is_connected else "down"
    return _CELLS[pair.link.state]


def _print_broken(whole: Matrix) -> None:
    if len(whole.broken) <= _LONGEST_LIST:
        print_table(("LINK", "STATE", "PROVEN", "REASON"), map(_broken, whole.broken))
        return
    print_table(("CLUSTER", "PROVEN", "BROKEN", "STATES", "REASON"), _by_cluster(whole))
    hint("-o wide lists every link, -o json all that is known of each")


def _broken(pair: Pair) -> tuple[object, ...]:
    one, other = pair.link.clusters
    return f"{one} - {other}", str(pair.link.state), age(pair.link.proven_at), pair.link.message


def _by_cluster(whole: Matrix) -> Iterator[tuple[object, ...]]:
    """Give the clusters that have broken links, the worst first; each link stands with the end that is worse off."""
    counts = Counter(name for pair in whole.broken for name in pair.link.clusters)
    told: dict[str, list[Pair]] = defaultdict(list)
    for pair in whole.broken:
        told[min(pair.link.clusters, key=lambda name: (-counts[name], name))].append(pair)
    for name, pairs in sorted(told.items(), key=lambda item: (-len(item[1]), item[0])):
        states = tuple(f"{state}:{count}" for state, count in Counter(str(p.link.state) for p in pairs).most_common())
        total = sum(name in pair.link.clusters for pair in whole.pairs.values())
        yield name, _oldest(pairs), f"{len(pairs)}/{total}", states, _usual_reason(pairs)


def _oldest(pairs: Iterable[Pair]) -> str:
    dates: list[datetime | None] = [pair.link.proven_at for pair in pairs]
    known = [date for date in dates if date is not None]
    return age(min(known)) if len(known) == len(dates) else "never"


def _usual_reason(pairs: Iterable[Pair]) -> str:
    return Counter(pair.link.message for pair in pairs).most_common(1)[0][0]


def milliseconds(seconds: float) -> str:
    """Write a round trip."""
    return f"{seconds * 1000:.1f}ms" if seconds < 0.01 else f"{seconds * 1000:.0f}ms"
