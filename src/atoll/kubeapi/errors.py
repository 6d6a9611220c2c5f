"""The errors of the API machinery, worded and coded as Kubernetes words and codes them.

Owns the tree below and its Status object; must not know resources, storage or HTTP.

    ApiError
    ├── the caller must change the request
    │   ├── BadRequest 400, Unauthorized 401, Forbidden 403, NotFound 404, MethodNotAllowed 405, NotAcceptable 406
    │   ├── UnsupportedMediaType 415, Invalid 422, RequestTooLarge 413
    ├── the caller must read again
    │   ├── Conflict 409, AlreadyExists 409, Gone 410
    └── the caller may retry
        └── TooManyRequests 429, Internal 500, Unavailable 503, Timeout 504
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Cause:
    """One reason for a refusal: the field's path, what is wrong with it, and the machine-readable kind of fault."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"

    def wire(self) -> dict[str, str]:
        """Return the `details.causes[]` entry; a cause that is about no field names none."""
        entry = {"reason": self.reason, "message": self.message}
        return {**entry, "field": self.field} if self.field else entry


@dataclass(frozen=True)
class Subject:
    """What the error is about: `kind` is the plural for errors of a request, the Kind for errors of an object."""

    group: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""

    def wire(self) -> dict[str, str]:
        """Return the identifying part of `details`, without the parts that are empty."""
        parts = {"name": self.name, "group": self.group, "kind": self.kind, "uid": self.uid}
        return {key: value for key, value in parts.items() if value}


class ApiError(Exception):
    """Root of all answers that are not a success. `retryable` says whether the same request may succeed later."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        causes: Iterable[Cause] = (),
        subject: Subject | None = None,
        retry_after_seconds: int | None = None,
        continue_token: str = "",
    ) -> None:
        """Args: `continue_token` is only for an expired list: it goes on where that list ended, inconsistently."""
        super().__init__(message)
        self.message = message
        self.causes = tuple(causes)
        self.subject = subject or Subject()
        self.retry_after_seconds = retry_after_seconds
        self.continue_token = continue_token

    def status(self) -> dict[str, Any]:
        """Return the Kubernetes Status object."""
        details: dict[str, Any] = dict(self.subject.wire())
        if self.causes:
            details["causes"] = [cause.wire() for cause in self.causes]
        if self.retry_after_seconds is not None:
            details["retryAfterSeconds"] = self.retry_after_seconds
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.continue_token} if self.continue_token else {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if details:
            status["details"] = details
        return status


class BadRequest(ApiError):
    """The request cannot be understood."""

    code, reason = 400, "BadRequest"


class Unauthorized(ApiError):
    """The caller is not known."""

    code, reason = 401, "Unauthorized"


class Forbidden(ApiError):
    """The caller is known and may not do this."""

    code, reason = 403, "Forbidden"


class NotFound(ApiError):
    """There is no such object, or no such resource."""

    code, reason = 404, "NotFound"

    @classmethod
    def of(cls, group: str, plural: str, name: str) -> NotFound:
        """Say that the object `name` of a resource does not exist."""
        return cls(f'{qualified(group, plural)} "{name}" not found', subject=Subject(group, plural, name))

    @classmethod
    def resource(cls) -> NotFound:
        """Say that the path names no resource of this server."""
        return cls("the server could not find the requested resource")


class MethodNotAllowed(ApiError):
    """The resource exists and does not have this verb."""

    code, reason = 405, "MethodNotAllowed"

    @classmethod
    def resource(cls) -> MethodNotAllowed:
        """Say that the path has no such method."""
        return cls("the server does not allow this method on the requested resource")


class NotAcceptable(ApiError):
    """None of the media types the caller accepts can be produced."""

    code, reason = 406, "NotAcceptable"


class Conflict(ApiError):
    """The object changed meanwhile, or others own the fields that are applied."""

    code, reason = 409, "Conflict"

    @classmethod
    def of(cls, subject: Subject, why: str) -> Conflict:
        """Say that an operation on `subject` (its `kind` the plural) lost against another write."""
        about = f'{qualified(subject.group, subject.kind)} "{subject.name}"'
        return cls(f"Operation cannot be fulfilled on {about}: {why}", subject=subject)


class AlreadyExists(ApiError):
    """An object of that name exists."""

    code, reason = 409, "AlreadyExists"

    @classmethod
    def of(cls, group: str, plural: str, name: str) -> AlreadyExists:
        """Say that the object `name` of a resource exists."""
        return cls(f'{qualified(group, plural)} "{name}" already exists', subject=Subject(group, plural, name))


class Gone(ApiError):
    """The history that the caller asks for is no longer kept: list again."""

    code, reason = 410, "Expired"


class RequestTooLarge(ApiError):
    """The body is larger than the server takes."""

    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(ApiError):
    """The body's Content-Type is not one this request takes."""

    code, reason = 415, "UnsupportedMediaType"


class Invalid(ApiError):
    """The object is well-formed and breaks rules: every broken rule is a cause."""

    code, reason = 422, "Invalid"

    @classmethod
    def of(cls, subject: Subject, causes: Iterable[Cause]) -> Invalid:
        """Say that the object `subject` (its `kind` the Kind) breaks the rules named by `causes`."""
        listed = tuple(causes)
        parts = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in listed]
        text = parts[0] if len(parts) == 1 else f"[{', '.join(parts)}]"
        return cls(
            f'{qualified(subject.group, subject.kind)} "{subject.name}" is invalid: {text}',
            causes=listed,
            subject=subject,
        )


class TooManyRequests(ApiError):
    """The server is busy: wait `retry_after_seconds`."""

    code, reason, retryable = 429, "TooManyRequests", True


class Internal(ApiError):
    """The server failed; its log says why."""

    code, reason, retryable = 500, "InternalError", True


class Unavailable(ApiError):
    """The storage cannot be reached, or the cache is behind it."""

    code, reason, retryable = 503, "ServiceUnavailable", True


class Timeout(ApiError):
    """The server did not come to the asked state in time, for example to a resourceVersion of the future."""

    code, reason, retryable = 504, "Timeout", True


def qualified(group: str, resource: str) -> str:
    """Return `resource.group`, or `resource` alone for the core group."""
    return f"{resource}.{group}" if group else resource
