"""What `describe` prints: one object's fields in reading order, its conditions as a table, its events."""

from typing import Any

from atoll.cli.api import Api, Json
from atoll.cli.describing_cluster import describe_cluster
from atoll.cli.gateways import print_gateway
from atoll.cli.kinds import EVENTS
from atoll.cli.listing import Query
from atoll.cli.output import say, to_yaml
from atoll.cli.tables import print_table
from atoll.federation.errors import NotFound
from atoll.federation.resources import Cluster, Gateway
from atoll.federation.tasks import Tasks

# Bookkeeping of the API machinery that says nothing to a person.
_HIDDEN = frozenset({"managedFields", "uid", "resourceVersion", "selfLink", "name", "namespace"})
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"  # the manifest once more, as kubectl hides it, too


def describe(api: Api, query: Query) -> None:
    """Print one object in full."""
    found = api.get(query.object_path)
    metadata, spec, status = found["metadata"], dict(found.get("spec") or {}), dict(found.get("status") or {})
    conditions = status.pop("conditions", [])
    decided = spec.pop("decision", None) or status.pop("decision", None)
    say(f"Name:       {metadata['name']}")
    if metadata.get("namespace"):
        say(f"Namespace:  {metadata['namespace']}")
    _section("Metadata", _shown(metadata))
    _section("Spec", spec)
    if found["kind"] == "Cluster":
        describe_cluster(Cluster.model_validate(found))
    elif found["kind"] == "Gateway":
        print_gateway(Gateway.model_validate(found))
    else:
        _section("Status", _with_short_lists(status))
    if decided:
        say(f"Decision:   see 'atoll job explain {spec.get('job', metadata['name'])} -n {metadata['namespace']}'")
    if conditions:
        say("Conditions:")
        headers = ("  TYPE", "STATUS", "REASON", "SINCE", "MESSAGE")
        print_table(headers, [_condition(condition) for condition in conditions])
    _print_events(api, found)


def _shown(metadata: Json) -> Json:
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != _LAST_APPLIED}
    kept = {key: value for key, value in metadata.items() if key not in _HIDDEN and key != "annotations"}
    return {**kept, "annotations": annotations} if annotations else kept


def _with_short_lists(status: Json) -> Json:
    """Shorten the numbers of tasks, of which there may be a hundred thousand; -o json has them all."""
    array = status.get("array")
    if not isinstance(array, dict):
        return status
    short = {key: Tasks.parse(str(array[key])).shown() for key in ("succeededTasks", "failedTasks") if array.get(key)}
    return {**status, "array": {**array, **short}}


def _section(title: str, content: Any) -> None:
    if content:
        say(f"{title}:")
        for line in to_yaml(content).rstrip().splitlines():
            say(f"  {line}")


def _condition(condition: Json) -> list[str]:
    fields = ("type", "status", "reason", "lastTransitionTime", "message")
    kind, *rest = (str(condition.get(field) or "") for field in fields)
    return [f"  {kind}", *rest]


def _print_events(api: Api, found: Json) -> None:
    metadata = found["metadata"]
    selector = f"involvedObject.kind={found['kind']},involvedObject.name={metadata['name']}"
    try:
        events = api.get(EVENTS.collection(metadata.get("namespace")), {"fieldSelector": selector}).get("items", [])
    except NotFound:
        return
    if events:
        say("Events:")
        rows = [[f"  {_when(event)}", event.get("reason", ""), event.get("message", "")] for event in events]
        print_table(("  WHEN", "REASON", "MESSAGE"), sorted(rows))


def _when(event: Json) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")
