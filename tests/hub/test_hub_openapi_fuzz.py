"""Requests made of the hub's OpenAPI document, valid or not: each gets an answer, and none is a mistake of the hub."""

import asyncio
import os
from collections import Counter
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from hub.support import HubClient

# A watch answers until its client goes; those are fuzzed by tests of watches.
_ENDLESS = {"watch"}
_SECONDS = 30
# Of each operation, valid and invalid ones each.
EXAMPLES = int(os.environ.get("ATOLL_EXAMPLES", "4"))


def calls(document: dict[str, Any]) -> list[st.SearchStrategy[schemathesis.Case]]:
    """Give for each operation what makes requests of it, half of them against its schema."""
    schema = schemathesis.openapi.from_dict(document)
    return [
        operation.ok().as_strategy(generation_mode=mode)
        for operation in schema.get_all_operations()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    ]


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("group", ["atoll.dev/v1alpha1", "v1"])
async def test_no_request_is_answered_by_a_mistake_of_the_hub(hub: HubClient, group: str) -> None:
    """Every operation that the document names, with bodies and parameters as it says and as it does not."""
    path = "/openapi/v3/api/v1" if group == "v1" else f"/openapi/v3/apis/{group}"
    document = await hub.get(path)
    answers: Counter[int] = Counter()
    loop = asyncio.get_running_loop()

    def fuzz(strategy: st.SearchStrategy[schemathesis.Case]) -> None:
        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            phases=(Phase.generate,),
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def send(case: schemathesis.Case) -> None:
            wanted = case.as_transport_kwargs(base_url=hub.url)
            wanted["params"] = {k: v for k, v in (wanted.get("params") or {}).items() if k not in _ENDLESS}
            future = asyncio.run_coroutine_threadsafe(ask(hub.http, wanted), loop)
            answer = future.result(_SECONDS)
            answers[answer.status_code] += 1
            assert answer.status_code < 500, f"{wanted}: {answer.text}"

        send()

    for strategy in calls(document):
        await asyncio.to_thread(fuzz, strategy)
    assert answers[200] + answers[201] and answers[404] and answers[422] + answers[400], answers


async def ask(http: httpx.AsyncClient, wanted: dict[str, Any]) -> httpx.Response:
    """Send what schemathesis made for `requests`."""
    return await http.request(
        wanted["method"], wanted["url"], params=wanted["params"], headers=dict(wanted.get("headers") or {}),
        **({"json": wanted["json"]} if "json" in wanted else {"content": wanted.get("data")}),
    )  # fmt: skip
