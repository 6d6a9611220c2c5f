"""Fields that a body states twice: readers keep the last and never tell, and the writer meant something else.

Owns finding them, in JSON and in YAML; what is done about them is the caller's. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import orjson
import yaml

_SPACE = b" \t\r\n"
_ESCAPED = (b"\\u0022", b"\\u003a", b"\\u003A")  # a quote and a colon in disguise


def in_json(raw: bytes, value: Any) -> list[str]:
    """Return the paths of the fields that are stated twice in JSON, which `value` was read from."""
    return [] if _is_surely_free(raw, value) else list(_repeated(json.loads(raw, object_pairs_hook=_Pairs), ""))


def _is_surely_free(raw: bytes, value: Any) -> bool:
    """Say whether there are as many fields in the value as in the bytes: a sixth of the cost of reading it again.

    Every field, and every quote in a text with a colon after it, shows as `":` on both sides. What a reader drops
    shows in the bytes only.
    """
    if any(escape in raw for escape in _ESCAPED):
        return False
    try:
        written = orjson.dumps(value)
    except TypeError:  # it reads deeper than it writes
        return False
    return raw.translate(None, _SPACE).count(b'":') == written.count(b'":')


class _Pairs(list[tuple[str, Any]]):
    """The fields of an object as they are written."""


def _repeated(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for name, inner in value:
            at = f"{path}.{name}" if path else name
            if name in seen:
                yield at
            seen.add(name)
            yield from _repeated(inner, at)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _repeated(inner, f"{path}[{index}]")


def in_node(node: yaml.Node | None, path: str = "") -> Iterator[str]:
    """Yield the same for a document of YAML, and what is in it."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, inner in node.value:
            at = f"{path}.{key.value}" if path else str(key.value)
            if str(key.value) in seen:
                yield at
            seen.add(str(key.value))
            yield from in_node(inner, at)
    elif isinstance(node, yaml.SequenceNode):
        for index, inner in enumerate(node.value):
            yield from in_node(inner, f"{path}[{index}]")
