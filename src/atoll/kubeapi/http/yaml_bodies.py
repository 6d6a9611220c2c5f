"""YAML that others wrote: read as Kubernetes reads it, no deeper and no larger than it may be.

Owns the loader and these bounds: the library's own recursion in C ends in a crash, and aliases can stand for more than
any memory holds.
"""

from __future__ import annotations

import math
import re
from typing import Any

import orjson
import yaml

from atoll.kubeapi.errors import BadRequest
from atoll.kubeapi.http import duplicates

_MAX_DEPTH = 250  # orjson writes no deeper; some ten thousand levels overflow the stack of PyYAML's composer


# Without dates, which JSON has not, and without 12:30 for 750, which no Kubernetes client reads so.
_TYPES = {
    "tag:yaml.org,2002:int": re.compile(r"^(?:[-+]?(?:0|[1-9][0-9_]*)|0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]+)\Z"),
    "tag:yaml.org,2002:float": re.compile(
        r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?\Z|^[-+]?[0-9]+[eE][-+]?[0-9]+\Z"
    ),
}


class _Loader(yaml.CSafeLoader):
    """Reads values as the YAML libraries of Kubernetes' clients do."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, _TYPES.get(tag, pattern)) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(body: bytes, *, max_bytes: int) -> Any:
    """Return the value of a document. Raises BadRequest, also if it is too large once its aliases are resolved."""
    try:
        _check_depth(body)
        return orjson.loads(orjson.dumps(_constructed(body, max_bytes)))
    except (yaml.YAMLError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise BadRequest(f"the object provided is unrecognized: it is not YAML: {text}") from None


def _constructed(body: bytes, max_bytes: int) -> Any:
    loader = _Loader(body)
    try:
        node = loader.get_single_node()
        if _size(node, {}) > max_bytes:
            raise BadRequest(f"the body of the request is too large with its aliases: at most {max_bytes} bytes")
        return loader.construct_document(node) if node is not None else None
    finally:
        loader.dispose()


def repeated_in_yaml(body: bytes) -> list[str]:
    """Return the paths of the fields that a document states twice; read_yaml() has taken it already."""
    return list(duplicates.in_node(yaml.compose(body, Loader=_Loader)))


def _check_depth(body: bytes) -> None:
    depth = 0
    for event in yaml.parse(body, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise BadRequest("the object is nested too deeply")


def _size(node: yaml.Node | None, known: dict[int, float]) -> float:
    """Return about how many bytes a node is when it is written out; one that contains itself has no end."""
    if id(node) not in known:
        known[id(node)] = math.inf
        if isinstance(node, yaml.MappingNode):
            below = [each for pair in node.value for each in pair]
        else:
            below = node.value if isinstance(node, yaml.SequenceNode) else []
        own = len(node.value) if isinstance(node, yaml.ScalarNode) else 0
        known[id(node)] = 1 + own + sum(_size(each, known) for each in below)
    return known[id(node)]
