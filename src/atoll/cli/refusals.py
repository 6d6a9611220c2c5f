"""What an answer other than success means: whose turn it is, in the server's words where it has some. Pure."""

import re
from typing import Any
from urllib.parse import urlsplit

import orjson

from atoll.federation.errors import (
    AtollError,
    Conflict,
    Forbidden,
    Internal,
    InvalidInput,
    NotFound,
    Unauthorized,
    Unavailable,
)
from atoll.local.credentials import Credentials

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
LOOK_FURTHER = ": 'atoll doctor' looks further"
"""The end of what is said of a hub that cannot work; the doctor itself leaves it out."""
# What a hub says that gets no answer from NATS: hub/store/jetstream.py, hub/access/{token_table,audit}.py,
# hub/http/accounts.py.
_AWAY = re.compile(
    r"(?P<outcome>nothing was changed: )?the (?:(?:store|tokens) cannot be reached|accounts cannot be read now|"
    r"request could not be recorded for the audit): (?P<why>.+)"
)
# What the bus had asked (federation/bus/link.py), which is no word for people.
_SUBJECT = re.compile(r"\b(answers?|sent) on \S+")


def no_hub(server: str) -> AtollError:
    """Say that something else listens there."""
    return Internal(f"{server} answers, but is no Atoll hub: 'atoll sandbox status' shows the address of the one here")


def unreached(server: str, why: str) -> AtollError:
    """Say that nothing answers there, and what to do if that should be a hub of this machine."""
    is_here = urlsplit(server).hostname in LOOPBACK
    remedy = "is it running? ('atoll up', 'atoll sandbox up')" if is_here else "is the address right?"
    return Unavailable(f"cannot reach {server}: {why}; {remedy}")


def unanswered(server: str) -> AtollError:
    """Say that whatever is there gave no answer in time."""
    remedy = "is the address right? If it is, the hub is busy or stuck: see its log"
    return Unavailable(f"{server} gave no answer in time: {remedy}")


def refusal(server: str, credentials: Credentials, code: int, content: bytes, path: str) -> AtollError:
    """Turn a Kubernetes Status into the error of who must act; the server's own words where it has some."""
    try:
        status = orjson.loads(content)
    except orjson.JSONDecodeError:
        if code in (404, 405, 501):  # what a server says that does not know our paths at all
            return no_hub(server)
        status = {}
    message = status.get("message") if isinstance(status, dict) else None
    text = str(message or f"{path}: the server answered {code}")
    if code == 401:
        return Unauthorized(f"{_unknown(credentials)}: atoll login {server}")
    if code == 403:
        return Forbidden(text)
    if code == 404:
        return NotFound(f"{text}{_where_others_are(path, text)}")
    if code == 409:
        return Conflict(text)
    if code in (400, 415, 422):
        causes = _causes(status)
        return InvalidInput(f"{_named(status)} is invalid:" if causes else text, causes)
    if code in (429, 502, 503, 504):
        return Unavailable(_without_nats(text) or text)
    return Internal(text)


def _without_nats(text: str) -> str:
    """Say what a hub means that cannot reach its store, for whoever knows no JetStream; empty if it says otherwise."""
    away = _AWAY.fullmatch(text)
    if away is None:
        return ""
    told = f"the hub answers, but not NATS, where it keeps everything ({without_subjects(away['why'])})"
    return f"{away['outcome'] or ''}{told}{LOOK_FURTHER}"


def without_subjects(text: str) -> str:
    """Leave out of a sentence of the bus on which subject it had asked."""
    return _SUBJECT.sub(r"\1", text)


def _where_others_are(path: str, text: str) -> str:
    """Say where an object was looked for, and what shows those there are; empty if something else is not there."""
    match path.strip("/").split("/"):
        case ["apis", "atoll.dev", _version, "namespaces", namespace, plural, _name, *_below] if _is_of(plural, text):
            return f" in namespace {namespace}: atoll get {plural} -A shows those of all namespaces"
        case ["apis", "atoll.dev", _version, plural, _name, *_below] if _is_of(plural, text):
            return f": atoll get {plural} shows those there are"
        case _:
            return ""


def _is_of(plural: str, text: str) -> bool:
    """Tell whether it is an object of this kind that the server has not found, and not its namespace."""
    return text.startswith(f"{plural}.atoll.dev ")


def _unknown(credentials: Credentials) -> str:
    if credentials.token:
        return "your token is mistyped, has expired or was revoked"
    return "the hub does not know your client certificate" if credentials.certificate else "you are not logged in"


def _named(status: Any) -> str:
    details = status["details"]
    return f"{details.get('kind', 'the object')}/{details.get('name', '')}".rstrip("/")


def _causes(status: Any) -> list[str]:
    details = status.get("details") if isinstance(status, dict) else None
    causes = details.get("causes") if isinstance(details, dict) else None
    return [f"{cause.get('field', '')}: {cause.get('message', '')}" for cause in causes or []]
