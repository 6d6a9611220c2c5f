"""Writes agent.yaml: what `atoll cluster join` applies, with the cluster's name and its hub as variables.

Run by `make deploy-bases`; a test fails while the file is not what this gives.
"""

from pathlib import Path

import yaml

from atoll.installation.manifests import manifests
from atoll.installation.plan import CLUSTER_ANNOTATION, Hub, Installation, Manifest

_HEAD = "# Written by generate.py; rights and reasons are in src/atoll/installation/rights.py.\n"


def agent_manifests() -> list[Manifest]:
    """Give the objects; the Secret with the one-time token is not among them, for it is in no repository."""
    found = list(manifests(Installation("$(CLUSTER)", Hub("$(HUB)", ca="in the Secret"), "atoll")))
    for each in found:
        if each["kind"] == "Namespace":
            del each["metadata"]["annotations"][CLUSTER_ANNOTATION]  # of the overlay, which knows the name
        if each["kind"] == "Deployment":
            container = each["spec"]["template"]["spec"]["containers"][0]
            container["envFrom"] = [{"configMapRef": {"name": "atoll-agent"}}]
    return found


if __name__ == "__main__":
    text = _HEAD + "---\n".join(yaml.safe_dump(each, sort_keys=False) for each in agent_manifests())
    Path(__file__).with_name("agent.yaml").write_text(text)
