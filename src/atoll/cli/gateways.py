"""What `gateway status` and `describe gateway` print: what waits, how fast it goes, what is lost, and what is wrong.

Owns the words and the layout. What is not known (nothing was heard) is a dash, never a zero.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import orjson

from atoll.cli import kinds, watching
from atoll.cli.ages import age
from atoll.cli.api import Api, Json
from atoll.cli.options import Output, RecordOutput
from atoll.cli.output import hint, say, to_yaml
from atoll.cli.tables import print_table
from atoll.federation.capacity import format_duration
from atoll.federation.errors import NotFound
from atoll.federation.resources import Gateway
from atoll.federation.resources.gateway import GatewayStatus, StreamLedger

STREAM_HEADERS = (
    "STREAM", "RECEIVED", "IN/S", "WAITING", "BYTES", "LAG", "SENT", "OUT/S", "COMMITTED", "SHED", "DAMAGED", "WHY",
)  # fmt: skip
_UNITS = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def show_status(api: Api, name: str | None, output: RecordOutput, *, watch: bool = False) -> None:
    """Print how gateways are: all, or one; if asked, again at each change.

    Raises:
        NotFound: there is no gateway of that name.
    """
    path = kinds.atoll("Gateway").collection(None)
    watching.show(
        lambda: api.get(path).get("items", []), partial(_print, name=name, output=output), Output(output), watch=watch
    )


def _print(found: list[Json], name: str | None, output: RecordOutput) -> None:
    gateways = [Gateway.model_validate(each) for each in found]
    chosen = [each for each in gateways if name in (None, each.metadata.name)]
    if name is not None and not chosen:
        raise NotFound(f"gateway {name!r} does not exist; atoll gateway list shows those that do")
    records = [record(each) for each in chosen]
    if output is RecordOutput.JSON:
        say(orjson.dumps(records, option=orjson.OPT_INDENT_2).decode())
    elif output is RecordOutput.YAML:
        say(to_yaml(records).rstrip())
    elif not chosen:
        hint("there is no gateway yet; 'atoll gateway enroll NAME' invites one")
    for index, gateway in enumerate(chosen if output is RecordOutput.TABLE else ()):
        if index:
            say("")
        say(f"{'Gateway:':<11}{gateway.metadata.name}")
        print_gateway(gateway)


def record(gateway: Gateway) -> dict[str, Any]:
    """Give what programs read."""
    return {"name": gateway.metadata.name, **gateway.status.model_dump(mode="json", by_alias=True, exclude_none=True)}


def print_gateway(gateway: Gateway) -> None:
    """Print one gateway: a line for each fact, then its Streams."""
    for title, fact in facts(gateway):
        say(f"{title + ':':<11}{fact}" if len(title) < 10 else f"{title}: {fact}")
    of_files = {each.stream: each.last_problem for each in gateway.status.files if each.problems}
    counted = {row.stream: row for row in gateway.status.ledger}
    # A Stream of files that never had one in the outbox is in no ledger, and in most need of a word.
    rows = [counted.get(name) or StreamLedger(stream=name) for name in sorted({*counted, *of_files})]
    if rows:
        print_table(STREAM_HEADERS, [stream_row(row, of_files.get(row.stream, "")) for row in rows])
    elif gateway.status.last_proven_at is not None:
        hint("it has no Stream yet, or its broker has not confirmed one; see 'atoll stream list -A'")


def facts(gateway: Gateway) -> Iterator[tuple[str, str]]:
    """Give what a person should know, most important first."""
    status, spec = gateway.status, gateway.spec
    yield "Phase", status.phase + (f" ({status.reason})" if status.reason else "")
    for condition in status.conditions:
        if condition.status == "False" and condition.type != "Ready" and condition.message:
            yield condition.type, condition.message
    if status.last_proven_at is None:
        yield "Proven", "never; run what 'atoll gateway enroll' printed"
        return
    yield "Proven", f"{age(status.last_proven_at)} ago" + (", all below is as it was then" if status.lost_since else "")
    yield "Broker", _broker(status)
    room = f"{size(status.outbox_bytes)} of {size(spec.outbox_bytes)}"
    waiting = f"{status.outbox_readings} readings, {room}"
    yield "Outbox", waiting + (f", the oldest for {seconds(status.lag_seconds)}" if status.outbox_readings else "")
    yield "Rates", f"{rate(status.readings_per_second)}/s in, {rate(status.forwarded_per_second)}/s out"
    if status.shed or status.damaged:
        yield "Missing", f"{status.shed} readings shed, {status.damaged} lost with the disk"


def _broker(status: GatewayStatus) -> str:
    if not status.broker_needed:
        return "none needed: its Streams have files only"
    return "connected" if status.broker_connected else "not connected"


def stream_row(row: StreamLedger, file_problem: str = "") -> Sequence[object]:
    """Give a Stream's cells; `file_problem` is what is wrong with its files."""
    return (
        row.stream,
        row.received,
        rate(row.readings_per_second),
        row.outbox_readings,
        size(row.outbox_bytes),
        seconds(row.lag_seconds),
        row.forwarded,
        rate(row.forwarded_per_second),
        row.committed,
        row.shed,
        row.damaged,
        row.problem or row.last_refusal or file_problem,
    )


def size(count: int) -> str:
    """Write bytes to three digits, in the units of disks."""
    for unit, suffix in _UNITS:
        if count >= unit:
            return f"{count / unit:.3g}{suffix}" if count < 999 * unit else f"{count // unit}{suffix}"
    return f"{count}B"


def rate(per_second: float) -> str:
    """Write a rate: to a tenth below ten, else whole."""
    return f"{per_second:.1f}" if 0 < per_second < 10 else f"{per_second:.0f}"


def seconds(count: float) -> str:
    """Write how long something has waited; nothing waits: a dash."""
    return format_duration(round(count, 1) if count < 10 else round(count)) if count else "-"
