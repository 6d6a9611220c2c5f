"""Events are taken from recorders that write protobuf, by the hub's kind and by a simulated cluster's."""

import httpx
import pytest

from atoll.hub.kinds import event_type
from atoll.kubeapi.http import create_app
from atoll.kubeapi.resource import Registry, ResourceType
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from atoll.sandbox.kinds.core import EVENT as SANDBOX_EVENT
from kubeapi.conftest import VERSION, serving
from kubeapi.test_kubeapi_protobuf import part

_NOON = 1_795_348_800


def _instant(nanos: int = 0) -> bytes:
    return part(1, _NOON) + (part(2, nanos) if nanos else b"")


def _event() -> bytes:
    """Return what client-go's recorder sends of one event; fields that are no pointers it writes even if empty."""
    about = part(1, "Job") + part(2, "lab") + part(3, "picks") + part(4, "u-1") + part(5, "batch/v1") + part(6, "")
    raw = part(1, part(1, "picks.17") + part(3, "lab") + part(8, b"")) + part(2, about)
    raw += part(3, "Started") + part(4, "It runs: é") + part(5, part(1, "controller") + part(2, ""))
    raw += part(6, _instant()) + part(7, _instant()) + part(8, 3) + part(9, "Normal")
    raw += part(10, _instant(123_456_000)) + part(11, part(1, 2) + part(2, _instant(5_000)))
    raw += part(12, "Start") + part(13, part(1, "Node") + part(3, "n1")) + part(14, "controller") + part(15, "c-0")
    envelope = part(1, part(1, "v1") + part(2, "Event")) + part(2, raw) + part(3, "") + part(4, "")
    return b"k8s\x00" + envelope


@pytest.mark.parametrize("kind", [event_type(), SANDBOX_EVENT], ids=["hub", "sandbox"])
async def test_an_event_in_protobuf_is_stored_as_the_same_in_json(kind: ResourceType) -> None:
    registry = Registry()
    registry.register(kind)
    store = Store(registry, MemoryStorage())
    await store.start()
    headers = {"content-type": "application/vnd.kubernetes.protobuf", "accept": "application/json"}
    async with serving(create_app(store, registry, version=VERSION), store) as url:
        async with httpx.AsyncClient(base_url=url) as http:
            answer = await http.post("/api/v1/namespaces/lab/events", content=_event(), headers=headers)
            listed = (await http.get("/api/v1/events?fieldSelector=involvedObject.name=picks")).json()["items"]
    assert answer.status_code == 201, answer.text
    assert listed == [answer.json()]
    kept = {name: value for name, value in listed[0].items() if name != "metadata"}
    assert kept == {
        "apiVersion": "v1",
        "kind": "Event",
        "involvedObject": {
            "kind": "Job", "namespace": "lab", "name": "picks", "uid": "u-1", "apiVersion": "batch/v1"
        },
        "reason": "Started",
        "message": "It runs: é",
        "source": {"component": "controller"},
        "firstTimestamp": "2026-11-22T12:00:00Z",
        "lastTimestamp": "2026-11-22T12:00:00Z",
        "count": 3,
        "type": "Normal",
        "eventTime": "2026-11-22T12:00:00.123456Z",
        "series": {"count": 2, "lastObservedTime": "2026-11-22T12:00:00.000005Z"},
        "action": "Start",
        "related": {"kind": "Node", "name": "n1"},
        "reportingComponent": "controller",
        "reportingInstance": "c-0",
    }  # fmt: skip
