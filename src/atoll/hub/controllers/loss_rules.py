"""How long silence lasts before it means something; a composition root fills the values in. Pure."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class FencePolicy:
    """How long a run with a lease may go on unheard, and how much is waited beyond that.

    `drift` bounds by how much the rates of two clocks differ: twenty times what NTP will ever correct (500 ppm,
    RFC 5905). `margin_seconds` is what an agent and a Job controller may take to notice and to act.
    """

    lease_seconds: float = 60.0
    margin_seconds: float = 10.0
    drift: float = 0.01

    def fence_seconds(self, lease_seconds: float, grace_seconds: float) -> float:
        """Give the silence after which nothing of a run can be running."""
        return (lease_seconds + grace_seconds) * (1 + self.drift) + self.margin_seconds


@dataclass(frozen=True)
class LossRules:
    """What silence means: after `timeout_seconds` a cluster counts as unreachable, after the fence as stopped."""

    fence: FencePolicy = field(default_factory=FencePolicy)
    timeout_seconds: float = 30.0
