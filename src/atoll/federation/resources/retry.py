"""How a failed run is tried again: rules by exit code and reason, and how long to wait before each attempt.

Owns the form of `Job.spec.retryPolicy`; what follows from it is the hub's.
"""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from atoll.federation.resources.base import Duration, Model

RetryAction = Literal["Retry", "Ignore", "Fail", "Succeed"]
FailureReason = Literal["OOMKilled", "Evicted", "NodeLost", "DeadlineExceeded"]
ExitCode = Annotated[int, Field(ge=1, le=255)]  # a status of POSIX has eight bits, and 0 is no failure
ExitCodeRange = Annotated[str, Field(pattern=r"^[0-9]{1,3}-[0-9]{1,3}$")]


class RetryRule(Model):
    """What follows when a run failed in a certain way."""

    exit_codes: Annotated[tuple[ExitCode, ...], Field(max_length=255)] = Field(
        default=(), description="Exit codes of the container that failed, 1 to 255."
    )
    exit_code_ranges: Annotated[tuple[ExitCodeRange, ...], Field(max_length=50)] = Field(
        default=(), description="Further exit codes as ranges with both ends, such as 64-78."
    )
    reasons: Annotated[tuple[FailureReason, ...], Field(max_length=16)] = Field(
        default=(),
        description="Why the run failed. OOMKilled: it had too little memory. Evicted: its node, or somebody there, "
        "sent it away. NodeLost: its node is gone. DeadlineExceeded: its time limit was over.",
    )
    action: RetryAction = Field(
        description="Retry: another attempt, one of spec.retries. Ignore: another attempt that uses none of them up. "
        "Fail: no further attempt. Succeed: it counts as a success, and its outputs are kept."
    )

    @model_validator(mode="after")
    def _matches_something(self) -> "RetryRule":
        if not (self.exit_codes or self.exit_code_ranges or self.reasons):
            raise ValueError("a rule names exitCodes, exitCodeRanges or reasons")
        for first, last in self._ranges:
            if not 1 <= first <= last <= 255:
                raise ValueError(f"exitCodeRanges: {first}-{last}: a range rises, and is of 1 to 255")
        return self

    @property
    def _ranges(self) -> tuple[tuple[int, int], ...]:
        ends = (text.split("-") for text in self.exit_code_ranges)
        return tuple((int(first), int(last)) for first, last in ends)

    def matches(self, exit_code: int | None, reason: str) -> bool:
        """Tell whether a failed run is one of those that the rule is about."""
        if reason in self.reasons:
            return True
        if exit_code is None:
            return False
        return exit_code in self.exit_codes or any(first <= exit_code <= last for first, last in self._ranges)


class RetryPolicy(Model):
    """When and how failed runs are tried again. The first rule that matches counts; without one a run is retried."""

    backoff: Duration = Field(
        default="1s",
        description="Wait before the second attempt; it doubles with each failure, and is shortened by up to a fifth, "
        "so that jobs that fail together do not come back together.",
    )
    max_backoff: Duration = Field(default="5m", description="The longest wait.")
    rules: Annotated[tuple[RetryRule, ...], Field(max_length=50)] = Field(
        default=(), description="What follows from certain failures; the first that matches."
    )
