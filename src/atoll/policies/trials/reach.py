"""Who may talk to whom, and on which ports: exact, by asking once between any two ports at which a rule begins or ends.

Pure. Owns the forms in which it is drawn: Mermaid for pull requests, SVG for pages and slides.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from atoll.policies.identity import Endpoint, Party
from atoll.policies.trials.fleet import Fleet
from atoll.policies.verdict import Flow, Protocol

_PROTOCOLS: tuple[Protocol, ...] = ("TCP", "UDP", "SCTP")
_LAST_PORT = 65535
_CELL, _LEFT, _TOP, _LETTER = 26, 24, 24, 7.2


@dataclass(frozen=True)
class Span:
    """Consecutive ports of one protocol, ends included."""

    protocol: Protocol
    first: int
    last: int

    def __str__(self) -> str:
        if (self.first, self.last) == (0, _LAST_PORT):
            return self.protocol
        ports = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{ports}/{self.protocol}"

    def is_within(self, other: "Span") -> bool:
        """Say whether another one has all of its ports."""
        return self.protocol == other.protocol and other.first <= self.first <= self.last <= other.last


@dataclass(frozen=True)
class Reach:
    """What one party may open to another; `spans` is empty if nothing."""

    source: str
    destination: str
    spans: tuple[Span, ...]

    @property
    def is_everything(self) -> bool:
        """Say whether no port of any protocol is closed."""
        return len(self.spans) == len(_PROTOCOLS) and all(str(span) == span.protocol for span in self.spans)

    @property
    def ports(self) -> str:
        """Name what is open."""
        return "everything" if self.is_everything else ", ".join(map(str, self.spans)) or "nothing"


def find_reaches(fleet: Fleet, parties: Mapping[str, Party]) -> tuple[Reach, ...]:
    """Find what each party may open to each other one. Two parties outside are left out: nobody judges them."""
    return tuple(
        Reach(source, destination, tuple(find_spans(fleet, parties[source], parties[destination])))
        for source in parties
        for destination in parties
        if source != destination and any(isinstance(parties[name], Endpoint) for name in (source, destination))
    )


def find_spans(fleet: Fleet, source: Party, destination: Party) -> Iterator[Span]:
    """Find the ports that one party may open to another."""
    for protocol in _PROTOCOLS:
        edges = {0, _LAST_PORT + 1, *fleet.boundaries(source, destination, protocol)}
        first: int | None = None
        for start, end in pairwise(sorted(edge for edge in edges if edge <= _LAST_PORT + 1)):
            allowed = fleet.judge(Flow(source, destination, start, protocol)).allowed
            first = start if allowed and first is None else first
            if first is not None and (not allowed or end > _LAST_PORT):
                yield Span(protocol, first, (end if allowed else start) - 1)
                first = None


def to_mermaid(reaches: Sequence[Reach], parties: Mapping[str, Party]) -> str:
    """Draw a flowchart: a box per cluster, an arrow per pair that may talk, its ports beside it."""
    ids = {name: f"n{index}" for index, name in enumerate(parties)}
    lines = ["flowchart LR"]
    for cluster, members in _by_cluster(parties):
        lines += [f'  subgraph {cluster or "outside"}["{cluster or "outside"}"]']
        lines += [f'    {ids[name]}["{_label(name, cluster)}"]' for name in members] + ["  end"]
    for reach in reaches:
        if reach.spans:
            label = "" if reach.is_everything else f'|"{reach.ports}"|'
            lines.append(f"  {ids[reach.source]} -->{label} {ids[reach.destination]}")
    return "\n".join(lines) + "\n"


def to_svg(reaches: Sequence[Reach], parties: Mapping[str, Party]) -> str:
    """Draw a matrix: who (rows) may open a connection to whom (columns); a cell tells its ports when pointed at."""
    names = list(parties)
    left = _LEFT + _LETTER * max(map(len, names))
    width, height = left + _CELL * len(names) + _LEFT, left + _CELL * len(names) + _TOP
    cells = "".join(_cell(reach, names, left) for reach in reaches)
    rows = "".join(
        f'<text x="{left - 8:.0f}" y="{left + _CELL * index + 17:.0f}" text-anchor="end">{escape(name)}</text>'
        f'<text transform="translate({left + _CELL * index + 17:.0f} {left - 8:.0f}) rotate(-60)">{escape(name)}</text>'
        for index, name in enumerate(names)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        'aria-label="who may open a connection to whom" font-family="ui-monospace, monospace" font-size="12">'
        "<style>text{fill:#1f2933}.all{fill:#2f855a}.some{fill:#90cdb0}.none{fill:#edf0f3}"
        "@media(prefers-color-scheme:dark){text{fill:#e4e7eb}.none{fill:#323f4b}}</style>"
        f"{cells}{rows}</svg>\n"
    )


def _cell(reach: Reach, names: Sequence[str], left: float) -> str:
    x, y = (left + _CELL * names.index(name) for name in (reach.destination, reach.source))
    kind = "all" if reach.is_everything else "some" if reach.spans else "none"
    title = escape(f"{reach.source} to {reach.destination}: {reach.ports}")
    box = f'<rect x="{x:.0f}" y="{y:.0f}" width="{_CELL - 2}" height="{_CELL - 2}" rx="4" class="{kind}"/>'
    return f"<g><title>{title}</title>{box}</g>"


def _by_cluster(parties: Mapping[str, Party]) -> Iterable[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for name, party in parties.items():
        groups.setdefault(party.cluster if isinstance(party, Endpoint) else "", []).append(name)
    return groups.items()


def _label(name: str, cluster: str) -> str:
    return name.removesuffix(f"@{cluster}").replace('"', "'")
