"""What is said of a log that cannot be read."""

import pytest

from atoll.federation.resources import Run
from atoll.hub.http.logs import no_more_of


@pytest.mark.parametrize(
    ("cancelled", "reason", "told"),
    [
        (True, "Cancelled", "it has ended (Cancelled): pods that are stopped are removed, and what they printed"),
        (False, "", "it has ended (Failed), and its pods are gone, and what they printed with them"),
    ],
)
def test_of_a_run_that_is_over_it_is_said_where_its_output_went(cancelled: bool, reason: str, told: str) -> None:
    """Trying again would not help, and is not advised."""
    spec = {"job": "j", "cluster": "onprem", "epoch": 1, "cancelled": cancelled}
    status = {"phase": "Failed", "reason": reason}
    run = Run.model_validate({"metadata": {"name": "j-1", "namespace": "lab"}, "spec": spec, "status": status})
    assert no_more_of(run).startswith(told)
