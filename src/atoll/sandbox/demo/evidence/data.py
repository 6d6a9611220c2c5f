"""The data ledger: what the instruments sent is what lies on the volume, byte for byte, once each."""

import hashlib
from pathlib import Path

from atoll.federation.resources import SourceLedger
from atoll.sandbox.demo.evidence.section import Check, Section
from atoll.sandbox.demo.objects import DATASET, HOME_CLUSTER, NAMESPACE
from atoll.sandbox.demo.recording import Channel
from atoll.sandbox.demo.world import Outcome, World


def examine(world: World, outcome: Outcome) -> Section:
    """Hash the files on the volume again and compare them with their sources, and with what the ledger says."""
    status, published = outcome.dataset.status, outcome.published.readings
    ledger = status.ledger
    sources = {source.source: source for source in ledger.sources}
    folder = world.files_of(HOME_CLUSTER, DATASET, status.version)
    hashes = {channel.topic: _hash(folder, sources.get(channel.topic)) for channel in world.recording.channels}
    same = [c for c in world.recording.channels if c.sha256 == hashes[c.topic] == _claimed(sources.get(c.topic))]
    counts = f"{published} published, {ledger.received} received, gaps {ledger.gaps}, duplicates {ledger.duplicates}"
    where = f"{NAMESPACE}/{DATASET} v{status.version} in {HOME_CLUSTER}"
    look = f"atoll dataset verify {DATASET} -n {NAMESPACE}; files in {folder}; logs in {world.logs}"
    return Section(
        "Data",
        f"{counts}; {where}",
        ("INSTRUMENT", "SENT", "RECEIVED", "BYTES", "SHA-256 ON DISK", "SOURCE"),
        tuple(_row(channel, sources.get(channel.topic), hashes[channel.topic]) for channel in world.recording.channels),
        (
            Check("every record of the recording was acknowledged", published == world.recording.readings, look),
            Check("as many readings were received as were published", ledger.received == published, look),
            Check("the ledger has no gaps and no duplicates", (ledger.gaps, ledger.duplicates) == (0, 0), look),
            Check("the dataset is complete", status.complete, look),
            Check("every file equals its source by SHA-256", len(same) == len(world.recording.channels), look),
            Check("nothing else is in the dataset", len(sources) == status.files == len(same), look),
        ),
    )


def _hash(folder: Path | None, source: SourceLedger | None) -> str:
    if folder is None or source is None or not (folder / source.file).is_file():
        return ""
    return hashlib.sha256((folder / source.file).read_bytes()).hexdigest()


def _claimed(source: SourceLedger | None) -> str:
    return source.sha256 if source else ""


def _row(channel: Channel, source: SourceLedger | None, found: str) -> tuple[str, ...]:
    received = str(source.received) if source else "0"
    size = f"{source.bytes:,}" if source else "0"
    verdict = "same" if found == channel.sha256 else "differs"
    return (channel.topic, str(len(channel.records)), received, size, f"{found[:16] or 'missing'}", verdict)
