"""What did not come is told with what to do: an object that is elsewhere, a server that gives no answer."""

import os
import socket
import sys

import orjson
import pytest

from atoll.cli.api import Api
from atoll.cli.patience import telling_after_a_second
from atoll.cli.refusals import refusal
from atoll.federation.errors import NotFound, Unavailable
from atoll.hub.store.jetstream import JetStreamStorage
from atoll.kubeapi.errors import Unavailable as StoreAway
from atoll.local.credentials import Credentials

OURS = "/apis/atoll.dev/v1alpha1"
IN_ALL = "atoll get jobs -A shows those of all namespaces"


@pytest.mark.parametrize(
    ("path", "missing", "told"),
    [
        (f"{OURS}/namespaces/default/jobs/fit", 'jobs.atoll.dev "fit"', f" in namespace default: {IN_ALL}"),
        (f"{OURS}/namespaces/lab/jobs/fit/log", 'jobs.atoll.dev "fit"', f" in namespace lab: {IN_ALL}"),
        (f"{OURS}/clusters/gpu", 'clusters.atoll.dev "gpu"', ": atoll get clusters shows those there are"),
        (f"{OURS}/namespaces/lab/jobs/fit", 'namespaces "lab"', ""),
        ("/access/tokens/1", 'tokens.atoll.dev "1"', ""),
    ],
)
def test_what_is_not_there_is_told_with_where_it_was_looked_for(path: str, missing: str, told: str) -> None:
    """A forgotten -n is the most common cause."""
    answer = orjson.dumps({"kind": "Status", "code": 404, "message": f"{missing} not found"})
    error = refusal("https://hub:8700", Credentials(), 404, answer, path)
    assert isinstance(error, NotFound)
    assert str(error) == f"{missing} not found{told}"


class Frozen:
    """A table of a NATS that does not answer."""

    async def last_revision(self) -> int:
        raise Unavailable("no answer on $JS.hub.API.STREAM.INFO.STATE within 5 s")


async def test_a_hub_that_cannot_reach_its_store_is_told_without_words_of_jetstream() -> None:
    """As the hub's own storage says it."""
    with pytest.raises(StoreAway) as away:
        await JetStreamStorage(Frozen(), None).revision()  # type: ignore[arg-type]  # nothing else is asked
    error = refusal("https://hub:8700", Credentials(), 503, orjson.dumps(away.value.status()), f"{OURS}/jobs")
    assert isinstance(error, Unavailable)
    assert str(error) == (
        "the hub answers, but not NATS, where it keeps everything (no answer within 5 s): 'atoll doctor' looks further"
    )


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("the tokens cannot be reached: nobody answers on $JS.API.STREAM.MSG.GET.KV_t", "(nobody answers)"),
        ("the accounts cannot be read now: the stream is gone", "(the stream is gone)"),
        (
            "nothing was changed: the request could not be recorded for the audit: no answer on audit.x within 5 s",
            "nothing was changed: the hub answers, but not NATS, where it keeps everything (no answer within 5 s)",
        ),
        ("cluster lab is not heard", "cluster lab is not heard"),
    ],
)
def test_what_else_is_away_keeps_its_own_words(said: str, told: str) -> None:
    error = refusal("https://hub:8700", Credentials(), 503, orjson.dumps({"message": said}), f"{OURS}/jobs")
    assert told in str(error)
    assert "$JS" not in str(error)


def test_a_server_that_never_answers_is_told_without_words_of_its_libraries() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Api(server, timeout_seconds=0.1) as api, pytest.raises(Unavailable) as told:
            api.get("/version")
    assert str(told.value).startswith(f"{server} gave no answer in time: is the address right?")


def test_who_waits_at_a_terminal_is_told_for_what_and_a_pipe_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with telling_after_a_second("waiting"):
        pass
    reader, writer = os.openpty()
    with os.fdopen(reader, "rb", buffering=0) as seen, os.fdopen(writer, "w", buffering=1) as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setattr(sys, "__stderr__", terminal)
        with telling_after_a_second("not told"):
            pass
        with telling_after_a_second("waiting for the hub"):
            assert seen.read(64).strip() == b"waiting for the hub"
        monkeypatch.undo()
    assert capsys.readouterr().err == ""
