"""Puts an examination together and prints it: what is wrong is told with what to do."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import orjson

from atoll.cli import kinds
from atoll.cli.api import Api, Json
from atoll.cli.checkup import contact, federation, home, machine
from atoll.cli.checkup.findings import Finding, Result, counted, note, problem
from atoll.cli.choosing import HubChoice
from atoll.cli.hub import find, is_named
from atoll.cli.jobs import UNMET
from atoll.cli.options import RecordOutput
from atoll.cli.output import hint, plural, say, to_yaml
from atoll.cli.progress import waiting
from atoll.cli.refusals import LOOK_FURTHER
from atoll.cli.tables import print_table
from atoll.federation.errors import AtollError, Forbidden, InvalidInput, NotFound
from atoll.local.home import Home, default_home
from atoll.local.kubeconfig import Context

# A hub whose NATS is away knows that after ten seconds.
_PATIENCE_SECONDS = 20.0
HEADERS = ("CHECK", "RESULT", "WHAT")


def run(choice: HubChoice, output: RecordOutput) -> int:
    """Examine everything, print it, and give the exit code: 3 if there is a problem."""
    with waiting("examining"):
        findings = list(examine(choice))
    _print(findings, output)
    counts = counted(findings)
    problems, warnings = counts[Result.PROBLEM], counts[Result.WARNING]
    if problems or warnings:
        hint(f"{plural(problems, 'problem')}, {plural(warnings, 'warning')}")
    return UNMET if problems else 0


def examine(choice: HubChoice) -> Iterator[Finding]:
    """Give what is found, part by part: the machine, the home on it, the hub, NATS, members."""
    place = Home.at(choice.home) if choice.home else Home(default_home())
    yield from machine.examine(place.root)
    try:
        context = find(choice)
    except InvalidInput:
        raise
    except AtollError as error:
        yield from home.examine(place, now=datetime.now(UTC))
        yield contact.unreachable(error, was_named=is_named(choice))
        return
    if context.home:
        place = Home.at(context.home)
    if context.home or choice.home:
        yield from home.examine(place, now=datetime.now(UTC))
    with Api(context.server, context.credentials, timeout_seconds=_PATIENCE_SECONDS) as api:
        yield from _of_hub(api, context)


def _of_hub(api: Api, context: Context) -> Iterator[Finding]:
    try:
        reached = list(contact.examine(api, context, now=datetime.now(UTC)))
    except AtollError as error:
        yield contact.unreachable(error, was_named=True)
        return
    # A hub whose NATS is away finds that out anew for each request, and takes its time: so they are asked at once.
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(_members, api)
        began = datetime.now(UTC)
        diagnosis, unseen = _diagnosis(api)
        now = datetime.now(UTC)
        found = asked.result()
    if diagnosis is None:
        yield from (*reached, *unseen, *_judged(found, now=now))
        return
    dated = datetime.fromisoformat(diagnosis["hub"]["at"])
    measured = contact.hub_clock(dated, (began, now))
    is_better = now - began < contact.ROUGHLY  # than a date that is told to the second
    yield from (measured if is_better and each.check == measured.check else each for each in reached)
    yield from (*federation.hub(diagnosis), *federation.nats(diagnosis))
    yield from (*_judged(found, now=dated), *federation.evidence(diagnosis, now=dated))


def _diagnosis(api: Api) -> tuple[Json | None, tuple[Finding, ...]]:
    """Ask the hub for its own examination; give what is missing if it does not say."""
    try:
        return api.get("/diagnosis"), ()
    except Forbidden:
        text = "not seen: NATS, clocks and credentials of members are for Operators and Admins"
        return None, (note("nats", text, "ask somebody who has one of these roles"),)
    except NotFound:
        remedy = "bring it to the version of this command"
        return None, (note("nats", "not seen: this hub is older than the examination", remedy),)
    except AtollError as error:
        return None, (problem("nats", f"not seen: {_told_here(error)}", "see the hub's log"),)


def _members(api: Api) -> list[Json] | Finding:
    """Ask for clusters and gateways; give why if the hub does not show them."""
    try:
        kept = {kind: api.get(kinds.atoll(kind).collection()).get("items", []) for kind in ("Cluster", "Gateway")}
    except Forbidden:
        return note("clusters", "not seen: no role is granted to us", "an Admin grants one by a RoleBinding")
    except AtollError as error:
        return problem("clusters", f"not seen: {_told_here(error)}", "is NATS well? See above, and the hub's log")
    return [{**each, "kind": kind} for kind, found in kept.items() for each in found]


def _judged(found: list[Json] | Finding, *, now: datetime) -> Iterator[Finding]:
    if isinstance(found, Finding):
        yield found
    else:
        yield from federation.members(found, now=now)


def _told_here(error: AtollError) -> str:
    return str(error).removesuffix(LOOK_FURTHER)


def _print(findings: Sequence[Finding], output: RecordOutput) -> None:
    if output is RecordOutput.TABLE:
        print_table(HEADERS, [(each.check, each.result.value, _told(each)) for each in findings])
        return
    records = [each.wire() for each in findings]
    if output is RecordOutput.JSON:
        say(orjson.dumps({"findings": records}, option=orjson.OPT_INDENT_2).decode())
    else:
        say(to_yaml({"findings": records}).rstrip())


def _told(finding: Finding) -> str:
    return f"{finding.message} → {finding.remedy}" if finding.remedy else finding.message
