"""What goes wrong in simulations of the hub and its clusters."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong: when, what, at which cluster, for how long. The kinds are each simulation's own."""

    at: float
    kind: str
    cluster: int
    seconds: float
