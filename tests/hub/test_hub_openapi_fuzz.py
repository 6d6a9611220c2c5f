"""Requests made of the hub's OpenAPI document, valid or not: each gets an answer, and none is a mistake of the hub."""

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from atoll.federation.resources import KINDS
from hub.support import API, LAB, HubClient, job_spec, manifest

# A watch answers until its client goes; those are fuzzed by tests of watches.
_ENDLESS = {"watch"}
_SECONDS = 30
# Of each operation, valid and invalid ones each.
EXAMPLES = int(os.environ.get("ATOLL_EXAMPLES", "4"))
# An object of each kind, so that some requests meet one: else all of them would end where names are looked up.
TARGET = "target"
SPECS: Mapping[str, Mapping[str, Any]] = {
    "Job": job_spec(),
    "Run": {"job": TARGET, "cluster": TARGET, "epoch": 1},
    "Transfer": {"dataset": TARGET, "version": 1, "source": TARGET, "destination": "b"},
    "Stream": {"gateway": TARGET, "topics": ["a/#"], "dataset": "{topic[0]}", "home": TARGET},
    "Trigger": {"job": {"name": "of-{dataset}", "spec": job_spec()}},
    "Reservation": {
        "queue": "lab", "starts": "2036-12-01T08:00:00Z", "ends": "2036-12-01T12:00:00Z", "amounts": {"gpus": 8}
    },
    "PolicySet": {"source": {"repository": "/nowhere"}},
    "RoleBinding": {"role": "Viewer", "subjects": [{"kind": "User", "name": "ada"}]},
}  # fmt: skip
_NEW_NAMES = itertools.count()
Case = schemathesis.Case


class Fuzzing:
    """Requests of one document's operations, sent from a thread; what was answered, by method, status and aim."""

    def __init__(self, hub: HubClient) -> None:
        self._hub, self._loop = hub, asyncio.get_running_loop()
        self.answers: Counter[tuple[str, int, bool]] = Counter()

    def feed(self, cases: st.SearchStrategy[Case]) -> None:
        """Send some of an operation's requests, about half of them aimed at what is there."""

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            phases=(Phase.generate,),
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(cases, st.booleans())
        def send(case: Case, is_aimed: bool) -> None:
            if is_aimed:
                aim(case)
            wanted = case.as_transport_kwargs(base_url=self._hub.url)
            wanted["params"] = {k: v for k, v in (wanted.get("params") or {}).items() if k not in _ENDLESS}
            future = asyncio.run_coroutine_threadsafe(ask(self._hub.http, wanted), self._loop)
            answer = future.result(_SECONDS)
            self.answers[case.method.upper(), answer.status_code, is_aimed] += 1
            assert answer.status_code < 500, f"{wanted}: {answer.text}"

        send()

    def statuses(self, *methods: str) -> set[int]:
        """Give which statuses some methods were answered with."""
        return {status for method, status, _ in self.answers if method in methods}


def operations(document: dict[str, Any]) -> list[schemathesis.schemas.APIOperation[Any, Any, Any, Any]]:
    """Give every operation of a document; one that schemathesis cannot read is an error."""
    found = list(schemathesis.openapi.from_dict(document).get_all_operations())
    assert all(isinstance(each, Ok) for each in found)
    return [each.ok() for each in found]


def aim(case: Case) -> None:
    """Make a request meet the object that is there, and get as far as its content allows."""
    there = {"name": TARGET, "namespace": LAB}
    case.path_parameters = {key: there.get(key, value) for key, value in (case.path_parameters or {}).items()}
    case.query = {}
    if isinstance(case.body, dict):
        name = f"new-{next(_NEW_NAMES)}" if case.method.upper() == "POST" else TARGET
        kept = {key: value for key, value in case.body.items() if key not in ("apiVersion", "kind")}
        case.body = {**kept, "metadata": {"name": name}}


async def place_targets(http: httpx.AsyncClient) -> None:
    """Put an object of each kind where it has been deleted, and before there was any."""
    for kind in KINDS:
        namespace = LAB if kind.namespaced else None
        path = f"{API}/namespaces/{namespace}/{kind.plural}" if namespace else f"{API}/{kind.plural}"
        await http.post(path, json=manifest(kind.name, TARGET, SPECS.get(kind.name), namespace))


@pytest.mark.campaign
@pytest.mark.timeout(3600)
# The hub beside it draws delays at random meanwhile, which Hypothesis takes for the strategies' doing.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.parametrize("group", ["atoll.dev/v1alpha1", "v1"])
async def test_no_request_is_answered_by_a_mistake_of_the_hub(
    hub: HubClient, group: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every operation that the document names, with bodies and parameters as it says and as it does not."""
    path = "/openapi/v3/api/v1" if group == "v1" else f"/openapi/v3/apis/{group}"
    fuzzing = Fuzzing(hub)
    for operation in operations(await hub.get(path)):
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            await place_targets(hub.http)
            await asyncio.to_thread(fuzzing.feed, operation.as_strategy(generation_mode=mode))
    assert {200, 404} <= fuzzing.statuses("GET"), fuzzing.answers
    assert {400, 422} & fuzzing.statuses("POST", "PUT", "PATCH"), fuzzing.answers
    if group != "v1":
        assert 201 in fuzzing.statuses("POST") and 200 in fuzzing.statuses("PUT"), fuzzing.answers
        assert 200 in fuzzing.statuses("PATCH"), fuzzing.answers
    written = capfd.readouterr()
    assert "Traceback" not in written.out + written.err, f"what the API had taken made the hub fail: {written.out}"


async def ask(http: httpx.AsyncClient, wanted: dict[str, Any]) -> httpx.Response:
    """Send what schemathesis made for `requests`."""
    return await http.request(
        wanted["method"], wanted["url"], params=wanted["params"], headers=dict(wanted.get("headers") or {}),
        **({"json": wanted["json"]} if "json" in wanted else {"content": wanted.get("data")}),
    )  # fmt: skip
