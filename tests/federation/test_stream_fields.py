"""A Stream says what is in its readings; what does not fit together is refused with the reason."""

from typing import Any

import pytest

from atoll.federation.resources.catalog import find
from atoll.federation.resources.validation import parse

JSON = {"format": "JSON"}


def stream(**spec: Any) -> dict[str, Any]:
    base = {"gateway": "lab", "topics": ["lab/+/data"], "dataset": "d.{date}", "home": "onprem"}
    metadata = {"name": "s", "namespace": "ns"}
    return {"apiVersion": "atoll.dev/v1alpha1", "kind": "Stream", "metadata": metadata, "spec": base | spec}


def problems_of(**spec: Any) -> str:
    kind = find("Stream")
    assert kind is not None
    return " ".join(f"{problem.field}: {problem.message}" for problem in parse(kind, stream(**spec))[1])


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"endOfRun": {"topic": "lab/end"}},
        {"endOfRun": {"retained": "lab/+/state", "equals": "idle"}},
        {"endOfRun": {"idle": "10m"}},
        {"payload": JSON, "endOfRun": {"field": "state", "equals": False}},
        {"payload": JSON, "endOfRun": {"topic": "lab/end", "field": "a[0].b", "equals": 3, "idle": "1h"}},
        {"payload": JSON, "time": {"from": "Payload", "field": "t", "unit": "Milliseconds", "maxBehind": "90d"}},
        {"time": {"from": "UserProperty", "field": "ts", "format": "%Y%m%d%H%M%S"}},
        {"dataset": "{topic[7]}", "topics": ["lab/#"]},
        {"dataset": "{topic[1]}.{run}", "run": {"topic": "lab/+/start"}},
        {"payload": JSON, "dataset": "x.{field[sample.id]}.{run}", "run": {"field": "run"}},
        {"payload": {"format": "SparkplugB", "requestRebirth": True}, "topics": ["spBv1.0/plant/+/press/#"]},
    ],
)
def test_what_fits_together_is_taken(spec: dict[str, Any]) -> None:
    assert problems_of(**spec) == ""


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"endOfRun": {}}, "name what ends a run"),
        ({"endOfRun": {"topic": "a", "retained": "b"}}, "exclude each other"),
        ({"endOfRun": {"field": "state"}, "payload": JSON}, "needs equals"),
        ({"endOfRun": {"equals": 1}}, "equals needs"),
        ({"endOfRun": {"field": "state", "equals": 1}}, "payload.format JSON"),
        ({"endOfRun": {"topic": "a/#/b"}}, "spec.endOfRun.topic"),
        ({"endOfRun": {"idle": "soon"}}, "spec.endOfRun.idle"),
        ({"time": {"from": "Payload", "field": "t"}}, "payload.format JSON"),
        ({"time": {"from": "Payload"}, "payload": JSON}, "time.field"),
        ({"time": {"from": "UserProperty"}}, "name of the property"),
        ({"time": {"from": "Payload", "field": "a..b"}, "payload": JSON}, "no field path from character 2"),
        ({"dataset": "{field[x]}"}, "payload.format JSON"),
        ({"dataset": "{field[a b]}", "payload": JSON}, "no field path"),
        ({"dataset": "{topic}"}, "spec.dataset"),
        ({"payload": {"format": "JSON", "requestRebirth": True}}, "requestRebirth"),
        ({"payload": {"format": "SparkplugB"}}, "spBv1.0/GROUP/+/NODE/#"),
        ({"payload": {"format": "SparkplugB"}, "topics": ["spBv1.0/plant/DDATA/press/#"]}, "all of a node's messages"),
        ({"topics": ["$share/g/lab/#"]}, "sharedGroup"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(spec: dict[str, Any], problem: str) -> None:
    assert problem in problems_of(**spec)
