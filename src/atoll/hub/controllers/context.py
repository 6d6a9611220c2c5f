"""What every controller is given. Owns nothing; a composition root fills it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from atoll.federation.bus.capabilities import Capabilities
from atoll.federation.bus.connection import Bus
from atoll.hub.accounting.accounts import Accounts
from atoll.hub.client import Client
from atoll.hub.controllers.loss_rules import LossRules
from atoll.hub.controllers.manifests import DataService
from atoll.hub.events import Events
from atoll.hub.members import Desired, Observed
from atoll.hub.reports import Inventories
from atoll.policies.remotes.reach import Reach


@dataclass(frozen=True)
class Context:
    """The hub's objects, the members' two tables, events, the clock, and what settings say."""

    client: Client
    observed: Observed
    inventories: Inventories
    desired: Desired
    events: Events
    bus: Bus
    capabilities: Capabilities
    clock: Callable[[], datetime]
    service: DataService
    policies_dir: Path
    git_reach: Reach
    heartbeat_timeout_seconds: float
    lab_log_bytes: int
    orphan_keep_seconds: float
    loss_rules: LossRules
    queue_half_life_seconds: float
    accounts: Accounts
