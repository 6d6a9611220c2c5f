"""`--watch` of what is put together from answers: printed again when something has changed, and only then."""

import signal
from collections.abc import Callable, Iterator
from typing import IO, Any

import pytest
from clitool import Cli

from atoll.cli import gateways, listing, policies, queue_usage, top, watching
from atoll.cli.options import Output, RecordOutput
from atoll.federation.errors import Unavailable


class Hub:
    """A hub that gives one answer after the other; then somebody presses Ctrl-C."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    def get(self, path: str) -> Any:
        if path.endswith("/top"):
            return self._next()
        if path.endswith("/jobs"):
            return {"items": [{"metadata": {"namespace": "lab", "name": "fit"}, "status": {"phase": "Running"}}]}
        return {"items": [self._next()]}

    def _next(self) -> Any:
        if not self._answers:
            raise KeyboardInterrupt
        return self._answers.pop(0)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(listing, "_AGAIN_SECONDS", 0.0)


def queue(weight: int, written: str) -> dict[str, Any]:
    past = {"at": written, "halfLifeSeconds": 3600}
    return {
        "metadata": {"name": "q", "resourceVersion": written[-3:-1]},
        "spec": {"weight": weight},
        "status": {"past": past},
    }


def gateway(readings: int, heard: str) -> dict[str, Any]:
    return {"metadata": {"name": "q"}, "status": {"outboxReadings": readings, "lastProvenAt": heard}}


def policy_set(objects: int, proven: str) -> dict[str, Any]:
    held = {"cluster": "q", "phase": "Applied", "commit": "b" * 40, "objects": objects}
    held["proof"] = {"rung": "Valid", "provenAt": {"valid": proven}}
    source = {"repository": "https://git.example.org/p.git"}
    return {"metadata": {"name": "set"}, "spec": {"source": source}, "status": {"clusters": [held]}}


def used(millicores: int, heard: str) -> dict[str, Any]:
    asked = {"requestedMillicores": 1000, "requestedMemoryBytes": 0, "requestedGpus": 0}
    pod = {"pod": "q", "node": "n", "startedAt": heard, "usedMillicores": millicores, **asked}
    return {"cluster": "lab", "message": "", "pods": [pod]}


FIRST, LATER = "2026-11-23T12:00:00Z", "2026-11-23T12:00:05Z"
WATCHED: dict[str, tuple[Callable[[int, str], dict[str, Any]], Callable[[Any], object]]] = {
    "WEIGHT": (queue, lambda hub: queue_usage.show(hub, "q", Output.TABLE, watch=True)),
    "Gateway:": (gateway, lambda hub: gateways.show_status(hub, "q", RecordOutput.TABLE, watch=True)),
    "POLICYSET": (policy_set, lambda hub: policies.show_status(hub, None, Output.WIDE, watch=True)),
    "POD": (used, lambda hub: top.show(hub, "lab", None, Output.TABLE, watch=True)),
}


@pytest.mark.parametrize("header", WATCHED)
def test_it_is_printed_again_when_something_has_changed_and_not_for_a_heartbeat(
    header: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer, show = WATCHED[header]
    with pytest.raises(KeyboardInterrupt):
        show(Hub(answer(1, FIRST), answer(1, LATER), answer(700, LATER), answer(700, FIRST)))
    printed = capsys.readouterr().out
    assert printed.count(header) == 2
    assert printed.rindex(header) < printed.index("700")


class Restarted:
    """A hub that is restarted while it is watched: what changed meanwhile is in its list only."""

    def __init__(self, end: Exception | None) -> None:
        self._end, self._streams = end, 0
        self.asked_since: list[str] = []

    def get(self, _path: str, query: Any = None, *, as_table: bool = False) -> Any:
        revision = "40" if self._streams else "10"
        if query and "limit" in query:
            return {"metadata": {"resourceVersion": revision}, "items": []}
        rows = [row("a", 7), row("b", 8), row("c", 8)]
        return table(*(rows if not self._streams else [rows[0], row("b", 12), row("c", 31)]))

    def watch(self, _path: str, query: Any, *, as_table: bool) -> Iterator[Any]:
        self.asked_since.append(query["resourceVersion"])
        self._streams += 1
        if self._streams > 1:
            raise KeyboardInterrupt
        yield {"type": "MODIFIED", "object": table(row("b", 12))}
        if self._end is not None:
            raise self._end


def row(name: str, revision: int) -> dict[str, Any]:
    return {"cells": [name, revision], "object": {"metadata": {"name": name, "resourceVersion": str(revision)}}}


def table(*rows: dict[str, Any]) -> dict[str, Any]:
    columns = [{"name": "Name", "priority": 0}, {"name": "Revision", "priority": 0}]
    return {"kind": "Table", "columnDefinitions": columns, "rows": list(rows)}


@pytest.mark.parametrize("end", [None, Unavailable("cut")], ids=["ended", "cut"])
def test_a_list_is_watched_on_when_the_hub_was_restarted(
    end: Exception | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """What has changed meanwhile is printed, and nothing twice."""
    hub = Restarted(end)
    with pytest.raises(KeyboardInterrupt):
        listing.show(hub, listing.Query.of("queues", None, namespace=""), Output.TABLE, watch=True)  # type: ignore[arg-type]
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["NAME", "REVISION"], ["a", "7"], ["b", "8"], ["c", "8"], ["b", "12"], ["c", "31"]]
    assert hub.asked_since == ["10", "40"]


@pytest.mark.parametrize(
    ("output", "printed"),
    [(Output.TABLE, "1\n\n2\n"), (Output.YAML, "1\n---\n2\n"), (Output.JSON, "1\n2\n"), (Output.NAME, "1\n2\n")],
)
def test_what_follows_is_divided_from_what_was_as_its_form_wants_it(
    output: Output, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = Hub({"n": 1}, {"n": 2})
    with pytest.raises(KeyboardInterrupt):
        watching.show(lambda: answers.get("/x")["items"], lambda now: print(now[0]["n"]), output, watch=True)
    assert capsys.readouterr().out == printed


def test_what_cannot_be_asked_any_more_ends_the_watch() -> None:
    """Whoever asks has had patience with the hub already."""
    answers: list[int | Exception] = [1, Unavailable("gone")]

    def read() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(Unavailable):
        watching.show(read, print, Output.JSON, watch=True)


def read_until(lines: IO[str] | None, text: str) -> None:
    assert lines is not None
    assert any(text in line for line in lines), f"it ended before it printed {text}"


def test_a_watched_list_reaches_a_pipe_at_once_and_ctrl_c_ends_it(hub: Cli) -> None:
    """By the program itself: a token that is issued meanwhile shows up."""
    hub.ok("token", "issue", "before", "--role", "Viewer", "--for", "1h")
    with hub.running("token", "list", "-w") as watcher:
        read_until(watcher.stdout, "before")
        hub.ok("token", "issue", "meanwhile", "--role", "Viewer", "--for", "1h")
        read_until(watcher.stdout, "meanwhile")
        watcher.send_signal(signal.SIGINT)
        watcher.communicate(timeout=30)
    assert watcher.returncode == 130


def test_history_is_not_watched(cli: Cli) -> None:
    done = cli("queue", "usage", "--history", "--watch")
    assert done.returncode == 2
    assert "leave out --history" in done.stderr
