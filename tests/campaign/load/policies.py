"""Policies in Git over all clusters: somebody who commits, somebody who meddles by hand, and a look every second.

Owns the repository, what each commit said, and what the clusters' own API servers were seen to hold.
"""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

from atoll.policies.stamp import POLICYSET_LABEL
from campaign.evidence import Json, PolicyClaim, PolicySample, Tampering, moment
from campaign.whole import Federation
from git_repository import begin, commit
from hub.support import manifest, path_of

SET = "campaign"
# By address: pods as peers are compiled into those of each cluster, and what was committed could not be compared.
_PEERS = "10.0.0.0/8"
_LOOK_SECONDS = 1.0
_NETWORK = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
_CILIUM = "/apis/cilium.io/v2/namespaces/default/ciliumnetworkpolicies"
FOREIGN: dict[str, Json] = {
    "NetworkPolicy/theirs": {
        "podSelector": {"matchLabels": {"app": "theirs"}},
        "policyTypes": ["Ingress"],
    },
    # With the set's own label, as a copy by kubectl has it: it is another's all the same.
    "NetworkPolicy/copied": {"podSelector": {"matchLabels": {"app": "copied"}}, "policyTypes": ["Ingress"]},
}


def policies(number: int) -> dict[str, Json]:
    """Give what the commit of a number says, by kind and name."""
    ports = [{"port": 8000 + number, "protocol": "TCP"}]
    selected = {"podSelector": {"matchLabels": {"app": "data"}}, "policyTypes": ["Ingress"]}
    to_ports = [{"ports": [{"port": str(8000 + number), "protocol": "TCP"}]}]
    return {
        "NetworkPolicy/deny": {"podSelector": {"matchLabels": {"tier": "lab"}}, "policyTypes": ["Ingress"]},
        "NetworkPolicy/data": {**selected, "ingress": [{"from": [{"ipBlock": {"cidr": _PEERS}}], "ports": ports}]},
        "CiliumNetworkPolicy/egress": {
            "endpointSelector": {"matchLabels": {"app": "data"}},
            "egress": [{"toCIDR": [_PEERS], "toPorts": to_ports}],
        },
    }


@dataclass
class Repository:
    """The policies' Git repository."""

    path: Path
    versions: list[dict[str, Json]] = field(default_factory=list)

    def commit(self) -> None:
        """Commit the next version, the first one with the repository."""
        if not self.versions:
            begin(self.path)
            (self.path / "policies").mkdir()
        said = policies(len(self.versions))
        self.versions.append(said)
        text = yaml.safe_dump_all(_object(name, spec) for name, spec in said.items())
        (self.path / "policies/campaign.yaml").write_text(text)
        commit(self.path, f"version {len(self.versions)}")

    def commit_nonsense(self) -> None:
        """Commit a file that no cluster may see anything of, and take it back."""
        bad = self.path / "policies/bad.yaml"
        bad.write_text(yaml.safe_dump(_object("NetworkPolicy/deny", {"podSelector": 7})))
        commit(self.path, "nonsense")
        bad.unlink()
        commit(self.path, "without nonsense")


def _object(name: str, spec: Json) -> Json:
    kind, _, own = name.partition("/")
    version = "cilium.io/v2" if kind.startswith("Cilium") else "networking.k8s.io/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": own, "namespace": "default"}, "spec": spec}


class Watcher:
    """Looks at all clusters and at what the hub says of them, in a thread of its own."""

    def __init__(self, federation: Federation, repository: Repository) -> None:
        self._federation, self.repository = federation, repository
        self._client = httpx.Client(timeout=5)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="policy watcher", daemon=True)
        self.samples: list[PolicySample] = []
        self.claims: list[PolicyClaim] = []
        self.tamperings: list[Tampering] = []
        self.mistimed: set[str] = set()
        """Clusters whose agent's clock is wrong, or was a moment ago: what they say of times is not to be believed."""

    def set_up(self) -> None:
        """Create somebody else's policies everywhere, then the set."""
        for cluster in self._federation.clusters:
            for name, spec in FOREIGN.items():
                body = _object(name, spec)
                body["metadata"]["labels"] = {POLICYSET_LABEL: SET} if name.endswith("/copied") else {}
                self._client.post(f"{cluster.state.server}{_NETWORK}", json=body).raise_for_status()
        self.repository.commit()
        source = {"repository": f"file://{self.repository.path}", "path": "policies", "interval": "5s"}
        self._federation.create(manifest("PolicySet", SET, {"source": source}))
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join(60)
        self._client.close()

    def meddle(self, cluster: str, policy: str, *, deletes: bool) -> None:
        """Change or delete a policy in a cluster by hand, as somebody in a hurry does."""
        path = f"{self._federation.cluster(cluster).state.server}{_NETWORK}/{policy.partition('/')[2]}"
        self.tamperings.append(Tampering(cluster, policy, time.time()))
        if deletes:
            self._client.delete(path)
        else:
            hole = {"spec": {"podSelector": {"matchLabels": {"temporarily": "open"}}}}
            self._client.patch(path, json=hole, headers={"content-type": "application/merge-patch+json"})

    def behind(self) -> list[str]:
        """Name the clusters that do not hold the newest version, by their own API servers."""
        newest = self.repository.versions[-1]
        held = {cluster.name: self._look(cluster.state.server) for cluster in self._federation.clusters}
        return [
            name
            for name, found in held.items()
            if found is None or any(found.get(policy) != spec for policy, spec in newest.items())
        ]

    def _run(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            for cluster in self._federation.clusters:
                at = time.time()
                if (held := self._look(cluster.state.server)) is not None:
                    self.samples.append(PolicySample(cluster.name, at, held))
            self.claims += self._claims()

    def _look(self, server: str) -> dict[str, Json] | None:
        found: dict[str, Json] = {}
        try:
            for kind, path in (("NetworkPolicy", _NETWORK), ("CiliumNetworkPolicy", _CILIUM)):
                answer = self._client.get(f"{server}{path}")
                answer.raise_for_status()
                for item in answer.json()["items"]:
                    spec = {key: value for key, value in item["spec"].items() if key != "labels"}
                    found[f"{kind}/{item['metadata']['name']}"] = spec
        except httpx.HTTPError:
            return None
        return found

    def _claims(self) -> Iterator[PolicyClaim]:
        status: dict[str, Any] = self._federation.get(path_of(manifest("PolicySet", SET))).get("status", {})
        at = time.time()
        for each in status.get("clusters", ()):
            proof = each.get("proof") or {}
            rung = proof.get("rung")
            if rung and each["cluster"] not in self.mistimed and proof["provenAt"].get(rung.lower()):
                yield PolicyClaim(each["cluster"], rung, moment(proof["provenAt"][rung.lower()]), at)
