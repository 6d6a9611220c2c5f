"""What must hold of readings, judged by files, ledgers, and what brokers had acknowledged. Reads, and changes nothing.

Owns how a stranger reads a volume: the files that ledgers name, as far as they name them. Nothing is asked of the sink
but its own proof, `verify`, which must say the same.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import zstandard

from atoll.edge.sink.verify import verify
from campaign.invariants import differences
from twin.jetstream import Stored
from twin.violations import Violation, broken_programs

if TYPE_CHECKING:
    from twin.lab import Lab

StreamKey = tuple[str, str]
CLAIMS = {
    "G3": "a reading that was acknowledged is once in its dataset, in order, and the ledger and its proof say so",
    "promise": "what a sink has said is in files is there after its death, and after the power was cut",
    "converged": "all readings are in files, and all datasets complete, when all has been in order for long",
    "alive": "no program ended, and no task failed, but for what was done to it",
}


class Version(NamedTuple):
    """One version on a volume, and what its ledger says."""

    dataset: str
    number: int
    folder: Path
    ledger: Mapping[str, Any]


def versions(volume: Path) -> list[Version]:
    """Find all that have a ledger, the oldest of each dataset first."""
    found = []
    for path in volume.glob("[!.]*/v*/.atoll/ledger.json"):
        folder = path.parents[1]
        found.append(Version(folder.parent.name, int(folder.name[1:]), folder, orjson.loads(path.read_bytes())))
    return sorted(found, key=lambda one: (one.dataset, one.number))


def kept(volume: Path) -> Counter[StreamKey]:
    """Count the readings of each Stream that ledgers say are in files."""
    counts: Counter[StreamKey] = Counter()
    for version in versions(volume):
        for feed in version.ledger["ledger"].get("feeds", ()):
            counts[feed["gateway"], feed["stream"]] += feed["received"]
    return counts


def are_complete(volume: Path) -> bool:
    """Tell whether every dataset's newest version is."""
    newest = {version.dataset: version for version in versions(volume)}
    return all(version.ledger.get("complete") for version in newest.values())


def promised(entries: Iterable[tuple[str, Stored]]) -> Counter[StreamKey]:
    """Give how many readings of each Stream a sink has reported to be in files, by what NATS has stored."""
    counts: Counter[StreamKey] = Counter()
    for stream, stored in entries:
        if stream == "OBSERVED" and ".committed." in stored.subject:
            gateway = stored.subject.split(".")[2]
            for commit in orjson.loads(stored.payload)["commits"]:
                key = gateway, commit["stream"]
                counts[key] = max(counts[key], commit["sequence"])
    return counts


def judged(lab: "Lab") -> tuple[list[Violation], Counter[str]]:
    """Give everything that must not have happened, and how often each claim was looked at."""
    published = lab.published
    observations = Counter(
        {"G3": sum(map(len, published.values())), "promise": lab.deaths, "converged": 1, "alive": len(lab.programs)}
    )
    found = [Violation("promise", text) for text in lab.broken_promises]
    if not lab.is_settled:
        found.append(Violation("converged", f"{sum(kept(lab.volume).values())} of {observations['G3']} are in files"))
    found += [Violation("G3", text) for text in _missed(lab.volume, published)]
    found += [Violation("G3", text) for text in _unproven(lab)]
    found += broken_programs(lab)
    return found, observations


def _missed(volume: Path, published: Mapping[str, list[bytes]]) -> Iterator[str]:
    contents: dict[str, list[bytes]] = defaultdict(list)
    for version in versions(volume):
        for topic, payload in _readings(version):
            contents[topic].append(payload)
    for topic in sorted(published.keys() | contents.keys()):
        lines, wanted = contents[topic], published.get(topic, [])
        if lines != wanted:
            yield f"{topic}: {differences(lines, wanted)}"


def _readings(version: Version) -> Iterator[tuple[str, bytes]]:
    """Read what a ledger names, in the order in which it was written."""
    sources = {source["file"]: source["source"] for source in version.ledger["ledger"].get("sources", ())}
    for file in version.ledger["files"]:
        path = file["path"]
        content = (version.folder / path).read_bytes()[: file["bytes"]]
        if path.endswith(".jsonl.zst"):
            content = zstandard.ZstdDecompressor().decompressobj().decompress(content)
        if ".jsonl" in path:
            for line in content.splitlines():
                said = orjson.loads(line)
                yield said["topic"], said["text"].encode()
        else:
            yield from ((sources[path], line) for line in content.splitlines(keepends=True))


def _unproven(lab: "Lab") -> Iterator[str]:
    """Give what ledgers say wrongly of their own files, or of what was lost."""
    counts: Counter[str] = Counter()
    for version in versions(lab.volume):
        name, said = f"{version.dataset} version {version.number}", version.ledger["ledger"]
        for file in version.ledger["files"]:
            content = (version.folder / file["path"]).read_bytes()[: file["bytes"]]
            if hashlib.sha256(content).hexdigest() != file["sha256"]:
                yield f"{name}: {file['path']} is not what the ledger says"
        counts += Counter({key: said.get(key, 0) for key in ("received", "gaps", "shed", "duplicates")})
        yield from (f"{name}: {problem}" for problem in verify(lab.volume, version.dataset, version.number).problems)
    wanted = sum(map(len, lab.published.values()))
    if counts["received"] != wanted:
        yield f"the ledgers say {counts['received']} received; acknowledged were {wanted}"
    yield from (f"the ledgers say {key}: {counts[key]}" for key in ("gaps", "shed", "duplicates") if counts[key])
