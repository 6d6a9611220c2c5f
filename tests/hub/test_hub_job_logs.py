"""What is said of a log that cannot be read."""

import pytest

from atoll.federation.resources import Run
from atoll.hub.http.logs import no_more_of


@pytest.mark.parametrize(
    ("started", "reason", "told"),
    [
        (None, "Cancelled", "it has ended (Cancelled) before it printed anything"),
        ("2026-11-23T04:00:00Z", "", "it has ended (Failed), its pods are gone, and of what they printed nothing was"),
    ],
)
def test_of_a_run_that_is_over_it_is_said_where_its_output_went(started: str | None, reason: str, told: str) -> None:
    """Trying again would not help, and is not advised."""
    spec = {"job": "j", "cluster": "onprem", "epoch": 1}
    status = {"phase": "Failed", "reason": reason, "startedAt": started}
    run = Run.model_validate({"metadata": {"name": "j-1", "namespace": "lab"}, "spec": spec, "status": status})
    assert no_more_of(run).startswith(told)
