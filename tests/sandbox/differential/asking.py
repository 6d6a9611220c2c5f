"""Requests as a table: what is asked, and the answer that Kubernetes' API conventions demand.

Owns the notation, how a story of requests is told to a server, and which parts of its answers can be compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

Json = dict[str, Any]

MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
STRATEGIC, APPLY = "application/strategic-merge-patch+json", "application/apply-patch+yaml"
TABLE = {"accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
PARTIAL = {"accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
PARTIAL_LIST = {"accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}

MAPS = "/api/v1/namespaces/{ns}/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/{ns}/deployments"
TELESCOPES = "/apis/sky.dev/v1/namespaces/{ns}/telescopes"

DIFFERENCES: Mapping[str, str] = {
    "plain-404": "A path outside of every group is answered with a Status; kube-apiserver writes a line of text.",
    "wrong-type": "A value of the wrong type is 422 with the field's path; kube-apiserver says 400 with Go's error.",
    "any-field": "Every field can be selected; kube-apiserver knows a few for each kind.",
    "json-only": "Answers are JSON or YAML; kube-apiserver can also write protobuf.",
    "columns": "Tables show the columns that the simulated kinds have; kube-apiserver's have more.",
    "discovery": "Discovery names what this server serves, not what every Kubernetes serves.",
    "schema-422": "Every rule of a custom resource's schema is one cause; kube-apiserver words and orders them apart.",
    "defaults": "The simulated kinds have the fields that clients use, not all of Kubernetes' defaults.",
}
"""What is meant to be unlike kube-apiserver, by the name that an Ask gives in `differs`."""


@dataclass(frozen=True)
class Ask:
    """One request, and what must come back: code, reason, the fields of the causes, and single values.

    `{ns}` and what earlier requests kept are filled into paths and bodies. `has` maps a dotted path (numbers index
    lists, `#` counts) to a value; `keep` maps a name to the dotted path of the value to remember. `differs` names the
    intended difference that keeps this answer from being compared with kube-apiserver's.
    """

    request: str
    code: int = 200
    reason: str = ""
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    causes: Mapping[str, str] = field(default_factory=dict)
    has: Mapping[str, Any] = field(default_factory=dict)
    keep: Mapping[str, str] = field(default_factory=dict)
    differs: str = ""


Story = Sequence[Ask]


def patch(kind: str, path: str, body: Any, **expected: Any) -> Ask:
    """Give a PATCH of one media type."""
    return Ask(f"PATCH {path}", body=body, headers={"content-type": kind}, **expected)


def config_map(name: str, **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def deployment(name: str, **spec: Any) -> Json:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "web:1"}]}}
    full = {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": full}


def telescope(name: str, **spec: Any) -> Json:
    spec = {"mirror": 8, **spec}
    return {"apiVersion": "sky.dev/v1", "kind": "Telescope", "metadata": {"name": name}, "spec": spec}


@dataclass(frozen=True)
class Answer:
    """What came back: a Status, an object, a list of watch events, or text."""

    ask: Ask
    code: int
    content: Any
    warnings: tuple[str, ...]

    @property
    def is_status(self) -> bool:
        return isinstance(self.content, dict) and self.content.get("kind") == "Status"

    @property
    def reason(self) -> str:
        return str(self.content.get("reason", "")) if self.is_status else ""

    @property
    def causes(self) -> dict[str, str]:
        """The reasons by field; causes without a field stand under an empty one."""
        details = self.content.get("details") or {} if self.is_status else {}
        return {cause.get("field", ""): cause["reason"] for cause in details.get("causes", ())}

    def at(self, path: str) -> Any:
        """Look up a dotted path; None where it leads nowhere."""
        if path == "warnings":
            return list(self.warnings)
        found: Any = self.content
        for step in re.split(r"(?<!\\)\.", path):
            name = step.replace("\\.", ".")
            if isinstance(found, list):
                found = len(found) if name == "#" else found[int(name)] if int(name) < len(found) else None
            else:
                found = found.get(name) if isinstance(found, dict) else None
        return found

    @property
    def fault(self) -> Json:
        """What a failure says that another server must say too: its details less uid, waiting time and wording."""
        details = (self.content.get("details") or {}) if self.is_status else {}
        named = {name: details[name] for name in ("name", "group", "kind") if details.get(name)}
        return {**named, "causes": self.causes} if self.causes else named

    def check(self) -> None:
        """Assert what the conventions demand."""
        ask, shown = self.ask, f"{self.ask.request}: {self.code} {json.dumps(self.content)[:600]}"
        assert self.code == ask.code, shown
        assert self.reason == ask.reason or not ask.reason, shown
        assert self.causes.items() >= ask.causes.items(), shown
        for path, wanted in ask.has.items():
            assert self.at(path) == wanted, f"{path} is {self.at(path)!r}, not {wanted!r}: {shown}"


async def tell(story: Story, http: httpx.AsyncClient, namespace: str) -> list[Answer]:
    """Ask one request after the other in a namespace of the story's own."""
    known = {"ns": namespace}
    answers = []
    for ask in story:
        answer = await _answer(ask, http, known)
        known |= {name: str(answer.at(path)) for name, path in ask.keep.items()}
        answers.append(answer)
    return answers


async def _answer(ask: Ask, http: httpx.AsyncClient, known: Mapping[str, str]) -> Answer:
    method, path = _filled(ask.request, known).split(" ", 1)
    headers = {"user-agent": "differential/1", **ask.headers}
    content = None
    if ask.body is not None:
        body = _filled(ask.body, known)
        content = body if isinstance(body, str) else json.dumps(body)
        headers.setdefault("content-type", "application/json")
    response = await http.request(method, path, content=content, headers=headers)
    warnings = tuple(response.headers.get_list("warning"))
    return Answer(ask, response.status_code, _content(response.text), warnings)


def _content(text: str) -> Any:
    try:
        lines = [json.loads(line) for line in text.splitlines()] if text.startswith('{"type":') else json.loads(text)
    except ValueError:
        return text
    return [event for event in lines if not _is_progress(event)] if isinstance(lines, list) else lines


def _is_progress(event: Json) -> bool:
    """Say whether an event is a bookmark that came because time went by."""
    return event["type"] == "BOOKMARK" and not event["object"]["metadata"].get("annotations")


def _filled(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda found: known.get(found[1], found[0]), value)
    if isinstance(value, dict):
        return {_filled(name, known): _filled(inner, known) for name, inner in value.items()}
    return [_filled(inner, known) for inner in value] if isinstance(value, list) else value


# What two servers can never have in common, or two runs on one server.
_MASKED = frozenset(
    {"uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "time", "continue", "generatedName"}
)


def comparable(value: Any, namespace: str) -> Any:
    """Mask what differs from run to run: uids, versions, instants, tokens, generated names, the story's namespace."""
    if isinstance(value, str):
        without_uids = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UID", value.replace(namespace, "NS"))
        return re.sub(r"\b\d{1,12}\b", "N", without_uids)
    if isinstance(value, list):
        return [comparable(item, namespace) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("generateName"):
        value = {**value, "name": "generated"}
    return {
        comparable(name, namespace): name if name in _MASKED else comparable(inner, namespace)
        for name, inner in value.items()
    }
