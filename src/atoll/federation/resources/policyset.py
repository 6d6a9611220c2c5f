"""PolicySet: a folder of network policies in Git, and the clusters that shall enforce it."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, model_validator

from atoll.federation.resources.base import (
    ClusterName,
    Condition,
    Duration,
    LabelSelector,
    Model,
    NonNegative,
    Resource,
)
from atoll.federation.resources.policyset_plan import PolicyPlan
from atoll.federation.resources.policyset_proof import PolicyProof, PolicyTraffic
from atoll.federation.resources.policyset_rollout import RolloutSpec, RolloutStatus

RepositoryUrl = Annotated[
    str,
    # No leading '-' (an option to git), no ext:: or other helper that runs commands.
    StringConstraints(pattern=r"^(https://|ssh://|file:///|/|[A-Za-z0-9_.]+@[A-Za-z0-9.-]+:)[^\s]*$", max_length=2048),
]
Revision = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=255)]
# One line of an authorized_keys file without options; a line break would smuggle in another signer.
SshKey = Annotated[
    str,
    StringConstraints(pattern=r"^(sk-)?(ssh|ecdsa)-[A-Za-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\r\n]*)?$", max_length=8192),
]
PgpKey = Annotated[
    str, StringConstraints(pattern=r"^\s*-----BEGIN PGP PUBLIC KEY BLOCK-----[\s\S]*$", max_length=262_144)
]
CommitId = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64})$")]
PolicyPhase = Literal["Pending", "Applied", "Drifted", "Unenforceable", "Failed", "Unreachable"]


class SignedBy(Model):
    """Whose signatures of commits count. A commit that none of them has signed is not rolled out."""

    ssh_keys: tuple[SshKey, ...] = Field(default=(), description="SSH public keys, as in an authorized_keys file.")
    gpg_keys: tuple[PgpKey, ...] = Field(default=(), description="OpenPGP public keys in ASCII armour.")

    @model_validator(mode="after")
    def _names_somebody(self) -> "SignedBy":
        if not self.ssh_keys and not self.gpg_keys:
            raise ValueError("names nobody: give sshKeys or gpgKeys, or leave signedBy out")
        return self


class GitSource(Model):
    """Where the policies are."""

    repository: RepositoryUrl = Field(
        description="https:// or ssh:// URL, user@host:path, or a repository on the hub's own disk. The hub's settings "
        "say where it may be (atoll hub serve --git-allow, --git-only)."
    )
    revision: Revision = Field(default="main", description="Branch, tag or commit.")
    path: Annotated[str, StringConstraints(pattern=r"^[^/\s-][^\s]*$|^\.$")] = "."
    interval: Duration = "30s"
    signed_by: SignedBy | None = Field(
        default=None, description="Whose signature a commit must have; unset: commits need none."
    )


class PolicyTargets(Model):
    """Which clusters; the empty selector means all."""

    clusters: LabelSelector = LabelSelector()


class PolicySetSpec(Model):
    """What shall be enforced where."""

    source: GitSource
    targets: PolicyTargets = PolicyTargets()
    rollout: RolloutSpec = RolloutSpec()
    pinned_commit: CommitId | None = Field(
        default=None,
        description="This commit is in force everywhere at once, whatever the branch says: set by "
        "'atoll policy rollback', taken away by 'atoll policy resume'.",
    )
    mode: Literal["Enforce", "ObserveOnly"] = "Enforce"


class PolicyDrift(Model):
    """One change by hand to what the set holds."""

    object: str = Field(description="Kind and name of what was changed.")
    paths: tuple[str, ...] = Field(default=(), description="The fields that were changed; none: it was deleted.")
    managers: tuple[str, ...] = Field(default=(), description="The field managers that changed them.")
    at: datetime = Field(description="When it was changed, as far as the API server tells; else when it was seen.")
    healed: bool = Field(description="Whether it was put back; a set or an agent that only observes leaves it.")


class ClusterPolicyStatus(Model):
    """One cluster's state; `last_proven_at` dates it."""

    cluster: ClusterName
    phase: PolicyPhase = "Pending"
    message: str = ""
    commit: str = ""
    objects: NonNegative = 0
    drift_healed: NonNegative = 0
    last_drift: str = ""
    last_drift_at: datetime | None = None
    drifts: tuple[PolicyDrift, ...] = Field(default=(), description="The newest changes by hand, at most 10.")
    last_proven_at: datetime | None = None
    widened_by: tuple[str, ...] = Field(
        default=(),
        description="Policies beside the set's that may allow what it closes, with who wrote them; at most 10.",
    )
    proof: PolicyProof | None = Field(
        default=None, description="What is proven of the commit there; unset: the agent has proven nothing yet."
    )
    traffic: PolicyTraffic | None = Field(
        default=None, description="What policies drop there; unset: no agent of Cilium has told it."
    )


class PolicySetStatus(Model):
    """The commit that was read last, and each cluster's state."""

    commit: str = ""
    committed_at: datetime | None = None
    manifests: NonNegative = 0
    rollout: RolloutStatus | None = Field(default=None, description="How far the newest commit has come; unset: never.")
    plan: PolicyPlan | None = Field(
        default=None, description="What the newest commit does to what ran when it was new; unset: not known yet."
    )
    clusters: tuple[ClusterPolicyStatus, ...] = ()
    uniform: bool = Field(
        default=False, description="Whether every cluster has proven the same rung of the same, newest commit."
    )
    conditions: tuple[Condition, ...] = ()
    observed_generation: int | None = None


class PolicySet(Resource):
    """One folder of network policies, held over the federation."""

    description: ClassVar[str] = "Network policies from a Git folder that Atoll holds over a set of clusters."

    kind: Literal["PolicySet"] = "PolicySet"
    spec: PolicySetSpec
    status: PolicySetStatus = PolicySetStatus()
