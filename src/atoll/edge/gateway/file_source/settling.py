"""Which files are finished. Pure: what was seen, and when, is handed in.

An instrument writes for minutes, pauses, goes on; nothing in a folder says that a file is whole. So a file counts as
finished by the Stream's rule, and as unfinished again as soon as it looks different.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from atoll.edge.gateway.file_source.patterns import is_meant
from atoll.edge.gateway.file_source.roots import Signature
from atoll.federation.capacity.quantities import parse_duration
from atoll.federation.resources.stream_files import FileSource

Seen = Mapping[bytes, Signature]


class Candidate(NamedTuple):
    """A file that is not finished, and since when (seconds of any steady clock) it has looked as it does."""

    signature: Signature
    since: float


@dataclass(frozen=True)
class Settling:
    """What to do after a look: send `ready`, keep `candidates` for the next look, name what has `vanished` unsent."""

    ready: tuple[bytes, ...]
    candidates: dict[bytes, Candidate] = field(default_factory=dict)
    vanished: tuple[bytes, ...] = ()


def is_wanted(source: FileSource, path: bytes) -> bool:
    """Tell whether a path has to be looked at: it is to be sent, or says something of what is."""
    suffix = _marker_suffix(source)
    if suffix is not None and path.endswith(suffix):
        return True
    return is_end_marker(source, path) or is_meant(path, source.patterns)


def is_end_marker(source: FileSource, path: bytes) -> bool:
    """Tell whether a path is a marker that ends a run."""
    return source.end_marker is not None and is_meant(path, (source.end_marker,))


def settle(
    source: FileSource,
    seen: Seen,
    before: Mapping[bytes, Candidate],
    *,
    is_known: Callable[[bytes, Signature], bool],
    is_closed: Callable[[bytes], bool | None],
    now: float,
) -> Settling:
    """Compare a look with the one before.

    Args:
        source: the Stream's rule.
        seen: what is there.
        before: the candidates that the look before gave.
        is_known: whether exactly this content of a path was dealt with already.
        is_closed: whether no process has a path open for writing; None: it cannot be told.
        now: seconds of a steady clock.
    """
    suffix = _marker_suffix(source)
    ready: list[bytes] = []
    candidates: dict[bytes, Candidate] = {}
    for path, signature in seen.items():
        if (suffix is not None and path.endswith(suffix)) or is_known(path, signature):
            continue
        old = before.get(path)
        candidate = old if old is not None and old.signature == signature else Candidate(signature, now)
        if suffix is not None and not is_end_marker(source, path):
            is_ready = path + suffix in seen
        else:
            is_ready = candidate is old and _is_finished(source, path, now - candidate.since, is_closed=is_closed)
        if is_ready:
            ready.append(path)
        else:
            candidates[path] = candidate
    order, held = _in_order(source, seen, ready, candidates)
    return Settling(order, candidates | {path: Candidate(seen[path], now) for path in held}, _vanished(seen, before))


def _marker_suffix(source: FileSource) -> bytes | None:
    return source.settle.marker.encode() if source.settle.marker is not None else None


def _is_finished(
    source: FileSource, path: bytes, unchanged_seconds: float, *, is_closed: Callable[[bytes], bool | None]
) -> bool:
    """Tell whether a file that looks as it did before is finished."""
    closed = is_closed(path) if source.settle.closed else None
    return unchanged_seconds >= parse_duration(source.settle.quiet) if closed is None else closed


def _in_order(
    source: FileSource, seen: Seen, ready: Sequence[bytes], unfinished: Iterable[bytes]
) -> tuple[tuple[bytes, ...], set[bytes]]:
    """Put files in the order of their times, ends of runs last; give the ends that wait for unfinished files, too."""
    ends = {path for path in ready if is_end_marker(source, path)}
    held = {path for path in ends if any(_is_below(other, path) for other in unfinished)}
    order = sorted(set(ready) - held, key=lambda path: (path in ends, seen[path].mtime_ns, path))
    return tuple(order), held


def _vanished(seen: Seen, before: Mapping[bytes, Candidate]) -> tuple[bytes, ...]:
    """Name what is gone. What has another name now was renamed, as most programs do when a file is finished."""
    names = {(signature.size, signature.mtime_ns, signature.inode) for signature in seen.values()}
    return tuple(path for path, old in before.items() if path not in seen and tuple(old.signature) not in names)


def folder_of(path: bytes) -> bytes:
    """Give the folder of a path, with a slash at its end; empty for the watched folder itself."""
    return path[: path.rfind(b"/") + 1]


def _is_below(path: bytes, marker: bytes) -> bool:
    return path.startswith(folder_of(marker))
