"""The guarantees as questions to what was collected: each gives what contradicts it, and how much it saw. Pure."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from campaign.evidence import Attempt, Evidence, PolicyClaim, PolicySample, Read, RunFiles, Tampering
from campaign.report import Finding

# How long a change by hand may stand: an agent sees it at once, but its API server may be away for a whole fault.
_HEAL_SECONDS = 60.0
_PROVEN = ("Realized", "Resolved", "Observed")


@dataclass(frozen=True)
class Verdict:
    """What one guarantee's question found, out of how many observations."""

    guarantee: str
    findings: tuple[Finding, ...]
    observations: int


Judge = Callable[[Evidence], tuple[Iterable[str], int]]


def judge(evidence: Evidence) -> list[Verdict]:
    """Ask all of them."""
    verdicts = []
    for guarantee, question in QUESTIONS.items():
        texts, observations = question(evidence)
        verdicts.append(Verdict(guarantee, tuple(Finding(guarantee, text) for text in texts), observations))
    return verdicts


def one_at_a_time(evidence: Evidence) -> tuple[Iterable[str], int]:
    """G1: no two processes of one job were alive together that are of different runs, or the same task of one."""
    free = {job.name for job in evidence.jobs if job.loss_policy == "Duplicate"}
    attempts = [attempt for attempt in evidence.attempts if attempt.job not in free]
    return list(_meetings(attempts)), len(attempts)


def _meetings(attempts: Iterable[Attempt]) -> Iterator[str]:
    for job, found in _by_job(attempts).items():
        for one, other in combinations(sorted(found, key=lambda each: each.began), 2):
            is_another = one.run != other.run or one.task == other.task
            if is_another and other.began <= one.last:
                seconds = min(one.last, other.last) - other.began
                yield f"job {job}: {one.run}/{one.task} and {other.run}/{other.task} ran together for {seconds:.1f} s"


def work_goes_on(evidence: Evidence) -> tuple[Iterable[str], int]:
    """G2: work of lossPolicy Wait that nobody touched ran once, to its end, whatever happened around it."""
    untouched = {
        job.name
        for job in evidence.jobs
        if job.loss_policy == "Wait" and not job.was_hit and not job.was_cancelled and job.was_acknowledged
    }
    found: dict[tuple[str, str], list[Attempt]] = defaultdict(list)
    for attempt in evidence.attempts:
        if attempt.job in untouched:
            found[attempt.job, attempt.task].append(attempt)
    return [text for (job, task), tries in found.items() for text in _interruptions(job, task, tries)], len(found)


def _interruptions(job: str, task: str, tries: Sequence[Attempt]) -> Iterator[str]:
    for attempt in tries:
        if attempt.last_word == "told":
            yield f"job {job}: {attempt.run}/{task} was told to end after {attempt.last - attempt.began:.1f} s"
        elif attempt.last_word != "end":
            yield f"job {job}: {attempt.run}/{task} was heard no more after {attempt.last - attempt.began:.1f} s"
    if len(tries) > 1:
        yield f"job {job}: task {task} began {len(tries)} times though nothing of it was killed"


def exactly_once(evidence: Evidence) -> tuple[Iterable[str], int]:
    """G3: what was acknowledged is in its file once and in order, and both ledgers say so."""
    readings = sum(len(sent) for run in evidence.runs for sent in run.published.values())
    return [text for run in evidence.runs for text in _differences_of_run(run)], readings


def _differences_of_run(run: RunFiles) -> Iterator[str]:
    if not run.ledger:
        yield f"{run.name}: nothing of it is on the volume"
        return
    for topic, sent in run.published.items():
        lines = run.files.get(topic, b"").splitlines(keepends=True)
        if lines != list(sent):
            yield f"{run.name}: {topic}: {differences(lines, sent)}"
    total = sum(len(sent) for sent in run.published.values())
    hashes = {topic: hashlib.sha256(run.files.get(topic, b"")).hexdigest() for topic in run.published}
    for name, told in (("ledger", run.ledger), ("Dataset", run.dataset)):
        if told.get("received", 0) != total:
            yield f"{run.name}: the {name} says {told.get('received', 0)} received; published were {total}"
        if {row["source"]: row["sha256"] for row in told.get("sources", [])} != hashes:
            yield f"{run.name}: the {name}'s checksums are not those of the files"
        yield from (f"{run.name}: the {name} says {key}: {told[key]}" for key in ("gaps", "shed") if told.get(key))


def differences(lines: Sequence[bytes], wanted: Sequence[bytes]) -> str:
    """Say how lines differ from those that are wanted."""
    missing, repeated = len(set(wanted) - set(lines)), len(lines) - len(set(lines))
    strange = len(set(lines) - set(wanted))
    if missing or repeated or strange:
        return f"{missing} missing, {repeated} twice, {strange} that were not to be there"
    return "out of order"


def never_less(evidence: Evidence) -> tuple[Iterable[str], int]:
    """G4: a policy that has come stays, but for changes by hand, which are put back; proofs are true; others' stay."""
    by_cluster: dict[str, list[PolicySample]] = defaultdict(list)
    for sample in sorted(evidence.samples, key=lambda each: each.at):
        by_cluster[sample.cluster].append(sample)
    found: list[str] = []
    for cluster, samples in by_cluster.items():
        tamperings = [each for each in evidence.tamperings if each.cluster == cluster]
        found += _lost_foreigners(cluster, samples, evidence.foreign)
        for policy in evidence.versions[-1] if evidence.versions else ():
            versions = [version[policy] for version in evidence.versions if policy in version]
            touched = [each for each in tamperings if each.policy == policy]
            found += _retreats(
                f"{cluster}: {policy}", versions, [(each.at, each.held.get(policy)) for each in samples], touched
            )
        found += _false_claims(
            cluster, samples, [each for each in evidence.claims if each.cluster == cluster], evidence
        )
    return found, len(evidence.samples) + len(evidence.claims)


def _lost_foreigners(cluster: str, samples: Sequence[PolicySample], foreign: Mapping[str, object]) -> Iterator[str]:
    """Give the policies of others, which were there before all else, that were seen changed or gone."""
    for policy, said in foreign.items():
        if any(sample.held.get(policy) != said for sample in samples):
            yield f"{cluster}: {policy}, which is somebody else's, was changed or deleted"


def _retreats(
    name: str, versions: Sequence[object], seen: Sequence[tuple[float, object]], touched: Sequence[Tampering]
) -> Iterator[str]:
    """Give where a policy became less than it had been: gone, older, or something that no commit says."""
    reached, bad_since = -1, None
    for at, said in seen:
        rank = max((rank for rank, version in enumerate(versions) if version == said), default=-1)
        if rank >= reached:
            reached, bad_since = rank, None
            continue
        bad_since = at if bad_since is None else bad_since
        by_hand = [each.at for each in touched if each.at <= at]
        if not by_hand or at - max(by_hand) > _HEAL_SECONDS:
            what = "is gone" if said is None else "says less than it did"
            yield f"{name} {what} since {bad_since:.1f}, and nobody had touched it for {_HEAL_SECONDS:g} s"
            return


def _false_claims(
    cluster: str, samples: Sequence[PolicySample], claims: Sequence[PolicyClaim], evidence: Evidence
) -> Iterator[str]:
    """Give the proofs of an instant between two looks that both found something missing."""
    for claim in claims:
        if claim.rung not in _PROVEN:
            continue
        if claim.proven_at > claim.said_at + 1.0:
            yield f"{cluster}: proven {claim.proven_at - claim.said_at:.1f} s after it was said"
        before = [each for each in samples if each.at <= claim.proven_at]
        after = [each for each in samples if each.at > claim.proven_at]
        if before and after:
            bad = [_missing(each, evidence) for each in (before[-1], after[0])]
            if common := sorted(bad[0] & bad[1]):
                names = ", ".join(common)
                yield f"{cluster}: {claim.rung} was proven for {claim.proven_at:.1f}, when {names} was not so"


def _missing(sample: PolicySample, evidence: Evidence) -> set[str]:
    """Give the policies that say in a cluster what no commit does."""
    versions = evidence.versions
    names = versions[-1] if versions else {}
    return {
        policy
        for policy in names
        if all(sample.held.get(policy) != version.get(policy) for version in versions if policy in version)
    }


def survives(evidence: Evidence) -> tuple[Iterable[str], int]:
    """G5: every hub gives what was acknowledged last, or something later that was sent; and it has every job."""
    return [text for read in evidence.reads for text in _losses(read)], len(evidence.reads)


def _losses(read: Read) -> Iterator[str]:
    register = read.register
    if read.value not in {register.acknowledged, *register.unknown}:
        yield (
            f"{register.name}: hub {read.hub} gives {'nothing' if read.value is None else read.value}; acknowledged "
            f"was {register.acknowledged}, and sent since {list(register.unknown)}"
        )


def keeps_to_its_own(evidence: Evidence) -> tuple[Iterable[str], int]:
    """G6: nobody got or changed anything of somebody else."""
    return [f"{each.who} {each.what}: {each.got}" for each in evidence.trespasses if each.got], len(evidence.trespasses)


def refuses_clearly(evidence: Evidence) -> tuple[Iterable[str], int]:
    """G7: what was malformed was refused, the answer names the field, and nothing is there that was not before."""
    found = []
    for bad in evidence.bad_requests:
        if not 400 <= bad.code < 500:
            found.append(f"{bad.what}: answered {bad.code}: {bad.message}")
        elif bad.field not in bad.message:
            found.append(f"{bad.what}: the answer does not name {bad.field}: {bad.message}")
        if bad.left_behind:
            found.append(f"{bad.what}: it was refused, and something is there now")
    return found, len(evidence.bad_requests)


def settles(evidence: Evidence) -> tuple[Iterable[str], int]:
    """Whatever was begun has come to its end: without this, most of the above would hold of nothing."""
    return list(evidence.unsettled), evidence.settled + len(evidence.unsettled)


def _by_job(attempts: Iterable[Attempt]) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        found[attempt.job].append(attempt)
    return found


QUESTIONS: Mapping[str, Judge] = {
    "G1": one_at_a_time,
    "G2": work_goes_on,
    "G3": exactly_once,
    "G4": never_less,
    "G5": survives,
    "G6": keeps_to_its_own,
    "G7": refuses_clearly,
    "Settled": settles,
}
