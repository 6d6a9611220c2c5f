"""What the hub's own examination means (`GET /diagnosis`), and what everybody may see of members. Pure.

The hub measures, this judges. The form of a diagnosis is that of hub/http/diagnosis.py; what an older hub does not tell
is not judged.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from atoll.cli.checkup.findings import (
    DISK_PART,
    Finding,
    Result,
    clock,
    expiry,
    note,
    ok,
    problem,
    warning,
    worst_first,
)
from atoll.cli.output import bytes_shown, plural
from atoll.cli.refusals import without_subjects
from atoll.federation.capacity import format_duration

Json = Mapping[str, Any]
# Renewed at half of their life of 24 h: with less than a quarter left that did not come to pass.
_CREDENTIALS_WARNING = timedelta(hours=6)
_MANY_SERVERS = 3
_MOST_ROWS = 10


def hub(diagnosis: Json) -> Iterator[Finding]:
    """Judge the hub itself."""
    told = diagnosis["hub"]
    if told.get("isLeader"):
        yield ok("hub/leader", "this hub leads")
    elif (told.get("leader") or {}).get("isHeld"):
        yield ok("hub/leader", f"another hub leads; its lease is {told['leader']['renewedSecondsAgo']:.1f} s old")
    else:
        remedy = "nothing is scheduled and no status changes: see the hubs' logs, and whether NATS answers"
        yield problem("hub/leader", "no hub leads", remedy)
    if not told.get("authenticates", True):
        yield note("hub/access", "it lets everybody in (--no-auth)", "only for a hub that nobody else can reach")
    for text in diagnosis.get("problems") or ():
        yield warning("hub/diagnosis", without_subjects(str(text)), "see the hub's log; ask again in a moment")


def nats(diagnosis: Json) -> Iterator[Finding]:
    """Judge NATS: its servers, its streams, its clock."""
    told = diagnosis.get("nats")
    if told is None:
        yield problem("nats/reachable", "the hub has no answer from NATS", "is nats-server running? See its log")
        return
    names = [str(server["name"]) for server in told["servers"]]
    yield ok("nats/reachable", f"{plural(len(names), 'server')}: {', '.join(names)}" if names else "it answers the hub")
    measured = told["clock"]
    yield clock(
        "nats/clock", "NATS's clock, by the hub's,", measured["aheadSeconds"], within_seconds=measured["withinSeconds"]
    )
    if not told["hasAccounts"]:
        remedy = "give the hub --nats-keys, and NATS its accounts; fine on a machine where everybody may do everything"
        yield note("nats/accounts", "NATS asks nobody who he is; servers and credentials cannot be seen", remedy)
    for server in told["servers"]:
        yield from _server(server)
    yield from _replicas(told)
    yield from _full_streams(told["streams"])


def _server(server: Json) -> Iterator[Finding]:
    name = server["name"]
    if server.get("isHealthy") is False:
        yield problem(f"nats/{name}", server["problem"] or "it is not healthy", "see the log of this nats-server")
    if server["syncSeconds"]:
        text = f"what it acknowledges is on disk up to {server['syncSeconds']:.0f} s later: a power loss takes that"
        yield problem("nats/sync", f"{name}: {text}", "set jetstream { sync_interval: always } and restart it")
    else:
        yield ok("nats/sync", f"{name} syncs before it acknowledges")
    used, most = int(server["usedBytes"]), int(server["mostBytes"])
    part = used / most if most else 0.0
    shown = f"{name} uses {bytes_shown(used)} of {bytes_shown(most)} ({part:.0%})"
    result = DISK_PART.judge(part)
    remedy = "give its store more room, and raise max_file_store; when it is full nothing can be written"
    yield ok("nats/disk", shown) if result is Result.OK else Finding("nats/disk", result, shown, remedy)


def _replicas(told: Json) -> Iterator[Finding]:
    streams, servers = told["streams"], len(told["servers"])
    behind = [each for each in streams if each["currentReplicas"] < each["replicas"]]
    for each in behind:
        shown = f"stream {each['name']}: {each['currentReplicas']} of {each['replicas']} servers have all of it"
        has_most = each["hasLeader"] and each["currentReplicas"] > each["replicas"] // 2
        remedy = "bring the missing nats-server back, or see its log for why it does not catch up"
        yield (warning if has_most else problem)("nats/replicas", shown, remedy)
    if 0 < servers < told["wantedReplicas"]:
        shown = f"{servers} of at least {told['wantedReplicas']} servers answer"
        yield warning("nats/servers", shown, "bring the missing nats-server back: with one more gone nothing is stored")
    few = [each for each in streams if each["replicas"] < told["wantedReplicas"]]
    for each in few:
        shown = f"stream {each['name']} is kept by {each['replicas']}, and {told['wantedReplicas']} are wanted"
        yield warning("nats/replicas", shown, "restart the hub when all servers are there: it sets them")
    if servers >= _MANY_SERVERS and told["wantedReplicas"] == 1:
        shown = f"one of {servers} servers keeps each stream: what it holds is lost with it"
        yield warning("nats/replicas", shown, "start the hub with --nats-replicas 3")
    elif not behind and not few and (servers >= told["wantedReplicas"] or not servers):
        yield ok("nats/replicas", f"{plural(len(streams), 'stream')}, each on {told['wantedReplicas']}")


def _full_streams(streams: Iterable[Json]) -> Iterator[Finding]:
    for each in streams:
        most = each.get("mostBytes")
        part = each["bytes"] / most if most else 0.0
        result = DISK_PART.judge(part)
        if each["refusesWhenFull"] and result is not Result.OK:
            shown = f"stream {each['name']} is {part:.0%} full; then it takes nothing more in"
            remedy = "find out why nothing leaves it: atoll gateway status, atoll stream list -A"
            yield Finding(f"nats/{each['name']}", result, shown, remedy)


def members(objects: Iterable[Json], *, now: datetime) -> Iterator[Finding]:
    """Judge clusters and gateways by what everybody may read of them; `now` is the hub's clock."""
    for kind, noun in (("Cluster", "cluster"), ("Gateway", "gateway")):
        found = [each for each in objects if each["kind"] == kind]
        troubled = [finding for each in found if (finding := _phase(noun, each, now))]
        yield from worst_first(troubled, most=_MOST_ROWS)
        well = len(found) - len(troubled)
        if well:
            yield ok(f"{noun}s/heard", f"{well} of {len(found)} are heard and well")
        elif not found:
            yield note(f"{noun}s/heard", f"there is no {noun}", f"atoll {_JOINS[noun]}")


_JOINS = {"cluster": "cluster join NAME", "gateway": "gateway enroll NAME"}


def _phase(noun: str, obj: Json, now: datetime) -> Finding | None:
    name, status = obj["metadata"]["name"], obj.get("status") or {}
    phase, check = str(status.get("phase") or "Pending"), f"{noun}s/{name}"
    if phase == "Ready":
        return None
    if phase == "Asleep":
        return note(check, f"asleep, as it may be: {status.get('message') or status.get('reason') or ''}")
    if phase == "Pending":
        return warning(check, "it was never heard", f"run its agent: atoll {_JOINS[noun].replace('NAME', name)}")
    if phase == "Unreachable":
        since = status.get("lostSince") or status.get("lastProvenAt")
        ago = f" for {format_duration(_seconds_since(since, now))}" if since else ""
        return problem(
            check, f"nothing was heard of it{ago}", "is its agent running, and does it reach NATS? See its log"
        )
    message = str(status.get("message") or status.get("reason") or "")
    return warning(check, f"{phase}: {message}", f"atoll describe {noun} {name}")


def evidence(diagnosis: Json, *, now: datetime) -> Iterator[Finding]:
    """Judge what the hub has measured of members: clocks, versions, credentials."""
    rows = list(diagnosis.get("members") or ())
    yield from _clocks(rows, now=now, stale_seconds=float(diagnosis["hub"].get("heartbeatTimeoutSeconds", 30.0)))
    yield from _versions(rows, str(diagnosis["hub"]["version"]))
    yield from _credentials(rows, now=now)


def _clocks(rows: Iterable[Json], *, now: datetime, stale_seconds: float) -> Iterator[Finding]:
    """Judge clocks by heartbeats; one of long ago says nothing of now."""
    measured = {
        f"{each['kind']}s/{each['name']}": float(each["clockAheadSeconds"])
        for each in rows
        if each.get("clockAheadSeconds") is not None and _seconds_since(each["heardAt"], now) <= stale_seconds
    }
    judged = [clock(f"{check}/clock", "its clock", ahead, within_seconds=0.0) for check, ahead in measured.items()]
    bad = [finding for finding in judged if finding.result is not Result.OK]
    yield from worst_first(bad, most=_MOST_ROWS)
    if measured and not bad:
        most = max(abs(ahead) for ahead in measured.values())
        yield ok("members/clocks", f"{len(measured)} measured by heartbeats; all agree to {max(most, 0.001):.3f} s")


def _versions(rows: Iterable[Json], hub_version: str) -> Iterator[Finding]:
    told = [
        (f"{each['kind']}s/{each['name']}/version", str(each["agentVersion"]))
        for each in rows
        if each.get("agentVersion")
    ]
    others = [(check, version) for check, version in told if version != hub_version]
    remedy = f"bring agent and hub to one version; the hub's is {hub_version}"
    yield from worst_first((warning(check, f"its agent is {each}", remedy) for check, each in others), most=_MOST_ROWS)
    if told and not others:
        yield ok("members/versions", f"all {len(told)} are {hub_version}, as the hub")


def _credentials(rows: Iterable[Json], *, now: datetime) -> Iterator[Finding]:
    judged, ends = [], []
    for each in rows:
        told = each.get("credentials")
        if not told or not told.get("expiresAt"):
            continue
        ends_at = datetime.fromisoformat(told["expiresAt"])
        ends.append(ends_at)
        remedy = "it renews them at half of their life: see its log for why it could not"
        check = f"{each['kind']}s/{each['name']}/credentials".replace("datas/", "data/")
        judged.append(
            expiry(check, "what it shows to NATS", ends_at, now=now, warn=_CREDENTIALS_WARNING, remedy=remedy)
        )
    bad = [finding for finding in judged if finding.result is not Result.OK]
    yield from worst_first(bad, most=_MOST_ROWS)
    if judged and not bad:
        left = format_duration(int((min(ends) - now).total_seconds()))
        yield ok("members/credentials", f"{len(judged)} are connected; the first credentials end in {left}")


def _seconds_since(date: str | None, now: datetime) -> int:
    return max(0, int((now - datetime.fromisoformat(date)).total_seconds())) if date else 0
