"""What `dataset replicate` does: ask for copies, and show how far they are until they are done."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from atoll.cli import kinds
from atoll.cli.api import Api
from atoll.cli.datasets import Wanted
from atoll.cli.output import hint, say
from atoll.federation.capacity import parse_bytes
from atoll.federation.errors import Conflict, InvalidInput, NotFound
from atoll.federation.resources import Dataset, ObjectMeta, Transfer, TransferSpec, transfer_name

_POLL_SECONDS = 0.5
_FINISHED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True)
class Copies:
    """Copies as a person asks for them."""

    of: Wanted
    to: tuple[str, ...]
    source: str | None = None
    rate: str = ""
    dry_run: bool = False


def replicate(api: Api, wanted: Copies, *, wait: bool) -> bool:
    """Ask for the copies; with `wait`, show them until they are done. Tell whether none has failed.

    Raises:
        NotFound: no such dataset, or nobody has the version. Conflict: the version still grows.
        InvalidInput: the rate is none, or a cluster does not exist.
    """
    dataset = Dataset.model_validate(api.get(wanted.of.path))
    specs = _specs(dataset, wanted)
    names = [_ask(api, wanted, spec) for spec in specs]
    if not specs:
        say(f"dataset.atoll.dev/{wanted.of.name} is there already")
    if wanted.dry_run or not wait or not names:
        return True
    return _follow(api, wanted.of.namespace, names)


def _specs(dataset: Dataset, wanted: Copies) -> list[TransferSpec]:
    """Say what is to be copied; where it is already, nothing is."""
    status, name = dataset.status, wanted.of.name
    version = wanted.of.version or next((each.version for each in status.versions if each.complete), status.version)
    found = next((each for each in status.versions if each.version == version), None)
    if found is None or not found.clusters:
        raise NotFound(f"nobody has version {version} of dataset {name!r}: see atoll dataset ls {name} --versions")
    if not found.complete:
        raise Conflict(f"version {version} of dataset {name!r} still grows: it can be copied once it is complete")
    source = wanted.source or (dataset.spec.home if dataset.spec.home in found.clusters else found.clusters[0])
    if source not in found.clusters:
        raise InvalidInput(f"--from {source}: has no copy of version {version}; {', '.join(found.clusters)} has")
    rate = parse_bytes(wanted.rate) if wanted.rate else 0
    return [
        TransferSpec(dataset=name, version=version, source=source, destination=to, bytes_per_second=rate)
        for to in dict.fromkeys(wanted.to)
        if to not in found.clusters
    ]


def _ask(api: Api, wanted: Copies, spec: TransferSpec) -> str:
    """Make the Transfer; one that is under way goes on, one that ended is made again."""
    ref, namespace = kinds.atoll("Transfer"), wanted.of.namespace
    name = transfer_name(spec.dataset, spec.version, spec.destination)
    known = api.find(ref.path(namespace, name))
    if known is not None and Transfer.model_validate(known).status.phase not in _FINISHED:
        hint(f"{ref.qualified}/{name} is under way already")
        return name
    if known is not None and not wanted.dry_run:
        api.delete(ref.path(namespace, name))
    transfer = Transfer(metadata=ObjectMeta(name=name, namespace=namespace), spec=spec)
    if known is None or not wanted.dry_run:
        api.create(ref.collection(namespace), transfer.wire(), dry_run=wanted.dry_run)
    say(f"{ref.qualified}/{name} created{' (dry run)' if wanted.dry_run else ''}")
    return name


def _follow(api: Api, namespace: str, names: list[str]) -> bool:
    """Show bars on stderr until all have ended; a pipe gets the outcomes only."""
    note = TextColumn("{task.fields[note]}")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), note)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks = {name: bars.add_task(name, total=None, note="") for name in names}
        outcome: Mapping[str, Transfer] = {}
        for outcome in _looks(api, namespace, names):
            for name, transfer in outcome.items():
                status = transfer.status
                bars.update(tasks[name], total=status.total_bytes or None, completed=status.copied_bytes,
                            note=status.message)  # fmt: skip
    outcomes = [_tell(name, outcome[name]) for name in names]
    return all(outcomes)


def _looks(api: Api, namespace: str, names: list[str]) -> Iterator[Mapping[str, Transfer]]:
    """Look at the transfers again and again until all have ended."""
    ref = kinds.atoll("Transfer")
    while True:
        found = {name: Transfer.model_validate(api.get(ref.path(namespace, name))) for name in names}
        yield found
        if all(each.status.phase in _FINISHED for each in found.values()):
            return
        time.sleep(_POLL_SECONDS)


def _tell(name: str, transfer: Transfer) -> bool:
    status, spec = transfer.status, transfer.spec
    if status.phase == "Succeeded":
        say(f"{spec.dataset} version {spec.version} is at {spec.destination}: {status.total_bytes:,} bytes, verified")
        return True
    say(f"transfer.atoll.dev/{name} failed: {status.message}")
    return False
