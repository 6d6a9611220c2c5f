"""What queues are measured in: CPU, memory, GPUs, and the GPU models that some quota names. Owns the vectors' order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from atoll.federation.capacity import ResourceVector, format_bytes, format_millicores, gpu_matches
from atoll.federation.placement import PodDemand, Pods
from atoll.federation.resources import Queue

Vector = tuple[int, ...]
BASE = ("cpu", "memory", "gpus")
"""What every job is weighed by; fair shares are of these alone, since a job may count for several models."""
_MODEL = "gpuModels."


@dataclass(frozen=True)
class Axes:
    """The resources of one tree of queues, in the order of its vectors. Models are named as the quotas write them."""

    models: tuple[str, ...] = ()

    @classmethod
    def of(cls, queues: Iterable[Queue]) -> "Axes":
        """Collect the GPU models that quotas name."""
        named = {model for queue in queues for part in _parts(queue) for model in part}
        return cls(tuple(sorted(named)))

    @property
    def paths(self) -> tuple[str, ...]:
        """Name each component as a quota does: cpu, memory, gpus, gpuModels.A100."""
        return (*BASE, *(_MODEL + model for model in self.models))

    def charge(self, pod: PodDemand, count: int) -> Vector:
        """Tell what pods count for. Which GPU they get is not known: they count for every model that they may get."""
        one = pod.resources
        gpus = one.gpus * count
        models = (gpus if gpus and _may_get(pod.gpu_models, model) else 0 for model in self.models)
        return (one.millicores * count, one.memory_bytes * count, gpus, *models)

    def charge_all(self, pods: Pods) -> Vector:
        """Tell what groups of pods count for together."""
        (pod, count), *beside = pods
        total = self.charge(pod, count)
        for each, times in beside:
            total = tuple(map(sum, zip(total, self.charge(each, times), strict=True)))
        return total

    def pick(self, amounts: Mapping[str, int]) -> tuple[int | None, ...]:
        """Lay out amounts by path; None where nothing is said."""
        return tuple(amounts.get(path) for path in self.paths)

    def zero(self) -> list[int]:
        """Give nothing of everything."""
        return [0] * len(self.paths)


def base_of(whole: ResourceVector) -> tuple[int, int, int]:
    """Lay out the federation's capacity as vectors are."""
    return (whole.millicores, whole.memory_bytes, whole.gpus)


def written(path: str, amount: int) -> str:
    """Write an amount of a resource for people: `8 CPU`, `64GiB memory`, `2 GPUs`, `2 A100`."""
    match path:
        case "cpu":
            return f"{format_millicores(amount)} CPU"
        case "memory":
            return f"{format_bytes(amount)} memory"
        case "gpus":
            return f"{amount} GPU{'' if amount == 1 else 's'}"
        case "jobs":
            return f"{amount} running job{'' if amount == 1 else 's'}"
    return f"{amount} {path.removeprefix(_MODEL)}"


def _parts(queue: Queue) -> tuple[Mapping[str, int], ...]:
    spec = queue.spec
    return (spec.quota.guaranteed.gpu_models, spec.quota.limit.gpu_models, spec.per_user.limit.gpu_models)


def _may_get(wanted: tuple[str, ...], model: str) -> bool:
    return not wanted or any(gpu_matches(model, each) or gpu_matches(each, model) for each in wanted)
