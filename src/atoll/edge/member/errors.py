"""What can go wrong at a cluster's API server, and how its answers become Atoll's errors. Pure.

federation.errors
├── InvalidInput  400, 405, 413, 415, 422, and 500 for a manifest of the wrong types
│   └── InvalidManifest: one of an order's manifests, refused for what it says
├── NotFound      404 ── KindNotServed: the cluster has no such kind
├── Conflict      409
├── Unavailable   5xx, no answer ── Throttled: 429, or 503 with Retry-After
└── Internal      anything else
Refused           401, 403: the agent's credentials or a quota do not allow it
Expired           410: the resourceVersion or continue token is too old, list again
"""

from collections.abc import Mapping

import orjson

from atoll.federation.errors import AtollError, Conflict, Internal, InvalidInput, NotFound, Unavailable

_INVALID = frozenset({400, 405, 413, 415, 422})
_DEFAULT_RETRY_AFTER_SECONDS = 1.0
# kube-apiserver answers a server-side apply whose types are wrong with a bare 500 (kubernetes/kubernetes,
# managedfields/internal/structuredmerge.go); tried again it would be refused again, for ever.
_UNTYPABLE = "failed to create typed patch object"


class InvalidManifest(InvalidInput):
    """The API server does not take what an order says, such as a field that it does not know. No retry can help."""

    reason = "InvalidManifest"


class KindNotServed(NotFound):
    """The API server serves no such kind: a CRD is missing, or the cluster is too old or too new."""

    reason = "KindNotServed"


class Refused(AtollError):
    """The API server understood and does not allow it (RBAC, admission, quota)."""

    reason = "Forbidden"


class Expired(AtollError):
    """What was asked for is no longer kept; list again."""

    reason = "Expired"
    retryable = True


class Throttled(Unavailable):
    """The API server asks to come back later."""

    reason = "TooManyRequests"

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


def is_passing(error: AtollError) -> bool:
    """Tell whether the same attempt may succeed later without anybody changing the input."""
    return error.retryable or isinstance(error, Conflict | Refused | Internal)


def error_of(code: int, body: bytes, *, what: str, headers: Mapping[str, str]) -> AtollError:
    """Turn a failed answer into the error that says who must act.

    Args:
        code: HTTP status, or the code inside a watch's ERROR event.
        body: a meta/v1 Status if the server is well, anything if a proxy answered.
        what: the request in words, for the message.
        headers: of the answer; Retry-After is read.
    """
    message = f"{what}: {_message_of(body) or f'HTTP status {code}'}"
    retry_after = _retry_after(headers, always=code == 429)
    if retry_after is not None and code in (429, 503):
        return Throttled(message, retry_after)
    if code in _INVALID or (code == 500 and _UNTYPABLE in message):
        return InvalidInput(message)
    if code in (401, 403):
        return Refused(message)
    if code == 404:
        return NotFound(message)
    if code == 409:
        return Conflict(message)
    if code == 410:
        return Expired(message)
    return Unavailable(message) if code >= 500 else Internal(message)


def _message_of(body: bytes) -> str:
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[:200].decode(errors="replace").strip()
    return str(status.get("message", "")) if isinstance(status, dict) else ""


def _retry_after(headers: Mapping[str, str], *, always: bool) -> float | None:
    try:
        return max(0.0, float(headers["Retry-After"]))
    except (KeyError, ValueError):  # absent, or an HTTP date, which no API server sends
        return _DEFAULT_RETRY_AFTER_SECONDS if always else None
