"""Circles side by side: each touches its neighbours and covers none. Pure.

The front-chain method of Wang, Wang, Dai and Wang, "Visualization of large hierarchical data by circle packing" (CHI
2006): each circle goes where it touches two of those on the rim, nearest to the middle.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Floating point: circles that touch are taken for apart.
_TOUCH = 1e-6


@dataclass(frozen=True, slots=True)
class Circle:
    """A circle and where its middle is."""

    x: float
    y: float
    r: float


class _Rim:
    """One circle of the chain around all that were placed."""

    __slots__ = ("circle", "next", "previous")

    def __init__(self, circle: Circle) -> None:
        self.circle = circle
        self.next = self.previous = self


def pack(radii: Sequence[float]) -> list[Circle]:
    """Place circles in their order, the first ones in the middle."""
    if not radii:
        return []
    placed = [Circle(0.0, 0.0, radii[0])]
    if len(radii) > 1:
        placed = [Circle(-radii[1], 0.0, radii[0]), Circle(radii[0], 0.0, radii[1])]
    if len(radii) > 2:
        placed.append(_beside(placed[1], placed[0], radii[2]))
        _go_round(placed, radii[3:])
    return _centred(placed)


def _go_round(placed: list[Circle], radii: Sequence[float]) -> None:
    a, b, c = (_Rim(circle) for circle in placed)
    a.next = c.previous = b
    b.next = a.previous = c
    c.next = b.previous = a
    for radius in radii:
        while True:
            circle = _beside(a.circle, b.circle, radius)
            met = _first_met(circle, a, b)
            if met is None:
                break
            hit, is_ahead = met
            if is_ahead:
                b = hit
            else:
                a = hit
            a.next, b.previous = b, a
        placed.append(circle)
        new = _Rim(circle)
        new.previous, new.next = a, b
        a.next = b.previous = new
        a = _nearest(new)
        b = a.next


def _first_met(circle: Circle, a: _Rim, b: _Rim) -> tuple[_Rim, bool] | None:
    """Find the first of the rim that a circle would cover, looking both ways; True if it is ahead."""
    ahead, behind = b.next, a.previous
    ahead_sum, behind_sum = b.circle.r, a.circle.r
    while True:
        if ahead_sum <= behind_sum:
            if _covers(ahead.circle, circle):
                return ahead, True
            ahead_sum += ahead.circle.r
            ahead = ahead.next
        else:
            if _covers(behind.circle, circle):
                return behind, False
            behind_sum += behind.circle.r
            behind = behind.previous
        if ahead is behind.next:
            return None


def _nearest(begin: _Rim) -> _Rim:
    """Find where on the rim the next circle would lie nearest to the middle."""
    best, least, node = begin, _distance(begin), begin.next
    while node is not begin:
        if (distance := _distance(node)) < least:
            best, least = node, distance
        node = node.next
    return best


def _distance(node: _Rim) -> float:
    a, b = node.circle, node.next.circle
    whole = a.r + b.r
    x, y = (a.x * b.r + b.x * a.r) / whole, (a.y * b.r + b.y * a.r) / whole
    return x * x + y * y


def _beside(b: Circle, a: Circle, radius: float) -> Circle:
    """Place a circle where it touches two others that touch each other."""
    dx, dy = b.x - a.x, b.y - a.y
    square = dx * dx + dy * dy
    if not square:
        return Circle(a.x + a.r + radius, a.y, radius)
    to_a, to_b = (a.r + radius) ** 2, (b.r + radius) ** 2
    if to_a > to_b:
        x = (square + to_b - to_a) / (2 * square)
        y = math.sqrt(max(0.0, to_b / square - x * x))
        return Circle(b.x - x * dx - y * dy, b.y - x * dy + y * dx, radius)
    x = (square + to_a - to_b) / (2 * square)
    y = math.sqrt(max(0.0, to_a / square - x * x))
    return Circle(a.x + x * dx - y * dy, a.y + x * dy + y * dx, radius)


def _covers(a: Circle, b: Circle) -> bool:
    reach = a.r + b.r - _TOUCH
    return reach > 0 and reach * reach > (a.x - b.x) ** 2 + (a.y - b.y) ** 2


def _centred(circles: Sequence[Circle]) -> list[Circle]:
    """Move all so that the middle of their bounds is 0, 0."""
    left, right = min(c.x - c.r for c in circles), max(c.x + c.r for c in circles)
    top, bottom = min(c.y - c.r for c in circles), max(c.y + c.r for c in circles)
    x, y = (left + right) / 2, (top + bottom) / 2
    return [Circle(c.x - x, c.y - y, c.r) for c in circles]


def around(circles: Sequence[Circle]) -> float:
    """Give the radius about 0, 0 within which all lie."""
    return max((math.hypot(c.x, c.y) + c.r for c in circles), default=0.0)
