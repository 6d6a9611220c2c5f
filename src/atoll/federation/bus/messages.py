"""What hub and members say to each other: one pydantic model per subject kind. No I/O.

Orders are desired state, reports are observed state. Both are whole and level-based: a newer one replaces an older one.
Every report carries `at`, the reporter's clock when it was true.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import Field, ValidationError

from atoll.federation.bus.subjects import OPEN_TOKEN
from atoll.federation.errors import Internal
from atoll.federation.resources.base import Model, NonNegative
from atoll.federation.resources.cluster import Inventory
from atoll.federation.resources.dataset import Ledger
from atoll.federation.resources.gateway import StreamLedger
from atoll.federation.resources.mesh import MeshFacts, MeshLink
from atoll.federation.resources.run import RunPhase, Usage
from atoll.federation.resources.stream import StreamSpec
from atoll.federation.resources.transfer import TransferPhase

Manifest = dict[str, Any]
Positive = Annotated[int, Field(ge=1)]


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
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            raise Internal(f"malformed {cls.__name__}: {first['loc']}: {first['msg']}") from error


class StoreMark(Message):
    """desired (of a cluster): store. Which store gives the orders: one that was made anew has ended none of them."""

    identity: str


class RunOrder(Message):
    """desired: run/<namespace>/<run>. Apply these manifests for this run; `cancelled` asks to stop it."""

    namespace: str
    run: str
    job: str
    epoch: Positive
    manifests: tuple[Manifest, ...]
    cancelled: bool = False


class RunReport(Message):
    """observed: run/<namespace>/<run>."""

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
    at: datetime


class PolicyOrder(Message):
    """desired: policyset/<name>. Hold exactly these objects; prune what an earlier order of this set applied."""

    name: str
    commit: str
    manifests: tuple[Manifest, ...]
    observe_only: bool = False


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
    """observed: policyset/<name>. `drifts` holds the newest few, `drift_healed` counts all of them."""

    name: str
    commit: str
    phase: Literal["Applied", "Drifted", "Failed"]
    message: str = ""
    objects: NonNegative = 0
    drift_healed: NonNegative = 0
    drifts: tuple[DriftRecord, ...] = ()
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


class CommitOrder(Message):
    """desired: commit/<namespace>/<dataset>. Seal `.runs/<run>-e<epoch>/<dataset>` as this version."""

    namespace: str
    dataset: str
    version: Positive
    run: str
    epoch: Positive


class DatasetReport(Message):
    """observed: dataset/<namespace>/<dataset>. What the sink has on its volume of the newest version."""

    namespace: str
    dataset: str
    version: Positive
    complete: bool
    bytes: NonNegative = 0
    files: NonNegative = 0
    manifest_sha256: str = ""
    ledger: Ledger = Ledger()
    produced_by: str = ""
    error: str = ""
    at: datetime


class TransferOrder(Message):
    """desired: transfer/<namespace>/<transfer>, at the destination. Fetch this version from that cluster's mover."""

    namespace: str
    transfer: str
    dataset: str
    version: Positive
    source: str
    # By which the source's mover is asked: what it gives is not for everybody.
    source_token: str = OPEN_TOKEN


class TransferReport(Message):
    """observed: transfer/<namespace>/<transfer>."""

    namespace: str
    transfer: str
    phase: TransferPhase
    message: str = ""
    total_bytes: NonNegative = 0
    copied_bytes: NonNegative = 0
    bytes_per_second: Annotated[float, Field(ge=0)] = 0.0
    manifest_sha256: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    at: datetime


class StreamOrder(Message):
    """One Stream of a gateway. `log_created` tells the gateway's log from one made anew; empty: not known yet."""

    namespace: str
    name: str
    spec: StreamSpec
    log_created: str = ""


class GatewayOrder(Message):
    """desired: streams (of a gateway). All it should take in; a stream that is missing here is left."""

    broker: str | None = None
    outbox_bytes: Positive
    streams: tuple[StreamOrder, ...] = ()


class GatewayReport(Message):
    """observed: heartbeat (of a gateway)."""

    outbox_readings: NonNegative = 0
    outbox_bytes: NonNegative = 0
    lag_seconds: Annotated[float, Field(ge=0)] = 0.0
    broker_connected: bool = False
    reason: str = ""
    ledger: tuple[StreamLedger, ...] = ()
    agent_version: str = ""
    at: datetime


class Heartbeat(Message):
    """observed: heartbeat (of a cluster). `api_reachable`: the agent could read its API server just now."""

    agent_version: str = ""
    started_at: datetime
    api_reachable: bool = True
    message: str = ""
    at: datetime


class InventoryReport(Message):
    """observed: inventory."""

    inventory: Inventory
    at: datetime


class MeshReport(Message):
    """observed: mesh. `facts` are without addresses and services, which are reported by themselves."""

    links: tuple[MeshLink, ...] = ()
    facts: MeshFacts | None = None
    message: str = ""
    at: datetime


class LogsRequest(Message):
    """rpc logs. Answered by chunks of log bytes, then an end mark (see Bus.request_many)."""

    namespace: str
    run: str
    follow: bool = False
    tail_lines: NonNegative | None = None


class ReadRequest(Message):
    """data read: `file` None asks for the version's manifest, else for `length` bytes of that file from `offset`."""

    dataset: str
    version: Positive
    file: str | None = None
    offset: NonNegative = 0
    length: Annotated[int, Field(ge=0, le=524_288)] = 0


class StreamCommit(Message):
    """How far a sink has one Stream of one outbox in files: its newest envelope's number and reading's sequence.

    `log_sequence` is the newest message of the Stream, of any outbox, that is in files; it is a place in the log that
    was made at `log_created`, and means nothing in another.
    """

    stream: str
    outbox: str
    envelope: NonNegative
    sequence: NonNegative
    log_sequence: NonNegative = 0
    log_created: str = ""


class CommittedReport(Message):
    """observed and desired (of a *gateway*): committed/<namespace>/<cluster>. Written by that cluster's sink.

    The hub trims the gateway's log by it, and passes it on as desired state: a gateway trims its outbox by what the hub
    has believed.
    """

    namespace: str
    cluster: str
    commits: tuple[StreamCommit, ...]
    at: datetime


class ManifestFile(Message):
    """One file of a dataset version; `path` is relative to the version's folder, with `/` between names."""

    path: str
    bytes: NonNegative
    sha256: str


class ManifestPage(Message):
    """Answer to a ReadRequest without a file: the version, and its files from index `offset` on."""

    dataset: str
    version: Positive
    complete: bool
    total_files: NonNegative
    total_bytes: NonNegative
    manifest_sha256: str
    produced_by: str = ""
    completed_at: datetime | None = None
    ledger: Ledger = Ledger()
    files: tuple[ManifestFile, ...] = ()


class VerifyRequest(Message):
    """data verify: read every file of a version again and compare it with the ledger."""

    dataset: str
    version: Positive


class VerifyReport(Message):
    """Answer to a VerifyRequest. `problems` is empty exactly when the files are what the ledger says."""

    dataset: str
    version: Positive
    complete: bool
    bytes: NonNegative
    files: NonNegative
    received: NonNegative
    gaps: NonNegative
    duplicates: NonNegative
    manifest_sha256: str
    problems: tuple[str, ...] = ()
