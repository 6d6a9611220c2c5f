"""The name of the dataset that a reading goes into: a template's placeholders, made to fit a name. Pure.

Owns which source has a name: where the values of two instruments (`Bench 4` and `bench-4`) make the same name, the
first has it and the other's readings are refused, since their data would be mixed for good.
"""

import json
import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import NamedTuple

from atoll.edge.gateway.memory import Memory, StreamKey
from atoll.federation.resources.dataset_template import TIMES, Placeholder, Template

# Values that are known per Stream, the newest kept: enough for the instruments of a lab and the runs of a year.
KNOWN_NAMES = 2_000
_KIND = "name"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 253
# Runs and fields of which nothing is left: a reading is never without a place because of what somebody typed.
_WITHOUT_A_VALUE = {"run": "none", "field": "none"}
_FORMATS = {"date": "%Y-%m-%d", "year": "%Y", "month": "%Y-%m", "hour": "%Y-%m-%d-%H"}


class NameRefused(Exception):
    """A reading has no dataset to go into; the text says why."""


class Named(NamedTuple):
    """A dataset's name, and what of the source made it."""

    dataset: str
    key: str
    source: tuple[str, ...]


class _Holder(NamedTuple):
    """Who has a name, and the template that gave it."""

    template: str
    source: tuple[str, ...]


def slug(text: str) -> str:
    """Give the part of a name that a value becomes: lower case, one `-` for everything that no name may have."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def resolve(template: Template, at_ns: int, value_of: Callable[[Placeholder], str]) -> Named | None:
    """Fill a template; None if the result is no valid name, as with a topic level that is absent or empty.

    Args:
        template: as parsed.
        at_ns: the reading's time.
        value_of: gives a placeholder's value as the instrument wrote it.
    """
    parts, key, source = [], [], []
    at = datetime.fromtimestamp(at_ns // 1_000_000_000, UTC)
    for part in template:
        if isinstance(part, str):
            parts.append(part)
            key.append(part)
        elif part.kind in TIMES:
            parts.append(at.strftime(_FORMATS[part.kind]))
            key.append("{}")
        else:
            said = value_of(part)
            parts.append(slug(said) or _WITHOUT_A_VALUE.get(part.kind, ""))
            key.append(parts[-1])
            source.append(said)
    name = "".join(parts)
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        return None
    return Named(name, "".join(key), tuple(source))


def why_unnamed(template: Template, value_of: Callable[[Placeholder], str]) -> str:
    """Say why `resolve` gave no name."""
    levels = (part for part in template if not isinstance(part, str) and part.kind == "topic")
    missing = next((part.index for part in levels if not slug(value_of(part))), None)
    if missing is not None:
        return f"the topic has nothing for {{topic[{missing}]}}; its levels count from 0"
    return f"it is longer than {_LONGEST_NAME} letters, or two dots meet"


class Names:
    """Which source each name of each Stream belongs to; it outlives a restart, but no other template."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._holders: dict[StreamKey, dict[str, _Holder]] = {}
        for stream, key, value in memory.facts(_KIND):
            template, source = json.loads(value)
            self._holders.setdefault(stream, {})[key] = _Holder(template, tuple(source))

    def keep_only(self, streams: Collection[StreamKey]) -> None:
        """Free the names of Streams that are no more."""
        for stream in self._holders.keys() - set(streams):
            for key in self._holders.pop(stream):
                self._memory.drop(_KIND, stream, key)

    def claim(self, stream: StreamKey, named: Named, template: str) -> None:
        """Take a name for its source.

        Raises:
            NameRefused: another source of the Stream has it, by the same template.
        """
        known = self._holders.setdefault(stream, {})
        holder, wanted = known.get(named.key), _Holder(template, named.source)
        if holder == wanted:
            return
        if holder is not None and holder.template == template:
            raise NameRefused(
                f"{' '.join(map(repr, named.source))} would share the dataset name {named.dataset} with "
                f"{' '.join(map(repr, holder.source))}: rename one of them, or make the template tell them apart"
            )
        known[named.key] = wanted
        self._memory.keep(_KIND, stream, named.key, json.dumps(wanted))
        if len(known) > KNOWN_NAMES:
            oldest = next(iter(known))
            del known[oldest]
            self._memory.drop(_KIND, stream, oldest)
