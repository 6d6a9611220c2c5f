"""Members as evidence shows them: when each was heard, how its clock goes, and until when its credentials are good.

Pure. The clock of a member is measured by its newest heartbeat: what it dated it, against when NATS stored it. The way
there counts as if the clock were behind by it, so that a clock that is ahead is told surely, and one that is behind
only up to the delay of the link.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from atoll.federation.bus.credentials import read_claims
from atoll.federation.bus.data_messages import GatewayReport
from atoll.federation.bus.messages import Heartbeat
from atoll.federation.bus.subjects import MemberKind
from atoll.federation.errors import InvalidInput
from atoll.hub.members import Observed, Path

Json = dict[str, Any]


@dataclass(frozen=True)
class Connected:
    """One connection of the members' account: whose it is, and what it showed."""

    owner: str
    issued_at: datetime
    expires_at: datetime | None
    rtt_seconds: float


def row(observed: Observed, kind: MemberKind, name: str, connections: Mapping[str, Connected] | None) -> Json:
    """Tell of one member; without `connections` nothing is known of its credentials."""
    path = Path(kind, name, "heartbeat")
    held = observed.held(path)
    report = observed.read(Heartbeat, path) if kind == "cluster" else observed.read(GatewayReport, path)
    connected = (connections or {}).get(f"{'agent' if kind == 'cluster' else 'gateway'} {name}")
    found: Json = {
        "kind": kind,
        "name": name,
        "isConnected": connected is not None if connections is not None else None,
    }
    if held is not None and report is not None:
        heard = held.stored_at or held.received_at
        found["agentVersion"] = report.agent_version
        found["heardAt"] = heard.isoformat() if heard is not None else None
        if held.stored_at is not None:
            found["clockAheadSeconds"] = (report.at - held.stored_at).total_seconds() + _way(connected)
    if connected is not None:
        found["credentials"] = _credentials(connected)
    return found


def service_rows(connections: Mapping[str, Connected]) -> list[Json]:
    """Tell of the sinks and movers that are connected: `data CLUSTER NAMESPACE`."""
    return [
        {"kind": "data", "name": owner.removeprefix("data ").replace(" ", "/"), "credentials": _credentials(each)}
        for owner, each in sorted(connections.items())
        if owner.startswith("data ")
    ]


def by_owner(connections: Iterable[Mapping[str, Any]]) -> dict[str, Connected]:
    """Read the servers' lists of connections. Of several of one member that counts whose credentials end first."""
    found: dict[str, Connected] = {}
    for each in connections:
        read = _read(each)
        if read is not None and (read.owner not in found or _end(read) < _end(found[read.owner])):
            found[read.owner] = read
    return found


def seconds(duration: str) -> float:
    """Read a duration as Go writes it, such as 1m2.5s or 854µs; what is none counts as 0."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}
    total, number, unit = 0.0, "", ""
    for character in f"{duration} ":
        if character.isdigit() or character in ". ":
            if unit:
                total += float(number or 0) * units.get(unit, 0.0)
                number, unit = "", ""
            number += character.strip()
        else:
            unit += character
    return total


def _read(connection: Mapping[str, Any]) -> Connected | None:
    try:
        claims = read_claims(str(connection.get("jwt", "")))
    except InvalidInput:
        return None
    ends = claims.get("exp")
    return Connected(
        str(claims.get("name", "")),
        datetime.fromtimestamp(float(claims["iat"]), UTC),
        datetime.fromtimestamp(float(ends), UTC) if ends else None,
        seconds(str(connection.get("rtt", ""))),
    )


def _end(connected: Connected) -> datetime:
    return connected.expires_at or datetime.max.replace(tzinfo=UTC)


def _way(connected: Connected | None) -> float:
    """Half of the way there and back, as the server measured it: what a heartbeat took at least."""
    return connected.rtt_seconds / 2 if connected is not None else 0.0


def _credentials(connected: Connected) -> Json:
    expires_at = connected.expires_at.isoformat() if connected.expires_at is not None else None
    return {"issuedAt": connected.issued_at.isoformat(), "expiresAt": expires_at}
