"""What is said of data: orders and reports of sinks, movers and gateways, and what movers are asked. No I/O.

Orders are desired state, reports are observed state, both whole, as in `messages`.
"""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from atoll.federation.bus.file_messages import WantedUpload
from atoll.federation.bus.messages import Message, Positive
from atoll.federation.bus.subjects import OPEN_TOKEN
from atoll.federation.resources.base import NonNegative
from atoll.federation.resources.dataset import Ledger
from atoll.federation.resources.gateway import StreamLedger
from atoll.federation.resources.gateway_mqtt import MqttSpec
from atoll.federation.resources.stream import StreamSpec
from atoll.federation.resources.stream_files import StreamFiles
from atoll.federation.resources.transfer import TransferPhase
from atoll.federation.resources.uplink import UplinkSpec


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


class HeldVersion(Message):
    """One version on a volume, as its ledger says. `completed_at` is by the clock of whoever completed it."""

    version: Positive
    complete: bool = False
    bytes: NonNegative = 0
    files: NonNegative = 0
    manifest_sha256: str = ""
    produced_by: str = ""
    completed_at: datetime | None = None


class HeldReport(Message):
    """observed: held/<namespace>/<dataset>. Every version that the mover finds on its volume.

    `turn` is higher for each mover: a report of a lower one than the VolumeReport's is of what is not here any more.
    `problem` says why an order for this dataset cannot be carried out, `doing` what is being done of it.
    """

    namespace: str
    dataset: str
    turn: NonNegative
    versions: tuple[HeldVersion, ...] = ()
    problem: str = ""
    doing: str = ""
    at: datetime


class VolumeReport(Message):
    """observed: volume/<namespace>. The volume, once this turn's mover has reported all that is on it."""

    namespace: str
    turn: NonNegative
    made_at: datetime
    total_bytes: NonNegative
    free_bytes: NonNegative
    used_bytes: NonNegative
    at: datetime


class DatasetOrder(Message):
    """desired: dataset/<namespace>/<dataset>. What becomes of files: versions to delete, a folder to register.

    With `keep_files` versions are not deleted but moved to `_kept/<dataset>`, where nobody but people looks.
    """

    namespace: str
    dataset: str
    erase: tuple[Positive, ...] = ()
    keep_files: bool = False
    register_path: str = ""


class TransferSource(Message):
    """Another cluster that has the version too, and the token by which its mover is asked."""

    cluster: str
    token: str = OPEN_TOKEN


class TransferOrder(Message):
    """desired: transfer/<namespace>/<transfer>, at the destination. Fetch this version from that cluster's mover.

    `others` take over when the source falls silent; `bytes_per_second` 0 means no limit.
    """

    namespace: str
    transfer: str
    dataset: str
    version: Positive
    source: str
    # By which the source's mover is asked: what it gives is not for everybody.
    source_token: str = OPEN_TOKEN
    others: tuple[TransferSource, ...] = ()
    # What the version is, where the hub knows it: a source that has something else is not believed.
    manifest_sha256: str = ""
    bytes_per_second: NonNegative = 0


class TransferReport(Message):
    """observed: transfer/<namespace>/<transfer>."""

    namespace: str
    transfer: str
    phase: TransferPhase
    message: str = ""
    total_bytes: NonNegative = 0
    copied_bytes: NonNegative = 0
    bytes_per_second: Annotated[float, Field(ge=0)] = 0.0
    source: str | None = None
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
    mqtt: MqttSpec | None = None
    outbox_bytes: Positive
    outbox_age_seconds: Annotated[float, Field(gt=0)] | None = None
    uplink: UplinkSpec = UplinkSpec()
    streams: tuple[StreamOrder, ...] = ()


class GatewayProblem(Message):
    """One thing about a gateway that is not as it should be. `kind` is the condition's type, `reason` its reason."""

    kind: str
    reason: str
    message: str = ""


class GatewayReport(Message):
    """observed: heartbeat (of a gateway)."""

    outbox_readings: NonNegative = 0
    outbox_bytes: NonNegative = 0
    lag_seconds: Annotated[float, Field(ge=0)] = 0.0
    broker_connected: bool = False
    reason: str = ""
    ledger: tuple[StreamLedger, ...] = ()
    files: tuple[StreamFiles, ...] = ()
    # A gateway whose Streams have files only is not ill for want of a broker.
    broker_needed: bool = True
    readings_per_second: Annotated[float, Field(ge=0)] = 0.0
    forwarded_per_second: Annotated[float, Field(ge=0)] = 0.0
    problems: tuple[GatewayProblem, ...] = ()
    agent_version: str = ""
    at: datetime


class ReadRequest(Message):
    """data read: `file` None asks for the version's manifest, else for `length` bytes of that file from `offset`.

    With `only` the manifest has that one file, or none; a mover of before gives a page of all.
    """

    dataset: str
    version: Positive
    file: str | None = None
    only: str | None = None
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
    # Why it is not further, such as a full volume; empty while nothing is in the way.
    problem: str = ""


class CommittedReport(Message):
    """observed and desired (of a *gateway*): committed/<namespace>/<cluster>. Written by that cluster's sink.

    The hub trims the gateway's log by it, and passes it on as desired state: a gateway trims its outbox by what the hub
    has believed.
    """

    namespace: str
    cluster: str
    commits: tuple[StreamCommit, ...]
    wanted: tuple[WantedUpload, ...] = ()
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
    shed: NonNegative = 0
    late: NonNegative = 0
    # Readings that were counted in the files, by the index and the segments.
    readings: NonNegative = 0
    manifest_sha256: str
    merkle_root: str = ""
    problems: tuple[str, ...] = ()
