"""Templates to HTML. The dashboard's only door to Jinja2.

Owns the environment: everything is escaped, and a name that is not there is an error. What templates may call stands
here and in `ui.html`; it must not read anything.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateNotFound
from markupsafe import Markup

from atoll.hub.dashboard import words
from atoll.hub.dashboard.ask import ROOT, link
from atoll.hub.dashboard.tones import tone

_HERE = Path(__file__).parent
STATIC = _HERE / "static"


@cache
def asset(path: str) -> str:
    """Give the URL of a file of `static/`, which changes with what is in it: a browser may keep it for ever."""
    digest = hashlib.sha256((STATIC / path).read_bytes()).hexdigest()[:12]
    return f"{ROOT}/static/{path}?v={digest}"


class Renderer:
    """Renders pages and their parts."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters.update(words.FILTERS)
        self._environment.filters.update(data=_data, tone=tone, soft=_soft)
        self._environment.globals.update(asset=asset, link=link, root=ROOT)
        self._environment.globals["ui"] = self._environment.get_template("ui.html").module

    def page(self, template: str, values: Mapping[str, Any]) -> str:
        """Render a whole page."""
        return self._environment.get_template(template).render(values)

    def part(self, template: str, block: str, values: Mapping[str, Any]) -> str | None:
        """Render one block of a page; None if the page has no such block."""
        try:
            found = self._environment.get_template(template)
        except TemplateNotFound:
            return None
        draw = found.blocks.get(block)
        if draw is None:
            return None
        return "".join(draw(found.new_context(dict(values))))


def _soft(name: str) -> Markup:
    """Let a name break after its dots, where a screen is narrow."""
    return Markup(".<wbr>").join(name.split("."))


def _data(value: Any) -> Markup:
    """Write a value as JSON into an attribute: data for a script, which the page's policy lets stand nowhere else."""
    return Markup.escape(json.dumps(value, separators=(",", ":")))
