"""What JetStream answers, and which error a refusal is. Pure."""

from collections.abc import Mapping
from typing import Any

import orjson

from atoll.federation.errors import Conflict, Internal, NotFound, Unavailable

# Wrong last sequence, wrong last message id, and the 2.12+ constant for a batch: nats-server errors.json.
_CONFLICT_CODES = frozenset({10070, 10071, 10164})
_NOT_FOUND_CODES = frozenset({10014, 10037, 10059})
_STREAM_EXISTS = 10058


def read_answer(data: bytes) -> dict[str, Any]:
    """Read an answer.

    Raises:
        Internal: it is none.
    """
    try:
        answer = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Internal("NATS answered with something that is no JSON") from error
    if not isinstance(answer, dict):
        raise Internal("NATS answered with something that is no object")
    return answer


def stream_exists(answer: Mapping[str, Any]) -> bool:
    """Tell whether a stream was not made because one of its name is there."""
    return bool(answer.get("error", {}).get("err_code") == _STREAM_EXISTS)


def raise_for(answer: Mapping[str, Any], what: str) -> None:
    """Raise what a refusal means; `what` was asked for.

    Raises:
        Conflict, NotFound, Unavailable, Internal: as the server says.
    """
    error = answer.get("error")
    if not error:
        return
    code, text = error.get("err_code", 0), f"{what}: {error.get('description', 'refused')}"
    if code in _CONFLICT_CODES:
        raise Conflict(text)
    if code in _NOT_FOUND_CODES:
        raise NotFound(text)
    if error.get("code", 500) >= 500:  # out of storage, no leader, overloaded: it may pass
        raise Unavailable(text)
    raise Internal(text)
