"""Looks into the folders of Streams, and brings what is finished into the catalogue. Blocks on the disk.

Owns what was seen and is not finished, in memory: after a restart it settles once more.
"""

import math
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from atoll.edge.gateway.file_source.catalogue import Catalogue
from atoll.edge.gateway.file_source.naming import dataset_of
from atoll.edge.gateway.file_source.problems import Problems
from atoll.edge.gateway.file_source.roots import Roots, Signature, opened_folder, signature_at
from atoll.edge.gateway.file_source.scanning import is_closed, scan
from atoll.edge.gateway.file_source.settling import Candidate, is_end_marker, is_wanted, settle
from atoll.edge.gateway.memory import StreamKey
from atoll.federation.bus.data_messages import StreamOrder
from atoll.federation.capacity.quantities import parse_duration
from atoll.federation.errors import InvalidInput
from atoll.federation.payloads import MalformedPayload, decode, field
from atoll.federation.resources.stream_files import FileSource

_FOLDER = b""
# Among announced paths: a message said that the run is over. No file has this path.
END_OF_RUN = b""


class Looker:
    """Looks into one Stream's folder at a time."""

    def __init__(
        self, catalogue: Catalogue, roots: Roots, problems: Problems, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._catalogue, self._roots, self._problems, self._clock = catalogue, roots, problems, clock
        self._candidates: dict[StreamKey, dict[bytes, Candidate]] = {}
        # What is known of the paths that are there, so that a look asks the catalogue for new ones only.
        self._known: dict[StreamKey, dict[bytes, Signature]] = {}

    def waiting(self, stream: StreamKey) -> int:
        """Count the files that are there and not finished."""
        return len(self._candidates.get(stream, {}))

    def forget(self, stream: StreamKey) -> None:
        """Forget what is in memory of a Stream."""
        self._candidates.pop(stream, None)
        self._known.pop(stream, None)

    def look(self, order: StreamOrder) -> bool:
        """Look into a Stream's folder; tell whether the catalogue has something new."""
        key, source = StreamKey(order.namespace, order.name), order.spec.files
        if source is None:
            return False
        try:
            root = self._roots.find(source)
            with opened_folder(root, source.folder) as folder:
                found = (
                    self._heard(order, source, folder) if source.announcements else self._watched(order, source, folder)
                )
        except InvalidInput as error:
            self._problems.note(key, _FOLDER, str(error))
            return False
        except OSError as error:
            self._problems.note(key, _FOLDER, f"folder {source.folder} cannot be read: {error.strerror}")
            return False
        self._problems.clear(key, _FOLDER)
        ended = self._end_announced(key)
        return self._end_idle(order, key) or ended or found

    def _watched(self, order: StreamOrder, source: FileSource, folder: int) -> bool:
        key = StreamKey(order.namespace, order.name)
        seen = scan(folder, is_wanted=partial(is_wanted, source), recursive=source.recursive)
        for path, text in seen.problems.items():
            self._problems.note(key, path, text)
        settling = settle(
            source,
            seen.files,
            self._candidates.get(key, {}),
            is_known=partial(self._is_known, key),
            is_closed=partial(is_closed, folder),
            now=self._clock(),
        )
        self._candidates[key] = settling.candidates
        known = self._known.get(key, {})
        self._known[key] = {path: known[path] for path in seen.files if path in known}
        for path in settling.vanished:
            self._problems.lost(key, path, "was deleted before it was finished")
        files = {path: seen.files[path] for path in settling.ready if not is_end_marker(source, path)}
        self._add(order, files, is_there=seen.files.__contains__)
        for path in settling.ready:  # after the files: a marker ends what was there before it
            if path not in files:
                self._catalogue.end(key, marker=(path, seen.files[path]))
        return bool(settling.ready)

    def _heard(self, order: StreamOrder, source: FileSource, folder: int) -> bool:
        """Look for the files that messages named."""
        key = StreamKey(order.namespace, order.name)
        found, done = {}, []
        for path in self._catalogue.announcements(key):
            if path == END_OF_RUN:
                continue
            signature = signature_at(folder, path)
            if signature is None:
                self._problems.note(key, path, f"was announced and is no file in folder {source.folder}")
                continue
            done.append(path)
            if not self._is_known(key, path, signature):
                found[path] = signature
        self._add(order, found, is_there=lambda path: signature_at(folder, path) is not None)
        self._catalogue.heard(key, done)
        return bool(found)

    def _add(self, order: StreamOrder, files: Mapping[bytes, Signature], *, is_there: Callable[[bytes], bool]) -> None:
        key, rows = StreamKey(order.namespace, order.name), []
        for path, signature in files.items():
            dataset = dataset_of(order, path, signature)
            if dataset is None:
                self._problems.note(key, path, f"template {order.spec.dataset!r} gives no valid name for it")
                continue
            self._problems.clear(key, path)
            same = self._catalogue.same_content(key, signature)
            if same is not None and same[1] == dataset and not is_there(same[0]):
                self._catalogue.renamed(key, same[0], path)
            else:
                rows.append((path, signature, dataset))
        if rows:
            self._catalogue.add(key, rows, now=time.time())

    def _is_known(self, key: StreamKey, path: bytes, signature: Signature) -> bool:
        known = self._known.setdefault(key, {})
        if known.get(path) != signature:
            newest = self._catalogue.newest(key, path)
            if newest != signature:
                return False
            known[path] = signature
        return True

    def _end_announced(self, key: StreamKey) -> bool:
        """End the run if a message said so, after all files that were there or announced by then."""
        if self._candidates.get(key) or self._catalogue.announcements(key) != [END_OF_RUN]:
            return False
        self._catalogue.end(key, before=math.inf)
        self._catalogue.heard(key, [END_OF_RUN])
        return True

    def _end_idle(self, order: StreamOrder, key: StreamKey) -> bool:
        end = order.spec.end_of_run
        if end is None or end.idle is None or self._candidates.get(key):
            return False
        return self._catalogue.end(key, before=time.time() - parse_duration(end.idle))


def announced_path(roots: Roots, source: FileSource, payload: bytes) -> bytes:
    """Give the path below a Stream's folder that a message means.

    Raises:
        InvalidInput: it lies elsewhere, the message has none, or the gateway has no such root.
    """
    text = _path_in(source, payload)
    folder = roots.find(source) / source.folder
    path = Path(text)
    try:
        relative = os.fsencode(path.relative_to(folder) if path.is_absolute() else path)
    except (ValueError, UnicodeEncodeError) as error:
        raise InvalidInput(f"an announced file must lie in {folder}; {text[:200]!r} does not") from error
    if not text or "\0" in text or b".." in relative.split(b"/"):
        raise InvalidInput(f"an announced file must lie in {folder}; {text[:200]!r} names none there")
    return relative


def _path_in(source: FileSource, payload: bytes) -> str:
    wanted = source.announcements.field if source.announcements is not None else None
    try:
        found = payload.decode() if wanted is None else field(decode(payload, "JSON"), wanted)
    except (UnicodeDecodeError, MalformedPayload) as error:
        raise InvalidInput(f"an announcement cannot be read: {error}") from error
    if not isinstance(found, str):
        raise InvalidInput(f"an announcement has no text at {wanted}")
    return found.strip()
