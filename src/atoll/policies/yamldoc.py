"""YAML with the line of every field. Pure: text in, values out.

Reads what Kubernetes' YAML reader reads: no timestamps, no sexagesimal numbers, and a key given twice is an error
(Kubernetes would silently keep one of the two). It must not know what the documents mean.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from atoll.policies.validation.shapes import join, show

# A bundle comes from people outside: an alias bomb or a tower of brackets must end in a message, not in a dead hub.
_MOST_NODES = 200_000
_DEEPEST = 64


class _Loader(yaml.CSafeLoader):
    """The safe loader without the YAML 1.1 types that no Kubernetes client has."""


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    integer = re.compile(r"[-+]?(0|[1-9][0-9_]*)|0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]+")
    number = re.compile(r"[-+]?([0-9][0-9_]*)?\.[0-9_]+([eE][-+]?[0-9]+)?|[-+]?[0-9]+([eE][-+]?[0-9]+)|\.nan|\.inf")
    changed = {"tag:yaml.org,2002:int": integer, "tag:yaml.org,2002:float": number}
    result: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items():
        kept = [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        result[first] = [
            (tag, re.compile(rf"({changed[tag].pattern})$") if tag in changed else pattern) for tag, pattern in kept
        ]
    return result


_Loader.yaml_implicit_resolvers = _resolvers()


@dataclass(frozen=True)
class Document:
    """One YAML document: its value, and the line of each field path ("" is the document itself)."""

    value: object
    lines: Mapping[str, int]
    repeated_keys: tuple[str, ...] = ()


def line_of(lines: Mapping[str, int], path: str) -> int:
    """Give the line of a field, or of the nearest field around it that is written."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path, 1)


class YamlError(ValueError):
    """The text is no YAML that Kubernetes would read; `line` says where, `field` which field if known."""

    def __init__(self, line: int, message: str, field: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.message = message
        self.field = field


def read_documents(text: str) -> Iterator[Document | YamlError]:
    """Give each document of a file, or what is wrong with it. After broken syntax nothing more can be read."""
    try:
        _check_depth(text)
        yield from _compose(text)
    except YamlError as error:
        yield error
    except yaml.YAMLError as error:
        yield _syntax_error(error)


def _check_depth(text: str) -> None:
    """Refuse deep nesting while it is still a flat row of events: libyaml's composer recurses until the stack ends."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            mark = event.start_mark
            raise YamlError(mark.line + 1 if mark else 1, "the document is too large or too deep")


def _compose(text: str) -> Iterator[Document | YamlError]:
    loader = _Loader(text)
    try:
        while loader.check_node():
            yield from _read(loader, loader.get_node())
    finally:
        loader.dispose()


def _read(loader: _Loader, node: yaml.Node | None) -> Iterator[Document | YamlError]:
    reader = _Reader(loader)
    try:
        value = reader.value(node, "", 0) if node else None
    except YamlError as error:
        yield error
        return
    if value is not None:
        yield Document(value, reader.lines, tuple(reader.repeated))


def _syntax_error(error: yaml.YAMLError) -> YamlError:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
    return YamlError(mark.line + 1 if mark else 1, f"no valid YAML: {problem}")


@dataclass
class _Reader:
    """Turns nodes into plain values and remembers lines."""

    loader: _Loader
    lines: dict[str, int] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    nodes: int = 0

    def value(self, node: yaml.Node, path: str, depth: int) -> Any:
        line = node.start_mark.line + 1
        self.nodes += 1
        if self.nodes > _MOST_NODES or depth > _DEEPEST:
            raise YamlError(line, "the document is too large or too deep")
        self.lines.setdefault(path, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(node.value)]
        return self._scalar(node, path, line)

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        inherited: dict[str, Any] = {}
        for key, member in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise YamlError(line, "a key must be a plain word", path)
            if key.tag == "tag:yaml.org,2002:merge":
                inherited |= self._merged(member, path, depth + 1)
                continue
            inside = join(path, key.value)
            if key.value in result:
                self.repeated.append(inside)
            self.lines[inside] = line
            result[key.value] = self.value(member, inside, depth + 1)
        return {**inherited, **result}

    def _merged(self, node: yaml.Node, path: str, depth: int) -> dict[str, Any]:
        """Read what `<<` brings in; of several mappings the first that has a key wins."""
        value = self.value(node, path, depth)
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            raise YamlError(node.start_mark.line + 1, "<< takes a mapping or a list of mappings", path)
        return {key: member for source in reversed(sources) for key, member in source.items()}

    def _scalar(self, node: yaml.Node, path: str, line: int) -> Any:
        try:
            return self.loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            raise YamlError(
                line, f"{show(node.value)} cannot be read as {node.tag.rpartition(':')[2]}", path
            ) from error
