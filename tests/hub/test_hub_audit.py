"""The audit log on a real nats-server: durable before anything changes, few writes, nothing altered, nothing lost."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.errors import AtollError
from atoll.hub.access.audit import AUDIT_PREFIX, AUDIT_STREAM, AuditLog, Retention
from atoll.hub.access.audit_records import AuditQuery
from atoll.kubeapi.errors import Unavailable
from atoll.kubeapi.http.access import Action, Mutation, Outcome, User
from atoll.kubeapi.http.target import Target
from hub.support import eventually, now

JOB = Target("atoll.dev", "v1alpha1", "jobs", "seismology", "picks")
DONE = Outcome(200)
KILLED = """
import asyncio, sys
from datetime import UTC, datetime
from atoll.federation.bus.connection import Bus
from atoll.hub.access.audit import AuditLog
from atoll.kubeapi.http.access import Action, Mutation, User

async def main(url):
    bus = await Bus.connect(url, name="killed")
    log = await AuditLog.open(bus, clock=lambda: datetime.now(UTC))
    await log.begin(Mutation("lost", datetime.now(UTC), User("alice"), Action("post", "/access/tokens"), "10.0.0.7"))
    print("begun", flush=True)
    await asyncio.sleep(60)

asyncio.run(main(sys.argv[1]))
"""


def asked(number: int, **changes: Any) -> Mutation:
    defaults = {"user": User("alice"), "action": Action("update", "", JOB), "source": "10.0.0.7", "at": now()}
    return Mutation(id=f"id-{number}", **{**defaults, **changes})


@pytest.fixture
async def audit(bus: Bus) -> AsyncIterator[AuditLog]:
    log = await AuditLog.open(bus, clock=now)
    yield log
    await log.close()


async def listed(log: AuditLog, **changes: Any) -> list[dict[str, Any]]:
    query = AuditQuery(**{"since": now() - timedelta(hours=1), **changes})
    return [record async for batch in await log.read(query) for record in batch]


async def results(log: AuditLog) -> dict[str, str]:
    return {record["id"]: record["result"] for record in await listed(log)}


def shows(log: AuditLog, **wanted: str) -> Callable[[], Awaitable[bool]]:
    """Check that the log shows these results, with `_` for `-` in ids."""
    expected = {key.replace("_", "-"): result for key, result in wanted.items()}

    async def check() -> bool:
        try:
            return await results(log) == expected
        except Unavailable:  # NATS is not back yet
            return False

    return check


async def messages(bus: Bus) -> int:
    return int((await bus.api(f"STREAM.INFO.{AUDIT_STREAM}"))["state"]["messages"])


async def test_an_empty_log_reads_as_empty_at_once(audit: AuditLog) -> None:
    async with asyncio.timeout(2):
        assert await listed(audit) == []


async def test_a_request_is_durable_before_it_is_carried_out_and_has_its_result_soon_after(audit: AuditLog) -> None:
    mutation = asked(1)
    await audit.begin(mutation)
    assert await results(audit) == {"id-1": "Unknown"}
    await audit.end(mutation, DONE)
    await eventually(shows(audit, id_1="Succeeded"))


async def test_a_hundred_requests_at_once_cost_few_durable_writes(audit: AuditLog, bus: Bus) -> None:
    mutations = [asked(number) for number in range(100)]
    await asyncio.gather(*map(audit.begin, mutations))
    assert await messages(bus) <= 2
    await asyncio.gather(*(audit.end(mutation, DONE) for mutation in mutations))
    await audit.close()
    assert await messages(bus) <= 3
    assert await results(audit) == {f"id-{number}": "Succeeded" for number in range(100)}


async def test_very_large_records_are_spread_over_messages_that_the_server_takes(audit: AuditLog, bus: Bus) -> None:
    groups = tuple(f"{number:04}" + "g" * 400 for number in range(200))
    await asyncio.gather(*(audit.begin(asked(number, user=User("alice", groups))) for number in range(30)))
    assert len(await listed(audit)) == 30
    assert await messages(bus) > 2


async def test_a_request_that_was_given_up_takes_no_other_along(audit: AuditLog) -> None:
    begins = [asyncio.create_task(audit.begin(asked(number))) for number in range(10)]
    await asyncio.sleep(0)
    begins[5].cancel()
    outcomes = await asyncio.gather(*begins, return_exceptions=True)
    assert [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes].count(True) == 1
    assert {f"id-{number}" for number in range(10) if number != 5} <= (await results(audit)).keys()


async def test_nobody_deletes_or_purges_a_record_or_takes_that_protection_away(audit: AuditLog, bus: Bus) -> None:
    await audit.begin(asked(1))
    config = (await bus.api(f"STREAM.INFO.{AUDIT_STREAM}"))["config"]
    attempts = {
        "delete": (f"STREAM.MSG.DELETE.{AUDIT_STREAM}", {"seq": 1}),
        "purge": (f"STREAM.PURGE.{AUDIT_STREAM}", {}),
        "purge of a subject": (f"STREAM.PURGE.{AUDIT_STREAM}", {"filter": f"{AUDIT_PREFIX}.requested"}),
        "allow deletes": (f"STREAM.UPDATE.{AUDIT_STREAM}", {**config, "deny_delete": False}),
        "allow purges": (f"STREAM.UPDATE.{AUDIT_STREAM}", {**config, "deny_purge": False}),
    }
    for what, (verb, body) in attempts.items():
        with pytest.raises(AtollError):
            await bus.api(verb, body)
            pytest.fail(f"the server took: {what}")
    assert await results(audit) == {"id-1": "Unknown"}


async def test_old_records_make_room_and_never_hold_up_new_ones(bus: Bus) -> None:
    log = await AuditLog.open(bus, clock=now, retention=Retention(max_bytes=20_000))
    for number in range(120):
        await log.begin(asked(number))
    kept = await results(log)
    assert "id-119" in kept
    assert "id-0" not in kept
    wider = await AuditLog.open(bus, clock=now, retention=Retention(max_age_seconds=60.0))
    assert await results(wider) == kept, "a hub with other settings keeps what is there"


async def test_two_hubs_write_at_once_and_each_reads_all(audit: AuditLog, nats_server: Any) -> None:
    other_bus = await Bus.connect(nats_server.url, name="other-hub")
    other = await AuditLog.open(other_bus, clock=now)

    async def act(log: AuditLog, number: int) -> None:
        mutation = asked(number)
        await log.begin(mutation)
        await log.end(mutation, DONE)

    await asyncio.gather(
        *(act(log, 2 * number + shift) for shift, log in enumerate((audit, other)) for number in range(40))
    )
    await asyncio.gather(audit.close(), other.close())
    everything = {f"id-{number}": "Succeeded" for number in range(80)}
    assert await results(audit) == await results(other) == everything
    await other_bus.close()


async def test_a_limit_gives_the_newest_that_are_wanted_and_the_newest_last(audit: AuditLog) -> None:
    for number in range(20):
        mutation = asked(number, user=User("bob" if number % 2 else "alice"))
        await audit.begin(mutation)
        await audit.end(mutation, DONE)
    await audit.close()
    assert [record["id"] for record in await listed(audit, user="bob", limit=3)] == ["id-15", "id-17", "id-19"]
    assert [record["id"] for record in await listed(audit)] == [f"id-{number}" for number in range(20)]


async def test_a_reader_begins_at_the_instant_it_asks_for(audit: AuditLog) -> None:
    await audit.begin(asked(1))
    await asyncio.sleep(0.05)
    middle = now()
    await audit.begin(asked(2))
    assert [record["id"] for record in await listed(audit, since=middle)] == ["id-2"]
    assert [record["id"] for record in await listed(audit, until=middle)] == ["id-1"]
    assert await listed(audit, since=now() + timedelta(days=1)) == []


async def test_a_follower_sees_what_was_there_and_then_what_comes(audit: AuditLog) -> None:
    first, second = asked(1), asked(2)
    await audit.begin(first)
    await audit.end(first, DONE)
    await eventually(shows(audit, id_1="Succeeded"))
    batches = await audit.read(AuditQuery(since=now() - timedelta(hours=1), follow=True))
    assert [record["id"] for record in await anext(batches)] == ["id-1"]
    await audit.begin(second)
    await audit.end(second, Outcome(403, "Forbidden"))
    async with asyncio.timeout(5):
        assert [(record["id"], record["result"]) for record in await anext(batches)] == [("id-2", "Failed")]
    await batches.aclose()


async def test_garbage_in_the_stream_hides_no_record(audit: AuditLog, bus: Bus) -> None:
    await audit.begin(asked(1))
    await bus.store(f"{AUDIT_PREFIX}.requested", b"\xff\x00 no record\n[]")
    await audit.begin(asked(2))
    assert (await results(audit)).keys() == {"id-1", "id-2"}


async def test_a_hub_whose_clock_is_off_writes_records_that_all_hubs_read(bus: Bus) -> None:
    def slow() -> datetime:
        return datetime.now(UTC) - timedelta(seconds=30)

    log = await AuditLog.open(bus, clock=slow)
    mutation = asked(1, at=slow())
    await log.begin(mutation)
    await log.end(mutation, DONE)
    await log.close()
    (record,) = await listed(log, since=slow() - timedelta(seconds=5))
    assert record["durationMs"] >= 0


@pytest.mark.faults
async def test_what_was_begun_survives_a_killed_server_and_its_end_is_written_when_that_is_back(
    audit: AuditLog, nats_server: Any
) -> None:
    mutation = asked(1)
    await audit.begin(mutation)
    await asyncio.to_thread(nats_server.kill9)
    await audit.end(mutation, DONE)
    await asyncio.sleep(0.5)
    await asyncio.to_thread(nats_server.start)
    await eventually(shows(audit, id_1="Succeeded"))


@pytest.mark.faults
async def test_a_request_that_cannot_be_recorded_is_refused_and_that_is_recorded_later(
    audit: AuditLog, nats_server: Any
) -> None:
    await asyncio.to_thread(nats_server.kill9)
    with pytest.raises(Unavailable, match="nothing was changed: the request could not be recorded") as refused:
        await audit.begin(asked(1))
    assert refused.value.retry_after_seconds == 1
    with pytest.raises(Unavailable, match="the audit records cannot be read now"):
        await audit.read(AuditQuery(since=now()))
    await asyncio.to_thread(nats_server.start)
    await eventually(shows(audit, id_1="Failed"))
    (record,) = await listed(audit)
    assert record["code"] == 503


@pytest.mark.faults
async def test_a_follower_outlives_the_server_and_misses_nothing(audit: AuditLog, nats_server: Any) -> None:
    batches = await audit.read(AuditQuery(since=now() - timedelta(hours=1), follow=True))
    seen: list[str] = []

    async def follow() -> None:
        async for batch in batches:
            seen.extend(record["id"] for record in batch)

    following = asyncio.create_task(follow())
    for number in range(3):
        mutation = asked(number)
        await audit.begin(mutation)
        await audit.end(mutation, DONE)
        if number == 1:
            await asyncio.to_thread(nats_server.restart)

    async def has_seen_all() -> bool:
        return seen == ["id-0", "id-1", "id-2"]

    await eventually(has_seen_all)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await batches.aclose()


@pytest.mark.faults
async def test_a_killed_hub_leaves_its_request_as_unknown_to_the_next_one(audit: AuditLog, nats_server: Any) -> None:
    hub = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, nats_server.url, stdout=asyncio.subprocess.PIPE
    )
    assert hub.stdout is not None
    assert await hub.stdout.readline() == b"begun\n"
    hub.send_signal(signal.SIGKILL)
    await hub.wait()
    (record,) = await listed(audit)
    assert (record["id"], record["path"], record["result"]) == ("lost", "/access/tokens", "Unknown")
