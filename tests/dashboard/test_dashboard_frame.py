"""What every page stands on: URLs, words, rows, sessions, and how often who looks is told. Pure, or nearly."""

import asyncio

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from atoll.federation.resources import Cluster, ClusterSpec, ObjectMeta, Queue, QueueSpec
from atoll.hub.dashboard import session
from atoll.hub.dashboard.deeds import DEEDS
from atoll.hub.dashboard.inside import Inside
from atoll.hub.dashboard.jobs.logs import JobLogs
from atoll.hub.dashboard.live import MOST_OF_ONE, Live, pace
from atoll.hub.dashboard.queues.rows import QUEUES, QueueRow
from atoll.hub.dashboard.rows import Rows, Shelf
from atoll.hub.dashboard.serving import Visitors
from atoll.hub.dashboard.signin import safe_next
from atoll.hub.dashboard.sources import Sources
from atoll.hub.dashboard.words import duration, number, size
from atoll.kubeapi.http.access import Access, User
from atoll.kubeapi.resource import Object
from dashboard.asking import asking
from hub.store_world import client_of_store


def test_a_url_keeps_the_other_filters_and_begins_a_new_one_at_page_one() -> None:
    ask = asking(q="a b", page="3", part="rows")
    assert ask.url() == "/dashboard/here?q=a+b&page=3"
    assert ask.url(state="failed") == "/dashboard/here?q=a+b&state=failed"
    assert ask.url(q=None) == "/dashboard/here"
    assert ask.part("rows") == "/dashboard/here?q=a+b&part=rows&page=3"


@pytest.mark.parametrize(("text", "value"), {"3": 3, "0": 1, "-1": 1, "x": 1, "": 1, "9" * 40: 1, "٣": 1}.items())
def test_a_number_in_a_url_is_one_or_more_whatever_is_written(text: str, value: int) -> None:
    assert asking(page=text).number("page") == value


@pytest.mark.parametrize(
    ("wanted", "after"),
    {
        "/dashboard/jobs?q=a": "/dashboard/jobs?q=a",
        "": "/dashboard",
        "//evil.example": "/dashboard",
        "https://evil.example/dashboard/": "/dashboard",
        "/dashboardx": "/dashboard",
        "/dashboard/\\evil": "/dashboard",
        "/dashboard/\r\nSet-Cookie: a=b": "/dashboard",
        "javascript:alert(1)": "/dashboard",
        "///evil.example/dashboard/": "/dashboard",
        "/\\evil.example/dashboard/": "/dashboard",
        "/dashboard/\tx": "/dashboard",
        "/dashboard/..//evil.example": "/dashboard",
        "/dashboard/%2e%2e/apis": "/dashboard",
        "https:/dashboard/": "/dashboard",
    }.items(),
)
def test_after_signing_in_one_goes_to_a_page_of_ours_and_nowhere_else(wanted: str, after: str) -> None:
    assert safe_next(wanted) == after


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-site", "origin": "http://hub"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "http://hub", "host": "hub"}, True),
        ({"origin": "http://evil", "host": "hub"}, False),
        ({"origin": "null", "host": "hub"}, False),
        ({"host": "hub"}, False),
    ],
)
def test_a_form_is_ours_if_the_browser_says_so(headers: dict[str, str], is_ours: bool) -> None:
    assert session.is_same_site(Headers(headers)) is is_ours


def test_a_credential_longer_than_a_cookie_comes_back_whole() -> None:
    token = "".join(chr(97 + number % 26) for number in range(9000))
    response = Response()
    session.sign_in(response, token, secure=True)
    kept = [value.decode().partition(";")[0] for name, value in response.raw_headers if name == b"set-cookie"]
    request = Request({"type": "http", "headers": [(b"cookie", "; ".join(kept).encode())]})
    assert session.credential(request) == token


@pytest.mark.parametrize("cookie", ["", "%%%", "bm90IGpzb24=", "e30=", "WzFd"])
def test_a_journey_that_was_tampered_with_is_none(cookie: str) -> None:
    request = Request({"type": "http", "headers": [(b"cookie", f"atoll-journey={cookie}".encode())]})
    assert session.journey(request) is None


def test_words_are_short_and_the_same_everywhere() -> None:
    spans = {0: "0s", 59: "59s", 61: "1m 1s", 600: "10m", 3600: "1h", 3 * 3600 + 60: "3h 1m", 90_000: "1d 1h"}
    assert {seconds: duration(seconds) for seconds in spans} == spans
    found = (size(1536), size(0), number(1234567), duration(None))
    assert found == (
        "1.5 KiB",
        "0 B",
        "1\u202f234\u202f567",
        "\N{EN DASH}",
    )


@pytest.mark.parametrize(("listeners", "cost", "seconds"), [(1, 0.001, 1.0), (25, 0.02, 10.0), (500, 1.0, 30.0)])
def test_the_more_look_and_the_dearer_it_is_the_rarer_they_are_told(
    listeners: int, cost: float, seconds: float
) -> None:
    assert pace(listeners, cost) == pytest.approx(seconds)


async def test_who_listens_is_told_once_of_many_changes_and_of_nothing_else() -> None:
    async def stays() -> bool:
        return True

    async with client_of_store("a") as client:
        live = Live(client.store.cache)
        live.watch("clusters", client.type_of(Cluster).prefix)
        work = asyncio.create_task(live.run())
        events = live.events("ada", ["clusters", "jobs"], stays)
        assert "event: hello" in await anext(events)
        for name in ("b", "c", "d"):
            await client.create(Cluster(metadata=ObjectMeta(name=name), spec=ClusterSpec()))
        assert await asyncio.wait_for(anext(events), 30) == "event: changed\ndata: clusters\n\n"
        work.cancel()
        await asyncio.wait({work})
        assert [event async for event in events] == []  # the hub ends, and so does every stream
        assert live.listeners == 0


async def test_who_is_nobody_any_more_is_told_nothing_more() -> None:
    async def gone() -> bool:
        return False

    async with client_of_store() as client:
        assert [event async for event in Live(client.store.cache).events("ada", [], gone)] == [
            "retry: 2000\nevent: hello\ndata: \n\n"
        ]


async def test_no_user_takes_the_places_of_all_who_listen() -> None:
    async def stays() -> bool:
        return True

    async with client_of_store() as client:
        live = Live(client.store.cache)
        opened = [live.events("ada", [], stays) for _ in range(MOST_OF_ONE)]
        for events in opened:
            await anext(events)
        assert (live.has_room("ada"), live.has_room("bo")) == (False, True)
        await opened[0].aclose()
        assert live.has_room("ada")
        for events in opened:
            await events.aclose()


async def test_a_log_ends_for_who_is_nobody_any_more() -> None:
    class Ends:
        """An API whose log goes on until its reader has gone."""

        def __init__(self) -> None:
            self.is_open = False

        async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
            self.is_open = True
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while (await receive())["type"] != "http.disconnect":
                pass
            self.is_open = False

    class Nobody:
        async def authenticate(self, _request: Request) -> User | None:
            return None

    async def never() -> Message:
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def nowhere(_message: Message) -> None:
        return None

    async with client_of_store() as client:
        api = Ends()
        sources = Sources(client, Inside(api), clock=client.store.clock, orders=lambda _cluster, _set: None)
        scope = {"type": "http", "path": "/", "headers": [], "path_params": {"namespace": "optics", "name": "a"}}
        logs = JobLogs(sources, Visitors(Access(Nobody())), beat_seconds=0.01)
        answer = await logs.read(Request(scope, never))
        await asyncio.wait_for(answer(scope, never, nowhere), 30)
        assert not api.is_open


async def test_rows_are_those_of_the_store_after_changes_deletions_and_a_history_that_was_lost() -> None:
    class Names:
        def __init__(self) -> None:
            self.there: set[str] = set()

        def turn(self, key: str, old: QueueRow | None, new: QueueRow | None) -> None:
            (self.there.discard if new is None else self.there.add)(key)

    shelf = Shelf(Queue, QUEUES.read, Names)
    async with client_of_store() as client:
        for name in ("a", "b"):
            await client.create(Queue(metadata=ObjectMeta(name=name)))
        rows = Rows(shelf, client.follow(Queue), namespaced=False)
        assert set(await rows.current()) == {"a", "b"} == rows.book.there
        await client.delete(Queue, None, "a")
        found = await client.get(Queue, None, "b")
        assert found is not None
        await client.update(found.model_copy(update={"spec": QueueSpec(weight=9)}))
        current = await rows.current()
        assert (set(current), current["b"].weight, rows.book.there) == ({"b"}, 9, {"b"})
        await client.store.close()  # NATS was away, and is followed anew: the cache begins another history
        await client.store.start()
        await client.delete(Queue, None, "b")
        assert (dict(await rows.current()), rows.book.there) == ({}, set())


async def test_an_object_that_is_no_longer_valid_has_no_row_and_the_others_have() -> None:
    """An upgrade may refuse what an older Atoll let in: the page stays."""

    def read(stored: Object) -> QueueSpec:
        return QueueSpec.model_validate({"weight": "heavy"} if stored["metadata"]["name"] == "old" else {})

    async with client_of_store() as client:
        for name in ("old", "new"):
            await client.create(Queue(metadata=ObjectMeta(name=name)))
        rows = Rows(Shelf(Queue, read), client.follow(Queue), namespaced=False)
        assert set(await rows.current()) == {"new"}
        await client.delete(Queue, None, "old")
        assert set(await rows.current()) == {"new"}


def test_requeue_counts_from_what_it_saw_so_that_two_at_once_are_not_one() -> None:
    job = {"metadata": {"name": "a", "resourceVersion": "7"}, "spec": {"requeues": 2}}
    patch = DEEDS["requeue"].call(job, "").body
    assert (patch["metadata"]["resourceVersion"], patch["spec"]["requeues"]) == ("7", 3)


def test_every_deed_has_a_command_that_names_what_it_is_done_to() -> None:
    for word, deed in DEEDS.items():
        assert "{name}" in deed.command, word
        assert word in deed.command or deed.plural in ("policysets", "datasets"), word
