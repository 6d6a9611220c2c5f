"""What a Queue may say by itself, and what stored ones go on to mean."""

import pytest

from atoll.federation.resources import BY_NAME, Queue
from atoll.federation.resources.validation import parse


def manifest(**spec):
    """A Queue as written by hand."""
    return {"apiVersion": "atoll.dev/v1alpha1", "kind": "Queue", "metadata": {"name": "lab"}, "spec": spec}


CONTRADICTIONS = {
    "a short form that differs": (
        {"maxGpus": 4, "quota": {"limit": {"gpus": 8}}},
        "maxGpus 4 and quota.limit.gpus 8 contradict: leave maxGpus out",
    ),
    "a guarantee above the limit": (
        {"quota": {"guaranteed": {"cpu": "4500m"}, "limit": {"cpu": 4}}},
        "must be a string",
    ),
    "a guarantee of CPUs above the limit": (
        {"quota": {"guaranteed": {"cpu": "4500m"}, "limit": {"cpu": "4"}}},
        "quota.guaranteed.cpu is more than quota.limit.cpu: lower the one or raise the other",
    ),
    "a guarantee above the short form": (
        {"quota": {"guaranteed": {"gpus": 5}}, "maxGpus": 4},
        "quota.guaranteed.gpus is more than quota.limit.gpus",
    ),
    "a guarantee of a model above its limit": (
        {"quota": {"guaranteed": {"gpuModels": {"A100": 2}}, "limit": {"gpuModels": {"A100": 1}}}},
        "quota.guaranteed.gpuModels.A100 is more than quota.limit.gpuModels.A100",
    ),
    "an empty range": (
        {"priorities": {"lowest": 5, "highest": 4}},
        "priorities.lowest 5 is more than priorities.highest 4",
    ),
    "memory that is none": ({"quota": {"limit": {"memory": "lots"}}}, "must be a quantity"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_queue_that_contradicts_itself_is_refused_by_name_of_the_field(case):
    """The message says which fields, and what to do."""
    spec, message = case
    queue, problems = parse(BY_NAME["Queue"], manifest(**spec))
    assert queue is None
    assert any(message in problem.message for problem in problems), problems


def test_a_queue_stored_before_quotas_still_limits_gpus():
    """The short form is read as the limit; the same limit in both forms is no contradiction."""
    stored = manifest(weight=2, maxGpus=4, secondsPerCurrency=60.0)
    stored["status"] = {"pending": 1, "running": 2, "usedGpus": 3}
    old = Queue.model_validate(stored)
    assert (old.spec.limits, old.status.used_gpus) == ({"gpus": 4}, 3)
    both, _ = parse(BY_NAME["Queue"], manifest(maxGpus=4, quota={"limit": {"gpus": 4}}))
    assert both.spec.limits == {"gpus": 4}


def test_amounts_are_read_in_whole_units():
    """Millicores, bytes and pieces, by the path that names them."""
    quota = {"limit": {"cpu": "1500m", "memory": "2Gi", "gpus": 3, "gpuModels": {"A100": 1}}}
    queue, _ = parse(BY_NAME["Queue"], manifest(quota=quota))
    assert queue.spec.limits == {"gpuModels.A100": 1, "cpu": 1500, "memory": 2**31, "gpus": 3}
