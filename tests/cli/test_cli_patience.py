"""Commands outlast a hub that is just being restarted, and say so once; nothing is done twice."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from atoll.cli.api import Api
from atoll.cli.patience import Patience
from atoll.federation.errors import Unavailable

READY = b'{"kind": "Job"}'


@dataclass
class Answers:
    """What a server gives, request by request, and what it was asked; None cuts the connection."""

    planned: list[tuple[int, str] | None] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    answers: ClassVar[Answers]

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answers.asked.append(self.command)
        given = self.answers.planned.pop(0) if self.answers.planned else (200, "")
        if given is None:
            self.close_connection = True
            return
        self.send_response(given[0])
        if given[1]:
            self.send_header("Retry-After", given[1])
        self.send_header("Content-Length", str(len(READY)))
        self.end_headers()
        self.wfile.write(READY)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def answers() -> Iterator[tuple[Answers, str]]:
    planned = Answers()
    handler = type("One", (Handler,), {"answers": planned})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield planned, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def patience(self, seconds: float = 10.0) -> Patience:
        return Patience(seconds, clock=lambda: self.now, sleep=self.sleep)


SOON, LATER = (503, "1"), (503, "5")


@pytest.mark.parametrize("planned", [[SOON, SOON], [None], [SOON, None, SOON]], ids=str)
def test_a_read_outlasts_a_hub_that_is_not_ready_and_says_so_once(
    answers: tuple[Answers, str], planned: list[tuple[int, str] | None], capsys: pytest.CaptureFixture[str]
) -> None:
    """503 with Retry-After, or a connection that is cut: asked again, as long as patience lasts."""
    server, url = answers
    server.planned = list(planned)
    with Api(url, patience=Time().patience()) as api:
        assert api.get("/x") == {"kind": "Job"}
        assert b"".join(api.chunks("/log")) == READY
    assert len(server.asked) == len(planned) + 2
    assert capsys.readouterr().err.count("trying again for up to 10 s") == 1


def test_what_is_merely_away_for_longer_is_told_at_once(answers: tuple[Answers, str]) -> None:
    """A cluster that is not heard is no restart of the hub."""
    server, url = answers
    server.planned = [LATER]
    with Api(url, patience=Time().patience()) as api, pytest.raises(Unavailable):
        api.get("/x")
    assert server.asked == ["GET"]


def test_patience_ends(answers: tuple[Answers, str]) -> None:
    """After ten seconds it is an error as before."""
    server, url = answers
    server.planned = [SOON] * 100
    time = Time()
    with Api(url, patience=time.patience()) as api, pytest.raises(Unavailable):
        api.get("/x")
    assert 8 < time.now <= 10


def test_nothing_is_made_deleted_or_guarded_twice(answers: tuple[Answers, str]) -> None:
    """Whose outcome is not known is asked for once; what means the same twice, again."""
    server, url = answers
    with Api(url, patience=Time().patience()) as api:
        for write in (
            lambda: api.create("/jobs", {"metadata": {"generateName": "run-"}}),
            lambda: api.delete("/jobs/a"),
            lambda: api.merge("/jobs/a", {"metadata": {"resourceVersion": "7"}, "spec": {"requeues": 1}}),
        ):
            server.planned = [SOON]
            with pytest.raises(Unavailable):
                write()
        server.planned = [SOON]
        api.merge("/jobs/a", {"spec": {"held": True}})
    assert server.asked == ["POST", "DELETE", "PATCH", "PATCH", "PATCH"]


def test_where_nothing_listens_even_a_new_object_is_sent_again() -> None:
    """A refused connection has carried nothing: the job is created as soon as the hub listens."""
    planned = Answers()
    server = HTTPServer(("127.0.0.1", 0), type("One", (Handler,), {"answers": planned}), bind_and_activate=False)
    server.server_bind()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})

    def listen(_seconds: float) -> None:
        server.server_activate()
        thread.start()

    with server, Api(f"http://127.0.0.1:{server.server_port}", patience=Patience(600, sleep=listen)) as api:
        assert api.create("/jobs", {}) == {"kind": "Job"}
        server.shutdown()
        thread.join()
    assert planned.asked == ["POST"]
