"""The errors that cross rooms, split by who must act.

    AtollError
    ├── InvalidInput      the caller: mend the input; `problems` names every field
    ├── Unauthorized      the caller: show credentials that are good, or trust who answers
    ├── Forbidden         the caller: ask for a role that allows it
    ├── NotFound          the caller: the thing named is not there
    ├── Conflict          the caller: read again, decide again; `current` is the revision that stands now
    ├── Unavailable       nobody: try again later; `retryable` is True
    └── Internal          us: a bug or a broken part

Each carries `reason`, the PascalCase word that also stands in conditions, API answers and the CLI.
"""

from collections.abc import Sequence
from typing import ClassVar


class AtollError(Exception):
    """Root of all errors that a caller of Atoll's rooms may meet."""

    reason: ClassVar[str] = "InternalError"
    retryable: ClassVar[bool] = False


class InvalidInput(AtollError):
    """The input is wrong; nothing was changed."""

    reason = "Invalid"

    def __init__(self, message: str, problems: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class Unauthorized(AtollError):
    """One side could not prove to the other who it is; nothing was changed."""

    reason = "Unauthorized"


class Forbidden(AtollError):
    """Who asks is known and may not do this; nothing was changed."""

    reason = "Forbidden"


class NotFound(AtollError):
    """The thing named does not exist."""

    reason = "NotFound"


class Conflict(AtollError):
    """A guarded write lost: the thing changed since it was read."""

    reason = "Conflict"

    def __init__(self, message: str, current: int | None = None) -> None:
        super().__init__(message)
        self.current = current


class Unavailable(AtollError):
    """A part cannot be reached or did not answer in time. The outcome of a write is unknown: read again."""

    reason = "ServiceUnavailable"
    retryable = True


class Internal(AtollError):
    """A part answered with nonsense."""
