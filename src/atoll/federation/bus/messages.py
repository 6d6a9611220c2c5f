"""What hub and clusters say to each other: one pydantic model per subject kind. No I/O.

Orders are desired state, reports are observed state. Both are whole and level-based: a newer one replaces an older one.
Every report carries `at`, the reporter's clock when it was true. What is said of data stands in `data_messages`, of the
inventory in `inventory_messages`.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import ConfigDict, Field, ValidationError

from atoll.federation.errors import Internal
from atoll.federation.resources.base import Model, NonNegative
from atoll.federation.resources.cluster import Inventory
from atoll.federation.resources.mesh import MeshFacts, MeshLink
from atoll.federation.resources.policyset_proof import PolicyProof, PolicyTraffic
from atoll.federation.resources.run import RunPhase, Usage

Manifest = dict[str, Any]
Positive = Annotated[int, Field(ge=1)]
# What may be more than 64 bits: pydantic reads it, and nobody could write it down again (orjson's range of integers).
_LONG_NUMBER = re.compile(rb"\d{19}")


class Message(Model):
    """Base of all messages."""

    def encode(self) -> bytes:
        """Give the bytes that go on the wire."""
        return orjson.dumps(self.wire())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a message from the wire.

        Raises:
            Internal: the bytes are no such message.
        """
        try:
            found = cls.model_validate_json(data)
            if _LONG_NUMBER.search(data):
                found.encode()
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            raise Internal(f"malformed {cls.__name__}: {first['loc']}: {first['msg']}") from error
        except TypeError as error:
            raise Internal(f"malformed {cls.__name__}: {error}") from error
        return found


class StoreMark(Message):
    """desired (of a cluster): store. Which store gives the orders: one that was made anew has ended none of them."""

    identity: str


class RunOrder(Message):
    """desired: run/<namespace>/<run>. Apply these manifests for this run; `cancelled` asks to stop it.

    With `lease_seconds` the run may go on only that long after the agent sent the newest heartbeat that was stored.
    `tasks` names those indexes of an Indexed Job that shall run, where that is not all of them; `parallelism` how many
    at once, over what its manifest says. When it is stopped, its pods have `grace_seconds`, or less where they say so.
    """

    namespace: str
    run: str
    job: str
    epoch: Positive
    manifests: tuple[Manifest, ...]
    cancelled: bool = False
    lease_seconds: Annotated[float, Field(gt=0)] | None = None
    tasks: str = ""
    parallelism: Positive | None = None
    grace_seconds: Annotated[float, Field(ge=0)] | None = None


class RunReport(Message):
    """observed: run/<namespace>/<run>. Tasks are the indexes of an Indexed Job, in the form of federation/tasks.py."""

    namespace: str
    run: str
    epoch: Positive
    phase: RunPhase
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    pods: tuple[str, ...] = ()
    started_at: datetime | None = None
    finished_at: datetime | None = None
    usage: Usage = Usage()
    running_tasks: NonNegative = 0
    succeeded_tasks: str = ""
    failed_tasks: str = ""
    at: datetime


class PolicyOrder(Message):
    """desired: policyset/<name>. Hold exactly these objects; prune what an earlier order of this set applied."""

    name: str
    commit: str
    manifests: tuple[Manifest, ...]
    observe_only: bool = False

    def encode(self) -> bytes:
        """Give the bytes that go on the wire; thousands of manifests are not walked for it."""
        bare = self.model_copy(update={"manifests": ()}).wire()
        return orjson.dumps(bare | {"manifests": self.manifests})

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read an order from the wire; that its manifests are objects is all that is asked of them here.

        Raises:
            Internal: the bytes are no such message.
        """
        try:
            fields = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise Internal(f"malformed {cls.__name__}: {error}") from error
        manifests = fields.get("manifests") if isinstance(fields, dict) else None
        if not isinstance(manifests, list) or not all(isinstance(one, dict) for one in manifests):
            return super().decode(data)
        head = super().decode(orjson.dumps(fields | {"manifests": []}))
        return head.model_copy(update={"manifests": tuple(manifests)})


class PolicyOrderHead(Message):
    """What a PolicyOrder is, without its manifests, which may be megabytes."""

    model_config = ConfigDict(extra="ignore")

    name: str
    commit: str


class DriftRecord(Message):
    """One change by hand that was found, and put back unless the set only observes."""

    kind: str
    namespace: str | None = None
    name: str
    paths: tuple[str, ...] = ()
    managers: tuple[str, ...] = ()
    at: datetime
    healed: bool


class PolicyReport(Message):
    """observed: policyset/<name>. `drifts` holds the newest few, `drift_healed` counts all of them.

    `proof` is of `commit`; unset by agents that know of none. `widened_by` names policies that are not of the set.
    `traffic` compares what policies drop with what they did before `commit`; unset where no node has told it.
    """

    name: str
    commit: str
    phase: Literal["Applied", "Drifted", "Failed"]
    message: str = ""
    objects: NonNegative = 0
    drift_healed: NonNegative = 0
    drifts: tuple[DriftRecord, ...] = ()
    proof: PolicyProof | None = None
    traffic: PolicyTraffic | None = None
    widened_by: tuple[str, ...] = ()
    at: datetime


class ServiceOrder(Message):
    """desired: service/<namespace>. The volume claim and the sink and mover of one namespace."""

    namespace: str
    manifests: tuple[Manifest, ...]


class ServiceReport(Message):
    """observed: service/<namespace>."""

    namespace: str
    ready: bool
    message: str = ""
    at: datetime


class Heartbeat(Message):
    """observed: heartbeat (of a cluster). `api_reachable`: the agent could read its API server just now."""

    agent_version: str = ""
    started_at: datetime
    api_reachable: bool = True
    message: str = ""
    at: datetime


class InventoryReport(Message):
    """observed: inventory. `agent_started_at`: when the agent that read it began, as its heartbeats say."""

    inventory: Inventory
    agent_started_at: datetime | None = None
    at: datetime


class MeshReport(Message):
    """observed: mesh. `facts` are without addresses and services, which are reported by themselves."""

    links: tuple[MeshLink, ...] = ()
    facts: MeshFacts | None = None
    message: str = ""
    at: datetime


class LogsRequest(Message):
    """rpc logs. Answered by chunks of log bytes, then an end mark (see Bus.request_many). `task`: one index only.

    `with_prefix`: before each line, whose it is. `since_seconds`: only what is younger, but for logs that were kept of
    pods that are gone. Both are unset where not meant, for the sake of agents that are older than these fields.
    """

    namespace: str
    run: str
    follow: bool = False
    tail_lines: NonNegative | None = None
    task: NonNegative | None = None
    with_prefix: Literal[True] | None = None
    since_seconds: Positive | None = None
