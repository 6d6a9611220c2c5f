"""docs/jobs.md: every field of a job is there with the words of `kubectl explain`, and every example is a job."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from atoll.federation.resources import BY_NAME, GROUP_VERSION, validation
from atoll.federation.resources.job import JobSpec
from atoll.hub.schema import openapi_schema

MANUAL = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", MANUAL, re.DOTALL)
BASE, *FEATURES = (yaml.safe_load(text) for text in EXAMPLES)
SET_BY_COMMANDS = {"stopGrace", "requeues", "cancelled"}


def explained() -> dict[str, str]:
    spec: dict[str, Any] = openapi_schema(BY_NAME["Job"])["properties"]["spec"]["properties"]
    return {name: " ".join(field["description"].split()) for name, field in spec.items()}


def test_every_field_is_there_with_the_words_of_kubectl_explain() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", MANUAL, re.MULTILINE))
    assert told == {name: words for name, words in explained().items() if name not in SET_BY_COMMANDS}
    assert all(f"`{name}`" in MANUAL for name in SET_BY_COMMANDS)


@pytest.mark.parametrize("spec", FEATURES, ids=lambda spec: next(iter(spec)))
def test_every_example_is_a_job_as_it_stands(spec: dict[str, Any]) -> None:
    manifest = {
        "apiVersion": GROUP_VERSION,
        "kind": "Job",
        "metadata": {"name": "example", "namespace": "weather"},
        "spec": {**BASE, **spec},
    }
    assert validation.parse(BY_NAME["Job"], manifest)[1] == ()


def test_the_examples_together_use_every_field_that_is_for_manifests() -> None:
    used = {name for spec in (BASE, *FEATURES) for name in spec}
    names = {field.alias for field in JobSpec.model_fields.values()}
    assert names - used <= SET_BY_COMMANDS | {"priority"}
