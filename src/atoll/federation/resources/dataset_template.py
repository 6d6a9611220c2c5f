"""Templates of dataset names: literal text with placeholders. Pure.

Owns their syntax. What a placeholder's value is, and how a value becomes a part of a name, is the gateway's to say.

    {date} {year} {month} {hour}   of the reading's time, in UTC: 2026-11-22, 2026, 2026-11, 2026-11-22-08
    {stream}                       the Stream's name
    {topic[N]}                     a level of the topic, from 0
    {field[a.b[0].c]}              a field of the payload
    {run}                          the run that the reading belongs to
    {file} {path[N]}               of a file: its name without suffix, a level of its folder
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast

from atoll.federation.payloads.paths import InvalidPath, Steps, parse_path

PlaceholderKind = Literal["date", "year", "month", "hour", "stream", "topic", "field", "run", "file", "path"]
_PLACEHOLDER = re.compile(
    r"\{(?:(date|year|month|hour|stream|run|file)|(topic|path)\[(\d{1,3})\]|field\[(.+?)\])\}(?![^{]*\]\})"
)
_PARTS_OF_NAMES = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
TIMES = frozenset({"date", "year", "month", "hour"})
_KEPT_TEMPLATES = 512
# Room for a name's 253 letters and a few field paths; the pattern above takes the square of the time.
_LONGEST_TEMPLATE = 2048


@dataclass(frozen=True)
class Placeholder:
    """What stands in a template for a value; `index` is of a topic or path level, `steps` of a field."""

    kind: PlaceholderKind
    index: int = 0
    steps: Steps = ()


Template = tuple[str | Placeholder, ...]


@lru_cache(maxsize=_KEPT_TEMPLATES)
def parse_template(text: str) -> Template:
    """Read a template.

    Raises:
        ValueError: what it makes can be no DNS-1123 subdomain, or a field path is none.
    """
    if len(text) > _LONGEST_TEMPLATE:
        raise ValueError(f"a dataset template has at most {_LONGEST_TEMPLATE} letters")
    parts: list[str | Placeholder] = []
    at = 0
    for match in _PLACEHOLDER.finditer(text):
        parts += [text[at : match.start()], _placeholder(match)]
        at = match.end()
    parts.append(text[at:])
    sample = "".join(part if isinstance(part, str) else "x" for part in parts)
    if not _PARTS_OF_NAMES.fullmatch(sample) or ".." in sample:
        raise ValueError(
            "a dataset template is a DNS-1123 subdomain with {date}, {year}, {month}, {hour}, {stream}, {topic[N]}, "
            "{field[PATH]}, {run}, or of files {file} and {path[N]}, in it"
        )
    return tuple(part for part in parts if part)


def _placeholder(match: re.Match[str]) -> Placeholder:
    simple, indexed, index, path = match.groups()
    if path is not None:
        try:
            return Placeholder("field", steps=parse_path(path))
        except InvalidPath as error:
            raise ValueError(f"{{field[{path[:80]}]}}: {error}") from error
    if indexed:
        return Placeholder(cast(PlaceholderKind, indexed), int(index))
    return Placeholder(cast(PlaceholderKind, simple))


def uses(template: Template, *kinds: str) -> bool:
    """Tell whether a template has a placeholder of one of these kinds."""
    return any(isinstance(part, Placeholder) and part.kind in kinds for part in template)


def topic_levels(template: Template) -> tuple[int, ...]:
    """Give the topic levels that a template uses, in its order."""
    return tuple(part.index for part in template if isinstance(part, Placeholder) and part.kind == "topic")
