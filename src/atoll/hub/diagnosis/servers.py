"""The NATS of a hub as it is now: its servers, its streams, and who leads the hubs. Owns the questions to NATS.

A hub without NATS's system account (a NATS that asks nobody who he is) learns of streams only.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.survey import survey
from atoll.federation.errors import AtollError, NotFound
from atoll.hub.field.wires import Wires
from atoll.hub.leader import LEASE_KEY, LEASE_PREFIX, LEASE_STREAM

Json = dict[str, Any]
T = TypeVar("T")
_SECONDS = 1e-9


async def describe(wires: Wires, *, now: Callable[[], datetime]) -> Json:
    """Tell how NATS is.

    Raises:
        Unavailable: it does not answer.
    """
    streams = [*await _streams(wires.own, "hub")]
    if wires.field is not wires.own:
        streams += await _streams(wires.field, "field")
    return {
        "hasAccounts": wires.signer is not None,
        "wantedReplicas": wires.own.replicas,
        "clock": await clock_of(wires.own, now=now),
        "servers": await _servers(wires.system) if wires.system is not None else [],
        "streams": streams,
    }


async def clock_of(bus: Bus, *, now: Callable[[], datetime]) -> Json:
    """Measure how far NATS's clock is ahead of ours: its answer was dated between our question and now.

    Source of the method: Cristian, Probabilistic clock synchronization (1989); half of the way there and back is the
    most by which it can be wrong.
    """
    began, asked = time.monotonic(), now()
    answer = await bus.api(f"STREAM.INFO.{LEASE_STREAM}")
    seconds = time.monotonic() - began
    dated = instant(str(answer["ts"]))
    return {"aheadSeconds": (dated - asked).total_seconds() - seconds / 2, "withinSeconds": seconds / 2}


async def lease(bus: Bus, *, lease_seconds: float) -> Json:
    """Tell whether any hub leads: when the lease was renewed last, by NATS's own clock.

    Raises:
        Unavailable: NATS does not answer.
    """
    try:
        question = {"last_by_subj": f"{LEASE_PREFIX}.{LEASE_KEY.replace('/', '.')}"}
        answer = await bus.api(f"STREAM.MSG.GET.{LEASE_STREAM}", question)
        info = await bus.api(f"STREAM.INFO.{LEASE_STREAM}")
    except NotFound:
        return {"isHeld": False}
    age = (instant(str(info["ts"])) - instant(str(answer["message"]["time"]))).total_seconds()
    return {"isHeld": age < lease_seconds and bool(answer["message"].get("data")), "renewedSecondsAgo": max(0.0, age)}


async def _servers(system: Bus) -> list[Json]:
    """Ask every server for its JetStream; one of a version that answers otherwise tells less."""
    healthy: dict[str, Json] = {}
    for answer in await survey(system, "HEALTHZ"):
        healthy[str(answer["server"]["id"])] = dict(answer.get("data") or {})
    return [
        server_row(answer, healthy.get(str(answer["server"]["id"])))
        for answer in await survey(system, "JSZ", {"config": True})
    ]


def server_row(answer: Mapping[str, Any], health: Mapping[str, Any] | None) -> Json:
    """Read what one server said of its JetStream. Pure."""
    server, found = answer["server"], answer.get("data") or {}
    config = found.get("config") or {}
    return {
        "name": str(server["name"]),
        "version": str(server["ver"]),
        "isHealthy": bool(health) and health.get("status") == "ok" if health is not None else None,
        "problem": str((health or {}).get("error", "")),
        "syncSeconds": 0.0 if config.get("sync_always") else float(config.get("sync_interval", 0)) * _SECONDS,
        "usedBytes": int(found.get("storage", 0)),
        "mostBytes": int(config.get("max_storage", 0)),
    }


async def _streams(bus: Bus, account: str) -> list[Json]:
    """Tell of every stream of an account, page by page."""
    found: list[Json] = []
    while True:
        answer = await bus.api("STREAM.LIST", {"offset": len(found)})
        page = answer.get("streams") or []
        found += [stream_row(each, account) for each in page]
        if not page or len(found) >= int(answer.get("total", 0)):
            return found


def stream_row(info: Mapping[str, Any], account: str) -> Json:
    """Read how many servers keep a stream, and how full it is. Pure."""
    config, state = info["config"], info["state"]
    cluster = info.get("cluster") or {"leader": "the only server"}
    peers = cluster.get("replicas") or ()
    current = [peer for peer in peers if peer.get("current") and not peer.get("offline")]
    most = int(config.get("max_bytes", -1))
    return {
        "name": str(config["name"]),
        "account": account,
        "replicas": int(config.get("num_replicas", 1)),
        "currentReplicas": len(current) + (1 if cluster.get("leader") else 0),
        "hasLeader": bool(cluster.get("leader")),
        "messages": int(state["messages"]),
        "bytes": int(state["bytes"]),
        "mostBytes": most if most > 0 else None,
        "refusesWhenFull": config.get("discard") == "new",
    }


def instant(text: str) -> datetime:
    """Read a date of NATS, which has nanoseconds."""
    head, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{head}.{(fraction or '0')[:6]:0<6}").replace(tzinfo=UTC)


async def attempted(part: str, work: Awaitable[T]) -> tuple[T | None, str]:
    """Give what a question came to, or why it came to nothing: one part that is away does not hide the others."""
    try:
        return await work, ""
    except AtollError as error:
        return None, f"{part}: {error}"
