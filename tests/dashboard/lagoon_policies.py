"""The policy sets of the federation that the dashboard is looked at with, and what two of its clusters were ordered."""

from textwrap import dedent
from typing import Any

from atoll.federation.bus.messages import PolicyOrder
from atoll.policies.compile import Target, compile_for
from atoll.policies.manifest import parse_file
from atoll.policies.stamp import stamp
from dashboard.lagoon_labs import Ago, Stated

NEW, OLD = "4f1c" * 10, "9be2" * 10
_CALM = ("onprem", "hpc", "archive", "lab-a", "lab-b", "cloud", "cloud-gpu")
POLICIES = """
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: closed, namespace: seismology}
    spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
    ---
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: portal-reads-catalog, namespace: seismology}
    spec:
      podSelector: {matchLabels: {app: portal}}
      policyTypes: [Egress]
      egress: [{to: [{podSelector: {matchLabels: {app: catalog}}}], ports: [{port: 5432}]}]
    ---
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: catalog-serves, namespace: seismology}
    spec:
      podSelector: {matchLabels: {app: catalog}}
      policyTypes: [Ingress]
      ingress:
        - from: [{podSelector: {matchLabels: {app: portal}}}, {namespaceSelector: {matchLabels: {team: training}}}]
          ports: [{port: 5432}]
    ---
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: instruments-to-gateway, namespace: lab}
    spec:
      podSelector: {matchLabels: {app: gateway}}
      policyTypes: [Ingress]
      ingress: [{from: [{ipBlock: {cidr: 10.8.0.0/16}}], ports: [{port: 1883}, {port: 8883}]}]
    """


def policysets(ago: Ago) -> list[Stated]:
    def held(
        cluster: str, rung: str | None = "Resolved", phase: str = "Applied", commit: str = NEW, **more: Any
    ) -> Any:
        names = ("applied", "valid", "realized", "resolved")
        times = {name: ago(seconds=4 + 9 * index) for index, name in enumerate(names)}
        proof = (
            {
                "rung": rung,
                "nodes": 3,
                "realizedNodes": 3 if rung in ("Realized", "Resolved") else 1,
                "provenAt": times,
                **more.pop("proof", {}),
            }
            if rung
            else None
        )
        return {
            "cluster": cluster,
            "phase": phase,
            "commit": commit,
            "objects": 4,
            "proof": proof,
            "lastProvenAt": ago(seconds=5),
            **more,
        }

    lagging = {
        "kind": "NetworkPolicy",
        "namespace": "lab",
        "name": "instruments-to-gateway",
        "rung": "Valid",
        "reason": "node lab-b-2 has not regenerated endpoint 118",
    }
    ready = {"type": "Ready", "status": "True", "reason": "Held", "lastTransitionTime": ago(hours=1)}
    rolling = [
        held("onprem"),
        held("hpc"),
        held("archive", "Realized"),
        held("lab-a", "Valid", proof={"reason": "1 of 3 nodes enforce it", "objects": [lagging]}),
        held(
            "lab-b",
            None,
            "Drifted",
            lastDrift="NetworkPolicy lab/instruments-to-gateway: spec.ingress[0] by kubectl-edit",
            lastDriftAt=ago(seconds=40),
            driftHealed=3,
        ),
        held(
            "field",
            "Resolved",
            "Unreachable",
            OLD,
            message="the cluster cannot be heard; what it held last stays in force there",
        ),
        held("cloud", "Resolved", commit=OLD),
        held("cloud-gpu", "Resolved", commit=OLD, widenedBy=["NetworkPolicy lab/tmp-allow by jan"]),
    ]
    waves = [
        {"name": "core", "clusters": {"matchLabels": {"ring": "0"}}, "wait": "10m", "proof": "Realized"},
        {"name": "labs", "clusters": {"matchLabels": {"ring": "1"}}, "proof": "Realized"},
        {"name": "cloud", "clusters": {"matchLabels": {"ring": "2"}}, "approval": True},
    ]
    rollout = {
        "commit": NEW,
        "good": OLD,
        "phase": "AwaitingApproval",
        "wave": 2,
        "waveName": "cloud",
        "message": f"wave cloud waits for 'atoll policy approve' of commit {NEW[:12]}",
    }
    plan = {
        "commit": NEW,
        "against": OLD,
        "madeAt": ago(minutes=31),
        "clusters": [{"cluster": "onprem", "added": 1, "opens": 2, "closes": 7}],
        "flows": [
            {
                "source": "seismology/portal@onprem",
                "destination": "seismology/catalog@onprem",
                "before": "nothing",
                "after": "5432/TCP",
                "opens": True,
            }
        ],
    }
    calm = [held(name) for name in _CALM]
    source = {"repository": "https://bot:secret@git.example.org/security/policies", "path": "clusters"}
    return [
        (
            "PolicySet",
            "campus",
            None,
            {"source": source, "rollout": {"waves": waves}},
            {
                "commit": NEW,
                "committedAt": ago(minutes=32),
                "manifests": 4,
                "clusters": rolling,
                "rollout": rollout,
                "plan": plan,
            },
        ),
        (
            "PolicySet",
            "baseline",
            None,
            {"source": {**source, "path": "baseline"}},
            {
                "commit": OLD,
                "committedAt": ago(days=12),
                "manifests": 2,
                "uniform": True,
                "conditions": [ready],
                "clusters": [{**row, "commit": OLD} for row in calm],
                "rollout": {"commit": OLD, "good": OLD, "phase": "Complete", "waveName": "rest"},
            },
        ),
        (
            "PolicySet",
            "trial",
            None,
            {"source": {**source, "revision": "trial"}, "mode": "ObserveOnly"},
            {
                "commit": NEW,
                "manifests": 1,
                "clusters": [
                    held(
                        "lab-a",
                        None,
                        "Unenforceable",
                        message="trial.yaml:3: ClusterNetworkPolicy: lab-a has no ClusterNetworkPolicy",
                    )
                ],
                "rollout": {"commit": NEW, "phase": "Halted", "message": "wave rest: lab-a Unenforceable"},
            },
        ),
    ]


def orders() -> dict[tuple[str, str], PolicyOrder]:
    parsed = parse_file(dedent(POLICIES), "campus.yaml")
    found = {}
    for cluster in ("onprem", "hpc"):
        compiled = compile_for(parsed.manifests, Target(cluster, cni="cilium", cilium_version="1.19.2"))
        manifests = tuple(dict(each.body) for each in stamp(compiled.manifests, "campus", NEW))
        found[cluster, "campus"] = PolicyOrder(name="campus", commit=NEW, manifests=manifests)
    return found
