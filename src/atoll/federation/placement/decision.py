"""The decision record: what was decided about a job, and all that is needed to say why.

It is stored as JSON in `Run.spec.decision` and `Job.status.decision`; `atoll job explain` prints it. Its form:

    {"job": "seismology/picks", "decidedAt": "2026-11-22T18:00:00Z",
     "selected": "onprem-gpu",          # null: no cluster is feasible
     "startsNow": true,                 # false: selected has no room yet, the job waits for it in the hub
     "demand": {"pods": 1, "millicores": 2000, "memoryBytes": 4294967296, "gpus": 1, "gpuModels": ["A100"],
                "gpuMemoryBytes": 0, "durationSeconds": 1200.0, "durationSource": "expectedDuration",
                "durationGpu": "A100", "secondsPerCurrency": 60.0,
                "learned": {"seconds": 1200.0, "lowSeconds": 900.0, "highSeconds": 1500.0, "runs": 12, "speeds": []},
                "inputs": [{"dataset": "seismology/anmo", "version": 1, "bytes": 1048576, "replicas": ["onprem-gpu"]}]},
     "clusters": [                      # feasible ones first, by total
       {"cluster": "onprem-gpu", "isFeasible": true,
        "terms": {"waitSeconds": 0.0, "stagingSeconds": 0.0, "runSeconds": 1200.0, "money": 0.5, "moneySeconds": 30.0,
                  "idleSeconds": 0.0, "totalSeconds": 1230.0},   # max(wait, staging) + run + moneySeconds + idleSeconds
        "relativeSpeed": 1.0,           # of the slowest suitable GPU there, beside durationGpu
        "staging": [{"dataset": "seismology/anmo", "bytes": 1048576, "source": "cloud-eu", "seconds": 1.2,
                     "rate": {"bytesPerSecond": 1e6, "rateSource": "measured", "measuredAt": "…", "sharing": 0}}],
        "reasons": [], "notes": [],     # notes: what was assumed, such as the speed of an unknown GPU
        "inTheWay": {"holder": "lab/big", "kind": "Waiting",       # only where room is free now but claimed
                     "startsInSeconds": 600.0, "endsInSeconds": 4200.0}},
       {"cluster": "lab-k3s", "isFeasible": false, "staging": [], "notes": [],
        "reasons": [{"reason": "GpuModel", "message": "it has no A100: none of its nodes has a GPU",
                     "numbers": {"wants": ["A100"], "has": []}}]}],
     "omitted": {"GpuModel": 936},      # clusters left out of a long list, by their first reason (or "Feasible")
     "queue": {"queue": "weather",      # only where a queue's limit is in the way: then no cluster was looked at
               "resource": "gpus", "field": "quota.limit.gpus", "limit": 8, "held": 8, "asked": 1,
               "message": "…", "advice": "…",
               "holders": [{"job": "weather/big", "queue": "weather.batch", "amount": 8, "holds": "8 GPUs"}]},
     "claim": {"kind": "Waiting",       # only where room is promised; Preempting: runs are stopped for the job
               "cluster": "onprem-gpu", "startsAt": "2026-11-22T18:10:00Z", "latestAt": "2026-11-22T18:15:00Z"},
     "diagnosis": [                     # what would make it feasible, or sooner; the cheapest first
       {"cluster": "cloud-eu", "changes": ["Cordoned"], "message": "uncordon cloud-eu",
        "totalSeconds": 900.0, "savesSeconds": 330.0}]}

The demand of a job with several groups of pods has them all in "groups": [{"role": "worker", "pods": 4, "millicores":
2000, "memoryBytes": 0, "gpus": 1, "gpuModels": []}], and what stands there besides is of the first of them.
Optional values that are unknown are left out. No value is infinite or NaN.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Any, Literal, cast

from pydantic.alias_generators import to_camel

from atoll.federation.capacity import ResourceVector
from atoll.federation.placement.beside import InTheWay
from atoll.federation.placement.demand import Demand
from atoll.federation.placement.reasons import Reason

# A millionth, for money: a GPU-second costs about a thousandth of a unit.
_DIGITS = 6


@dataclass(frozen=True)
class ClusterTerms:
    """The terms of one cluster's score; see score.py."""

    wait_seconds: float
    staging_seconds: float
    run_seconds: float
    money: float
    money_seconds: float
    idle_seconds: float
    total_seconds: float

    @property
    def done_seconds(self) -> float:
        """When the job would be done: the total without what is a price and no time."""
        return self.total_seconds - self.money_seconds - self.idle_seconds


@dataclass(frozen=True)
class StagingRate:
    """What the copies on a way have among them in bytes/s, where that number is from, and how many there are now."""

    bytes_per_second: float
    rate_source: Literal["measured", "declared"]
    measured_at: datetime | None = None
    sharing: int = 0


@dataclass(frozen=True)
class StagedInput:
    """An input that would have to be copied, or what is left of a copy that is under way, and from where."""

    dataset: str
    bytes: int
    source: str
    seconds: float
    rate: StagingRate | None = None


@dataclass(frozen=True)
class Verdict:
    """What was found about one cluster: terms if it is feasible, else reasons."""

    cluster: str
    is_feasible: bool
    terms: ClusterTerms | None = None
    relative_speed: float | None = None
    staging: tuple[StagedInput, ...] = ()
    reasons: tuple[Reason, ...] = ()
    notes: tuple[str, ...] = ()
    in_the_way: InTheWay | None = None

    @cached_property
    def form(self) -> Mapping[str, Any]:
        """The JSON form; the records of many jobs that are alike share it, and nobody changes it."""
        return cast(Mapping[str, Any], _fields(self))


@dataclass(frozen=True)
class Suggestion:
    """A change that would make the job feasible, or end sooner; without seconds where that cannot be told honestly."""

    cluster: str
    changes: tuple[str, ...]
    message: str
    total_seconds: float | None = None
    saves_seconds: float | None = None


@dataclass(frozen=True)
class Decision:
    """What was decided about a job. `selected` None: no cluster is feasible."""

    demand: Demand
    decided_at: datetime
    selected: str | None
    verdicts: tuple[Verdict, ...]
    diagnosis: tuple[Suggestion, ...] = ()
    omitted: Mapping[str, int] = field(default_factory=dict)

    def verdict(self, cluster: str) -> Verdict | None:
        """Find what was found about a cluster."""
        return next((verdict for verdict in self.verdicts if verdict.cluster == cluster), None)

    @property
    def terms(self) -> ClusterTerms | None:
        """The terms of the selected cluster."""
        verdict = self.verdict(self.selected) if self.selected else None
        return verdict.terms if verdict else None

    @property
    def starts_now(self) -> bool:
        """Whether the selected cluster has room at once."""
        return self.terms is not None and self.terms.wait_seconds == 0

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form that the module describes."""
        return {
            "job": self.demand.job,
            "decidedAt": _json(self.decided_at),
            "selected": self.selected,
            "startsNow": self.starts_now,
            "demand": _demand(self.demand),
            "clusters": [verdict.form for verdict in self.verdicts],
            "omitted": dict(self.omitted),
            "diagnosis": _json(self.diagnosis),
        }


def outline(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Reduce a record to what was decided and why, without the numbers: two records of equal outline say the same."""
    clusters = tuple(
        (str(entry.get("cluster")), tuple(str(reason.get("reason")) for reason in _entries(entry, "reasons")))
        for entry in _entries(record, "clusters")
    )
    claim = recorded_claim(record)
    promised = (claim.get("kind"), claim.get("cluster"), str(claim.get("victims")))
    return (record.get("selected"), record.get("startsNow"), frozenset(clusters), promised)


def decided_at(record: Mapping[str, Any]) -> datetime | None:
    """Tell when a record was made; None if it does not say."""
    try:
        at = datetime.fromisoformat(str(record.get("decidedAt")))
    except ValueError:
        return None
    return at if at.tzinfo else None


def recorded_terms(record: Mapping[str, Any], cluster: str) -> Mapping[str, float]:
    """Find a cluster's terms in a record, as camelCase; empty if it has none."""
    for entry in _entries(record, "clusters"):
        terms = entry.get("terms")
        if entry.get("cluster") == cluster and isinstance(terms, Mapping):
            return {key: float(value) for key, value in terms.items() if isinstance(value, int | float)}
    return {}


def record_of(record: Mapping[str, Any], cluster: str) -> dict[str, Any]:
    """Keep of a record what was found about one cluster."""
    return {"clusters": [entry for entry in _entries(record, "clusters") if entry.get("cluster") == cluster]}


def recorded_source(record: Mapping[str, Any], cluster: str, dataset: str) -> str | None:
    """Find in a record from where a cluster gets a dataset (`namespace/name`); None if it does not say."""
    for entry in _entries(record, "clusters"):
        for staged in _entries(entry, "staging") if entry.get("cluster") == cluster else ():
            if staged.get("dataset") == dataset and isinstance(staged.get("source"), str):
                return str(staged["source"])
    return None


def recorded_claim(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Find in a record what its job was promised; empty if nothing was."""
    claim = record.get("claim")
    return claim if isinstance(claim, Mapping) else {}


def _entries(record: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    """Give the objects of a list in a record. People may have written the record, so nothing is assumed of it."""
    entries = record.get(field)
    return [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list | tuple) else []


def _demand(demand: Demand) -> dict[str, Any]:
    pod = demand.pod
    inputs = [
        {"dataset": needed.key, "version": needed.version, "bytes": needed.bytes, "replicas": list(needed.replicas)}
        for needed in demand.inputs
    ]
    summary = {
        "pods": demand.count,
        **_vector(pod.resources),
        "gpuModels": list(pod.gpu_models),
        "gpuMemoryBytes": pod.gpu_memory_bytes,
        "durationSeconds": demand.duration_seconds,
        "durationSource": demand.duration_source,
        "durationGpu": demand.duration_gpu,
        "learned": _json(demand.learned),
        "secondsPerCurrency": demand.seconds_per_currency,
        "inputs": inputs,
    }
    if demand.beside:
        summary["groups"] = [
            {"role": role, "pods": count, **_vector(pod.resources), "gpuModels": list(pod.gpu_models)}
            for role, (pod, count) in zip(demand.roles, demand.pods, strict=True)
        ]
    return {key: value for key, value in summary.items() if value is not None}


def _vector(resources: ResourceVector) -> dict[str, int]:
    return {called: getattr(resources, name) for name, called in _names(ResourceVector)}


def _fields(record: Any) -> dict[str, Any]:
    pairs = ((called, getattr(record, name)) for name, called in _names(record.__class__))
    return {key: _json(item) for key, item in pairs if item is not None}


@cache
def _names(kind: Any) -> tuple[tuple[str, str], ...]:
    """Give the fields of a record, each with its name in JSON."""
    return tuple((each.name, to_camel(each.name)) for each in fields(kind))


def _json(value: Any) -> Any:
    """Turn records into JSON types: camelCase keys, None left out, floats rounded."""
    if is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    match value:
        case Mapping():
            return {key: _json(item) for key, item in value.items()}
        case tuple() | list():
            return [_json(item) for item in value]
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case float():
            return round(value, _DIGITS)
    return value
