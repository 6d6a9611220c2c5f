"""The text of one kubeconfig file: its named entries read, put, dropped. Pure.

Works on YAML's nodes, not on values: what belongs to others is written back as it was read, fields and types that we do
not know included. Comments are lost, as with kubectl.
"""

from typing import Any

import yaml
from yaml.constructor import BaseConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from atoll.federation.errors import InvalidInput

LISTS = ("clusters", "users", "contexts")
_NULL = "tag:yaml.org,2002:null"


class KubeconfigText:
    """One file's content."""

    def __init__(self, text: str) -> None:
        """Parse it.

        Raises:
            InvalidInput: it is no kubeconfig; the message says where and why.
        """
        try:
            found = yaml.compose(text, yaml.SafeLoader)
            if found is None or found.tag == _NULL:
                found = _node({"apiVersion": "v1", "kind": "Config"})
            _constructed(found)
        except yaml.YAMLError as error:
            raise InvalidInput(_syntax(error)) from error
        except RecursionError:
            raise InvalidInput("is nested too deeply for a kubeconfig") from None
        if not isinstance(found, MappingNode):
            raise InvalidInput(f"line {_line(found)}: should be a mapping with clusters, users and contexts")
        self._root = found
        for name in LISTS:
            self._entries(name)

    def values(self) -> dict[str, Any]:
        """Give all of it as plain values; every scalar is a string, as written."""
        values: dict[str, Any] = _constructed(self._root)
        return {**values, **{kind: [_constructed(node) for node in self._entries(kind)] for kind in LISTS}}

    def put(self, kind: str, entry: dict[str, Any]) -> None:
        """Put a named entry into a list, in the place of one with the same name."""
        made = _node(entry)
        entries = self._entries(kind)
        for index, node in enumerate(entries):
            if _text_of(node, "name") == entry["name"]:
                entries[index] = made
                break
        else:
            entries.append(made)
        self._set(kind, SequenceNode("tag:yaml.org,2002:seq", entries, flow_style=False))

    def drop(self, kind: str, name: str) -> None:
        """Take a named entry out of a list."""
        left = [node for node in self._entries(kind) if _text_of(node, "name") != name]
        self._set(kind, SequenceNode("tag:yaml.org,2002:seq", left, flow_style=False if left else None))

    def use(self, context: str) -> None:
        """Make a context the current one."""
        self._set("current-context", _node(context))

    def text(self) -> str:
        """Write it."""
        return str(yaml.serialize(self._root, Dumper=yaml.SafeDumper, width=2**31, allow_unicode=True))

    def _entries(self, kind: str) -> list[Node]:
        found = next((value for key, value in self._root.value if key.value == kind), None)
        if found is None or found.tag == _NULL:
            return []
        if not isinstance(found, SequenceNode):
            raise InvalidInput(f"line {_line(found)}: {kind} should be a list")
        for node in found.value:
            if not isinstance(node, MappingNode) or not _text_of(node, "name"):
                raise InvalidInput(f"line {_line(node)}: {kind} should hold mappings with a name")
        return list(found.value)

    def _set(self, key: str, value: Node) -> None:
        for index, (known, _) in enumerate(self._root.value):
            if known.value == key:
                self._root.value[index] = (known, value)
                return
        self._root.value.append((_node(key), value))


class _Strings(BaseConstructor):
    """Makes every scalar a string as it is written, and null an empty one."""


_Strings.add_constructor(_NULL, lambda _loader, _node: "")


def _constructed(node: Node) -> Any:
    return _Strings().construct_document(node)


def _node(value: object) -> Node:
    made = yaml.compose(yaml.safe_dump(value, sort_keys=False, width=2**31), yaml.SafeLoader)
    assert made is not None
    return made


def _text_of(node: Node, key: str) -> str:
    pairs = node.value if isinstance(node, MappingNode) else []
    return next((value.value for name, value in pairs if name.value == key and isinstance(value, ScalarNode)), "")


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _syntax(error: yaml.YAMLError) -> str:
    if not isinstance(error, yaml.MarkedYAMLError):
        return f"is no YAML: {str(error).splitlines()[0]}"
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}: " if mark else ""
    return f"{where}is no YAML: {', '.join(filter(None, (error.context, error.problem)))}"
