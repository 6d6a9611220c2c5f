"""What a browser asks for: who, where, with which filters, and when. A value; pure.

Owns the reading of the query, and the URLs that lead on from it: filters stand in the URL and nowhere else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote, urlencode

from atoll.hub.dashboard.rights import Rights

ROOT = "/dashboard"
FRAGMENT = "part"
_LONGEST_FILTER = 256


@dataclass(frozen=True)
class Ask:
    """One request for a page."""

    path: str
    rights: Rights
    now: datetime
    query: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    csrf: str = ""
    credential: str = field(default="", repr=False)

    def text(self, name: str) -> str:
        """Give a filter, or an empty string."""
        return self.query.get(name, "").strip()[:_LONGEST_FILTER]

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """Give a filter that has few values; the first if it is none of them."""
        value = self.text(name)
        return value if value in allowed else allowed[0]

    def number(self, name: str, default: int = 1, *, most: int = 1_000_000) -> int:
        """Give a number, 1 or more; the default where none is written."""
        value = self.text(name)
        return max(1, min(int(value), most)) if value.isascii() and value.isdigit() and len(value) < 10 else default

    def url(self, **changes: str | int | None) -> str:
        """Give this page's URL with other filters; None and an empty one take a filter out. A new filter is page 1."""
        kept = {name: value for name, value in self.query.items() if name not in (FRAGMENT, "page")}
        if "page" not in changes and not changes and "page" in self.query:
            kept["page"] = self.query["page"]
        for name, value in changes.items():
            if value is None or value == "":
                kept.pop(name, None)
            else:
                kept[name] = str(value)
        return f"{self.path}?{urlencode(kept)}" if kept else self.path

    def part(self, block: str) -> str:
        """Give the URL of one part of this page, as it is drawn anew when something changed."""
        return self.url(**{FRAGMENT: block}, page=self.query.get("page"))


def link(*steps: str, **query: str) -> str:
    """Give the URL of a page below the dashboard: `link("jobs", namespace, name)`."""
    path = "/".join((ROOT, *(quote(step, safe="") for step in steps)))
    given = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(given)}" if given else path
