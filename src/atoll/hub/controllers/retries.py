"""What a failed run means for its job: another attempt, and when, or the end. Pure.

Owns the reading of Job.spec.retryPolicy. It decides by what a run's status says, which never changes once it has
ended: so every hub comes to the same, however often it looks.
"""

import hashlib
from collections.abc import Iterable

from atoll.federation.capacity import parse_duration
from atoll.federation.resources import Job, Run
from atoll.federation.resources.retry import RetryAction, RetryPolicy
from atoll.federation.resources.run import DISPLACED_REASONS

# What a run ended with that another attempt cannot mend: the member's API server refuses the job's own manifest.
_NOT_RETRIED = frozenset({"InvalidManifest"})
# Attempts that fail together shall not come back together; shortened only, so that maxBackoff is the longest wait.
_JITTER = 0.2
_MOST_DOUBLINGS = 30


def action_of(policy: RetryPolicy, reason: str, exit_code: int | None) -> RetryAction:
    """Decide what follows from a failure that its work is to blame for."""
    if reason in _NOT_RETRIED:
        return "Fail"
    return next((rule.action for rule in policy.rules if rule.matches(exit_code, reason)), "Retry")


def counts_as_failure(job: Job, run: Run) -> bool:
    """Tell whether an ended run uses up one of the job's retries."""
    status = run.status
    if status.phase != "Failed" or status.reason in DISPLACED_REASONS:
        return False
    return action_of(job.spec.retry_policy, status.reason, status.exit_code) != "Ignore"


def failures(job: Job, runs: Iterable[Run]) -> int:
    """Count the failures of a job since it was last requeued from its end; a run that is not there any more failed."""
    after = job.status.requeue.failures_after
    counted = [run for run in runs if run.spec.epoch > after]
    newest = max((run.spec.epoch for run in counted), default=after)
    return newest - after - sum(not counts_as_failure(job, run) for run in counted)


def attempts_failed(job: Job, runs: Iterable[Run]) -> int:
    """Count the runs whose work failed, the ignored ones too: each makes the wait longer."""
    after = job.status.requeue.failures_after
    failed = (run for run in runs if run.status.phase == "Failed" and run.status.reason not in DISPLACED_REASONS)
    return sum(run.spec.epoch > after for run in failed)


def may_retry(job: Job, newest: Run, runs: Iterable[Run]) -> bool:
    """Tell whether a run that failed by its own fault is followed by another attempt."""
    action = action_of(job.spec.retry_policy, newest.status.reason, newest.status.exit_code)
    return action == "Ignore" or (action == "Retry" and failures(job, runs) <= job.spec.retries)


def backoff_seconds(job: Job, epoch: int, *, failed: int) -> float:
    """Give the wait before the attempt after `epoch`, which was failure number `failed`; always the same."""
    policy = job.spec.retry_policy
    doubled = parse_duration(policy.backoff) * 2.0 ** min(max(failed - 1, 0), _MOST_DOUBLINGS)
    longest = parse_duration(policy.max_backoff)
    return min(doubled, longest) * (1 - _JITTER * _chance(f"{job.metadata.uid}/{epoch}"))


def _chance(seed: str) -> float:
    """Draw a number from 0 to 1 that depends on nothing but the seed."""
    return int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=4).digest()) / 2**32
