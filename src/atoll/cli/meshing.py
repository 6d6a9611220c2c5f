"""What `mesh status` prints: the link matrix, out of each cluster's own report."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson

from atoll.cli import kinds
from atoll.cli.ages import age, instant
from atoll.cli.api import Api
from atoll.cli.mesh_matrix import milliseconds, print_matrix
from atoll.cli.options import Output
from atoll.cli.output import hint, say, to_yaml
from atoll.cli.tables import print_table
from atoll.federation.errors import Forbidden
from atoll.federation.mesh import Direction, Matrix, Member, matrix, measured_rates, members_of
from atoll.federation.mesh.rates import Rate, Way
from atoll.federation.resources import Cluster, Transfer

_UNITS = ("", "k", "M", "G", "T")


def read_members(api: Api) -> tuple[Member, ...]:
    """Read the clusters of the mesh."""
    answer = api.get(kinds.atoll("Cluster").collection())
    return members_of(Cluster.model_validate(item) for item in answer["items"])


def show(api: Api, output: Output) -> bool:
    """Print every link; tell whether all that are expected are ready."""
    members = read_members(api)
    rates = {} if output is Output.TABLE else _rates(api)
    whole = matrix(members, now=datetime.now(UTC), rates=rates)
    if output in (Output.JSON, Output.YAML):
        print_record(document(whole), output)
    elif not whole.pairs:
        hint("no cluster has reported a mesh link")
    elif output is Output.WIDE:
        headers = ("FROM", "TO", "STATE", "LATENCY", "NODES", "FAILURES", "RATE", "SEEN", "PROVEN", "REASON")
        print_table(headers, _directions(whole))
    else:
        print_matrix(whole)
    for member in members:
        for problem in (member.facts.message, *member.facts.problems):
            if problem and output not in (Output.JSON, Output.YAML):
                hint(f"{member.cluster}: {problem}")
    return not whole.broken


def print_record(record: object, output: Output) -> None:
    """Print something that is no object of the API, as JSON or YAML."""
    say(
        orjson.dumps(record, option=orjson.OPT_INDENT_2).decode() if output is Output.JSON else to_yaml(record).rstrip()
    )


def document(whole: Matrix) -> dict[str, Any]:
    """Give the matrix as JSON has it."""
    return {
        "clusters": list(whole.clusters),
        "outsiders": list(whole.outsiders),
        "links": [
            {
                "clusters": list(pair.link.clusters),
                "state": str(pair.link.state),
                "message": pair.link.message,
                "isMissing": pair.is_missing,
                "latencySeconds": pair.latency_seconds,
                "provenAt": instant(pair.link.proven_at),
                "directions": [_direction(side) for side in (pair.there, pair.back) if side is not None],
            }
            for pair in whole.pairs.values()
        ],
    }


def _direction(side: Direction) -> dict[str, Any]:
    view = side.view.wire() if side.view is not None else None
    rate = side.rate
    return {
        "from": side.source,
        "to": side.destination,
        "isExpected": side.is_expected,
        "view": view,
        "bytesPerSecond": rate.bytes_per_second if rate is not None else None,
        "measuredAt": instant(rate.measured_at) if rate is not None else None,
    }


def _rates(api: Api) -> dict[Way, Rate]:
    """Read what transfers measured; somebody who may not list all of them sees links without it."""
    try:
        answer = api.get(kinds.atoll("Transfer").collection())
    except Forbidden:
        return {}
    return measured_rates(Transfer.model_validate(item) for item in answer["items"])


def _directions(whole: Matrix) -> Iterator[tuple[object, ...]]:
    for side, pair in whole.directions():
        view, rate = side.view, side.rate
        state = str(pair.link.state)
        if view is None:
            yield side.source, side.destination, state, "", "", "", "", "never", "never", pair.link.message
            continue
        nodes = (
            f"{view.remote_nodes - view.unreachable_nodes}/{view.remote_nodes}"
            if view.unreachable_nodes
            else view.remote_nodes
        )
        latency = milliseconds(view.latency_seconds) if view.latency_seconds is not None else ""
        speed = f"{_bytes(rate.bytes_per_second)}/s" if rate is not None else ""
        seen, proven = age(view.seen_at or view.last_proven_at), age(view.last_proven_at)
        reason = view.reason or view.cache_problem or pair.link.message
        yield side.source, side.destination, state, latency, nodes, view.failures, speed, seen, proven, reason


def _bytes(amount: float) -> str:
    unit = 0
    while amount >= 1000 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.3g}{_UNITS[unit]}B"
