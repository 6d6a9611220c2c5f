"""What an engine makes of a policy: which endpoints and which nodes it selects, and for what. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from atoll.policies.manifest import CILIUM_POLICIES, Manifest
from atoll.policies.reading import read_rules
from atoll.policies.rules import Rule, Unsupported
from atoll.policies.stamp import content_of
from atoll.policies.validation.cilium_rules import rules_of


@dataclass(frozen=True)
class Meaning:
    """What an engine makes of a policy.

    Attributes:
        rules: None where it cannot be said which endpoints it selects; then `why_not` says why.
        host_rules: those for nodes.
        content: which its rules bear as a label; empty if its kind bears none.
    """

    rules: tuple[Rule, ...] | None
    content: str = ""
    why_not: str = ""
    host_rules: tuple[Rule, ...] = ()


def meaning_of(policy: Manifest, cluster: str) -> Meaning:
    """Read which endpoints of a cluster a policy selects, and for what."""
    try:
        rules = read_rules([policy], cluster, default_local_cluster=True)
        host_rules = read_rules(list(_of_nodes(policy)), cluster, default_local_cluster=True)
        return Meaning(rules, content_of(policy), host_rules=host_rules)
    except Unsupported as error:
        return Meaning(None, why_not=f"what it selects cannot be told: {error}")


def _of_nodes(policy: Manifest) -> Iterator[Manifest]:
    """Give the parts of a policy that are for nodes, as if nodes were endpoints: to their agents they are."""
    bodies = rules_of(policy.body) if policy.kind in CILIUM_POLICIES else ()
    specs = [
        {**{name: value for name, value in body.items() if name != "nodeSelector"}, "endpointSelector": nodes}
        for _, body in bodies
        if (nodes := body.get("nodeSelector")) is not None
    ]
    if specs:
        rest = {name: value for name, value in policy.body.items() if name not in ("spec", "specs")}
        yield replace(policy, body={**rest, "specs": specs})
