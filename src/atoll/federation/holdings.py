"""What would be missed if a member went. Of a cluster: streams that are written there, datasets that are whole nowhere
else. Of a gateway: the streams that it feeds. Pure.

Owns the rule and its words, for the command that asks and for the hub that carries it out. It reads no cluster.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from atoll.federation.resources import Dataset, Stream

_SHOWN = 5


@dataclass(frozen=True)
class Holdings:
    """Streams with their home in a cluster, and datasets, or older versions, that are whole in that cluster only."""

    cluster: str
    streams: tuple[str, ...] = ()
    only_copies: tuple[str, ...] = ()

    def of_streams(self) -> str:
        """Name the streams in a sentence."""
        return f"{_listed('stream', self.streams)} {_have(self.streams)} {self.cluster} as home"

    def of_copies(self) -> str:
        """Name the datasets in a sentence."""
        return f"{_listed('dataset', self.only_copies)} {_have(self.only_copies)} no whole copy but in {self.cluster}"


def holdings(cluster: str, streams: Iterable[Stream], datasets: Iterable[Dataset]) -> Holdings:
    """Tell what a cluster holds alone; names are namespace/name, sorted."""
    return Holdings(
        cluster,
        streams=tuple(sorted(_name(stream) for stream in streams if stream.spec.home == cluster)),
        only_copies=tuple(sorted(name for dataset in datasets for name in _only_in(dataset, cluster))),
    )


def fed_by(gateway: str, streams: Iterable[Stream]) -> tuple[str, ...]:
    """Name the streams of a gateway, as namespace/name, sorted."""
    return tuple(sorted(_name(stream) for stream in streams if stream.spec.gateway == gateway))


def of_fed(gateway: str, names: tuple[str, ...]) -> str:
    """Name a gateway's streams in a sentence."""
    return f"{_listed('stream', names)} {_have(names)} {gateway} as gateway"


def _only_in(dataset: Dataset, cluster: str) -> Iterator[str]:
    """Name what of a dataset is whole in this cluster only: itself, and its older versions by number."""
    if _is_only_in(dataset, cluster):
        yield _name(dataset)
    for version in dataset.status.versions:
        if version.version < dataset.status.version and version.complete and version.clusters == (cluster,):
            yield f"{_name(dataset)} version {version.version}"


def _is_only_in(dataset: Dataset, cluster: str) -> bool:
    """A version that still grows has no replicas: it is at home."""
    holders = {replica.cluster for replica in dataset.status.replicas}
    if dataset.status.complete:
        return holders == {cluster}
    return dataset.status.version > 0 and dataset.spec.home == cluster


def _name(item: Stream | Dataset) -> str:
    return f"{item.metadata.namespace}/{item.metadata.name}"


def _listed(noun: str, names: tuple[str, ...]) -> str:
    more = len(names) - _SHOWN
    return f"{noun}{'s'[: len(names) != 1]} {', '.join(names[:_SHOWN])}" + (f" and {more} more" if more > 0 else "")


def _have(names: tuple[str, ...]) -> str:
    return "has" if len(names) == 1 else "have"
