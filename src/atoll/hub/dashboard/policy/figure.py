"""The drawing of who may talk to whom: parties in two columns, a band from the left to the right for what is allowed.

Pure. Owns coordinates and what is bright when one party is looked at. Names are written at their size at any width:
a drawing is made for a width, not scaled to it.
"""

from dataclasses import dataclass

from atoll.hub.dashboard.policy.reach import Link, PartyView, Reachability

WIDE, NARROW = 960, 340
_ROW, _TOP = 30, 34
_MIDDLE_SHARE = {WIDE: 0.34, NARROW: 0.2}
_GAP = 14  # from a dot to its name
_LETTER = {WIDE: 7.3, NARROW: 6.1}  # of monospaced fonts of 12 and 10 px


@dataclass(frozen=True)
class Row:
    """One party on both sides; `label` is its name as far as there is room."""

    party: PartyView
    label: str
    y: float


@dataclass(frozen=True)
class Band:
    """One link."""

    link: Link
    path: str
    words: str
    is_bright: bool


@dataclass(frozen=True)
class Figure:
    """A drawing in pixels: labels end at `left` and begin at `right`."""

    width: int
    height: float
    left: float
    right: float
    rows: tuple[Row, ...]
    bands: tuple[Band, ...]


def draw_reach(reach: Reachability, *, width: int = WIDE, focus: str = "") -> Figure:
    """Draw for one of the two widths; with a focus only what the party of that name begins or ends is bright."""
    side = width * (1 - _MIDDLE_SHARE[width]) / 2
    left, right, letters = side, width - side, int((side - _GAP) / _LETTER[width])
    rows = tuple(
        Row(party, _shortened(party.group.name, letters), _TOP + _ROW * index)
        for index, party in enumerate(reach.parties)
    )
    bend = (right - left) / 2
    bands = []
    for link in reach.links:
        y1, y2 = rows[link.source].y, rows[link.destination].y
        path = f"M{left:.0f} {y1:.0f}C{left + bend:.0f} {y1:.0f} {right - bend:.0f} {y2:.0f} {right:.0f} {y2:.0f}"
        names = [reach.parties[end].group.name for end in (link.source, link.destination)]
        words = f"{names[0]} may open to {names[1]}: {link.ports}"
        bands.append(Band(link, path, words, not focus or focus in names))
    # What is bright is drawn last, and so on top.
    return Figure(
        width=width,
        height=_TOP + _ROW * len(rows),
        left=left,
        right=right,
        rows=rows,
        bands=tuple(sorted(bands, key=lambda band: band.is_bright)),
    )


def _shortened(name: str, letters: int) -> str:
    """Keep both ends: namespaces are at the one, labels at the other."""
    if len(name) <= letters:
        return name
    head = letters // 3
    return f"{name[:head]}…{name[len(name) - (letters - head - 1) :]}"
