"""How a commit reaches the clusters of a PolicySet: in which waves, and how far it has come."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from atoll.federation.resources.base import DnsLabel, Duration, LabelSelector, Model, NonNegative

# What a cluster must have proven to hold a commit, as far as waves may ask for it.
WaveProof = Literal["Applied", "Valid", "Realized"]
RolloutPhase = Literal["Rolling", "Waiting", "AwaitingApproval", "Halted", "RolledBack", "Complete"]
# NotHeld: an agent or an API server refused it. Unenforceable: it cannot be compiled for a cluster.
HaltReason = Literal["NotHeld", "Unenforceable", "RealizationStalled", "DropRateRose", "PolicyTestFailed"]
# The commit that somebody lets into the next waves; `atoll policy approve` writes it.
APPROVED_ANNOTATION = "atoll.dev/approved-commit"


class Wave(Model):
    """Clusters that get a commit at the same time, and what must pass before the next wave does."""

    name: DnsLabel = Field(description="What it is called in status and messages.")
    clusters: LabelSelector = Field(
        default=LabelSelector(),
        description="The first wave that selects a cluster has it; the empty one takes the rest.",
    )
    wait: Duration = Field(
        default="0s", description="How long all of it must have held the commit before the next wave."
    )
    approval: bool = Field(
        default=False, description="The wave begins only when `atoll policy approve` has named the commit."
    )
    proof: WaveProof = Field(
        default="Applied", description="The rung that its clusters must have proven to count as holding the commit."
    )


class HaltRules(Model):
    """What else than a cluster that does not come to hold a commit speaks against it, while waves are under way."""

    drops_per_second: Annotated[float, Field(gt=0)] | None = Field(
        default=10.0,
        description="By how many packets a second what policies drop may rise in a cluster that was given the commit, "
        "by Cilium's counters of all its nodes; null: nobody looks.",
    )
    policy_tests: bool = Field(
        default=True,
        description="The commit's policy tests must hold for what runs now with the labels that they state, too.",
    )


class RolloutSpec(Model):
    """In which order clusters get a commit. Without waves all of them get it at once."""

    waves: Annotated[tuple[Wave, ...], Field(max_length=32)] = Field(
        default=(), description="In order. Clusters that no wave selects come last."
    )
    stall_after: Duration = Field(
        default="5m", description="A cluster that is heard and does not hold the commit for so long halts the rollout."
    )
    on_failure: Literal["Rollback", "Halt"] = Field(
        default="Rollback",
        description="Rollback: all clusters go back to the last commit that was complete. Halt: everything stays.",
    )

    halt_when: HaltRules = Field(default=HaltRules(), description="What halts a rollout beside clusters that fail.")


class RolloutStatus(Model):
    """How far the newest commit has come."""

    commit: str = Field(default="", description="The commit that is rolled out.")
    good: str = Field(default="", description="The last commit that every wave held; what a rollback goes back to.")
    previous: str = Field(default="", description="The commit that was complete before that.")
    refused: str = Field(default="", description="A commit that was rolled back; it is not tried again.")
    phase: RolloutPhase = Field(default="Complete", description="What becomes of the commit now.")
    wave: NonNegative = Field(
        default=0, description="Index of the wave that is under way; clusters of it have the order."
    )
    wave_name: str = Field(default="", description="Its name; `rest` for clusters that no wave selects.")
    message: str = Field(default="", description="What is waited for, or why it has halted.")
    reason: HaltReason | None = Field(default=None, description="Why it has halted, in a word; unset: it has not.")
    wave_began_at: datetime | None = Field(default=None, description="When the wave's clusters were given the commit.")
    wave_held_at: datetime | None = Field(
        default=None, description="Since when all of the wave that is heard holds it."
    )
