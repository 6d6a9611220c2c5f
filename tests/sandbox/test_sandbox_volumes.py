"""Volumes of a simulated cluster grow as real ones do: where the class allows it, where there is room, never back."""

import subprocess
from pathlib import Path

import pytest
import yaml

from sandbox.worlds import KUBECTL, Kubectl, claim, eventually

EXAMPLES = Path(__file__).parents[2] / "examples" / "storage"


def test_a_claim_grows_where_its_class_allows_it_and_does_not_shrink(onprem: Kubectl) -> None:
    onprem.apply(claim("data", "1Mi"))
    eventually(lambda: onprem.status("pvc", "data").get("phase") == "Bound", what="the binding")
    onprem.apply(claim("data", "2Mi"))
    eventually(lambda: onprem.status("pvc", "data")["capacity"] == {"storage": "2Mi"}, what="the expansion")
    (volume,) = [
        each for each in onprem.objects("pv") if each["spec"].get("claimRef", {}).get("namespace") == onprem.namespace
    ]
    assert volume["spec"]["capacity"] == {"storage": "2Mi"}
    with pytest.raises(AssertionError, match="can not be less than"):
        onprem.apply(claim("data", "1Mi"))
    assert onprem.status("pvc", "data")["capacity"] == {"storage": "2Mi"}


@pytest.mark.parametrize("file", sorted(path.name for path in EXAMPLES.glob("*.yaml")))
def test_the_examples_of_docs_storage_are_taken_by_a_clusters_api(onprem: Kubectl, file: str) -> None:
    command = [str(KUBECTL), "--kubeconfig", str(onprem.kubeconfig), "-n", onprem.namespace, "apply"]
    command += ["--dry-run=server", "-f", str(EXAMPLES / file)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    kinds = [document["kind"].lower() for document in yaml.safe_load_all((EXAMPLES / file).read_text())]
    for line, kind in zip(answer.stdout.splitlines(), kinds, strict=True):
        assert line.startswith(kind)
        assert line.endswith("(server dry run)")
