"""What cancel and requeue understand of a grace, before anything is asked of a hub."""

import pytest

from atoll.cli.job_changes import grace_of
from atoll.federation.errors import InvalidInput

GRACES = {
    "nothing was said": (None, False, None),
    "a duration": ("1m30s", False, 90.0),
    "none at all": ("0s", False, 0.0),
    "at once": (None, True, 0.0),
}


@pytest.mark.parametrize("name", GRACES)
def test_a_grace_is_read_where(name: str) -> None:
    grace, now, seconds = GRACES[name]
    assert grace_of(grace, now=now) == seconds


@pytest.mark.parametrize(
    ("grace", "now", "told"), [("soon", False, "--grace: "), ("-1s", False, "--grace: "), ("1s", True, "--now: ")]
)
def test_a_grace_that_cannot_be_meant_is_refused_by_its_option(grace: str, now: bool, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        grace_of(grace, now=now)
