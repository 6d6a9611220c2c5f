"""A home on this machine: its processes, its ports, its keys and certificates. Looks, and changes nothing."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import orjson

from atoll.cli.checkup.findings import Finding, expiry, note, ok, problem, warning
from atoll.federation.errors import AtollError
from atoll.local import certificates
from atoll.local.home import Home
from atoll.local.pki import RENEW_BEFORE, Files, Pki
from atoll.local.ports import is_free
from atoll.local.state import State

# A process that was started so often again is not well, even if it runs just now.
_MANY_RESTARTS = 3
_CA_WARNING = timedelta(days=180)


def examine(home: Home, *, now: datetime) -> Iterator[Finding]:
    """Look at what is in a home, whether it runs or not."""
    state = home.read_state()
    if home.is_running():
        yield from _running(home, state)
    else:
        yield from _stopped(home, state)
    pki = Pki.of(home)
    new_ca = f"plan for a new CA, of which all clients are told: 'atoll down', remove {home.root / 'pki'}, 'atoll up'"
    yield from _certificate("home/ca", "the CA of this home", pki.ca, now=now, warn=_CA_WARNING, remedy=new_ca)
    renew = "'atoll down' and 'atoll up' renew it"
    for check, whose, files in (
        ("home/certificate", "the hub's certificate", pki.server),
        ("home/admin", "the administrator's certificate", pki.admin),
    ):
        yield from _certificate(check, whose, files, now=now, warn=RENEW_BEFORE, remedy=renew)


def _running(home: Home, state: State | None) -> Iterator[Finding]:
    if state is None or state.phase != "Ready":
        shown = state.phase if state is not None else "starting"
        yield warning("home/processes", f"{home.root} is {shown}", f"wait, or look into {home.logs}")
        return
    down = [each for each in state.processes if each.pid is None]
    often = [each for each in state.processes if each.restarts >= _MANY_RESTARTS]
    for each in down:
        yield problem(f"home/{each.name}", "the process does not run", f"see the end of {each.log}")
    for each in often:
        yield warning(f"home/{each.name}", f"started again {each.restarts} times", f"see the end of {each.log}")
    if not down and not often:
        yield ok("home/processes", f"all {len(state.processes)} of {home.root} run{_restarted(state)}")


def _restarted(state: State) -> str:
    """Name what ended and was started again: it runs now, and may have been killed a moment ago."""
    again = ", ".join(f"{each.name} {each.restarts}x" for each in state.processes if each.restarts)
    return f"; started again: {again}" if again else ""


def _stopped(home: Home, state: State | None) -> Iterator[Finding]:
    if state is not None and state.phase == "Failed":
        yield problem("home/processes", f"the last start failed: {state.message}", f"then {state.start_command}")
    elif home.ports_file.exists():
        yield note("home/processes", f"{home.root} does not run", "start it with 'atoll up' or 'atoll sandbox up'")
    for name, port in _ports(home).items():
        if not is_free(port):
            remedy = f"stop that program, or delete {home.ports_file} to get new ports"
            yield problem("home/ports", f"port {port} ({name}) is in use by another program", remedy)


def _ports(home: Home) -> dict[str, int]:
    try:
        found: dict[str, int] = orjson.loads(home.ports_file.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found


def _certificate(
    check: str, whose: str, files: Files, *, now: datetime, warn: timedelta, remedy: str
) -> Iterator[Finding]:
    pem = files.read().certificate
    if not pem:
        return
    try:
        ends_at = certificates.read(pem).not_after
    except AtollError as error:
        yield problem(check, f"{files.certificate} {error}", "put the right file back")
        return
    yield expiry(check, whose, ends_at, now=now, warn=warn, remedy=remedy)
