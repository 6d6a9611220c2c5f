"""What a page is: where it stands, what it reads, and how that becomes a view model and a template.

Owns the contract that every page module keeps, and nothing of any page.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from atoll.hub.dashboard.ask import Ask
from atoll.hub.dashboard.sources import Sources


class NoSuchThing(Exception):
    """What a page is about does not exist, or is not for this user to see. `command` lists what there is."""

    def __init__(self, what: str, command: str = "") -> None:
        super().__init__(what)
        self.what, self.command = what, command


@dataclass(frozen=True)
class Page:
    """One page: `fetch` reads (its only I/O), `view` turns what was read into what the template shows; pure.

    `path` is below `/dashboard` and may have parameters (`/jobs/{namespace}/{name}`), found in `ask.params`. `template`
    extends `base.html`; each of its live parts is a block, which is also what a live update renders. `watches` are the
    topics on which parts of it are drawn anew: plurals of kinds. `nav` is its word in the navigation, if it has one.
    """

    name: str
    path: str
    title: str
    template: str
    fetch: Callable[[Sources, Ask], Awaitable[Any]]
    view: Callable[[Any, Ask], Any]
    watches: tuple[str, ...] = ()
    nav: str = ""
    parent: str = ""
    """The page whose word in the navigation is lit, for pages that have none of their own."""
