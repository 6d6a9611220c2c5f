"""What is wrong with files now, and what could never be sent, by Stream. In memory: a restart finds it again."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from atoll.edge.gateway.memory import StreamKey

log = structlog.get_logger(__name__)

# What one cannot read now is tried again after this, doubled up to the longest.
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 2.0, 300.0
# Nobody is told when a root or a Stream comes back that was missing.
_LONGEST_WAIT_SECONDS = 10.0
# Of one Stream: a folder of a million files that nobody may read must not fill the memory.
_NAMED = 1000


@dataclass
class _Problem:
    text: str
    retry_seconds: float
    retry_at: float


@dataclass
class _OfStream:
    open: dict[bytes, _Problem] = field(default_factory=dict)
    lost: int = 0
    last: str = ""


class Problems:
    """The problems of all files of a gateway."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._streams: dict[StreamKey, _OfStream] = {}

    def note(self, stream: StreamKey, path: bytes, text: str) -> None:
        """Note what is wrong with a path, which will be tried again; empty is the folder."""
        known, name = self._of(stream), _shown(path)
        old = known.open.get(path)
        seconds = min(old.retry_seconds * 2, _LONGEST_RETRY_SECONDS) if old is not None else _FIRST_RETRY_SECONDS
        if old is None or old.text != text:
            known.last = f"{name}: {text}" if name else text
            log.warning("a file is in trouble", stream=str(stream), path=name, problem=text)
        if old is not None or len(known.open) < _NAMED:
            known.open[path] = _Problem(text, seconds, self._clock() + seconds)

    def lost(self, stream: StreamKey, path: bytes, text: str) -> None:
        """Note a file that was never sent and cannot be any more."""
        known, name = self._of(stream), _shown(path)
        known.open.pop(path, None)
        known.lost += 1
        known.last = f"{name}: {text}" if name else text
        log.error("a file was not sent", stream=str(stream), path=name, problem=text)

    def clear(self, stream: StreamKey, path: bytes) -> None:
        """Note that nothing is wrong with a path any more."""
        self._of(stream).open.pop(path, None)

    def is_due(self, stream: StreamKey, path: bytes) -> bool:
        """Tell whether a path may be tried now."""
        problem = self._of(stream).open.get(path)
        return problem is None or problem.retry_at <= self._clock()

    def seconds_until_due(self) -> float:
        """Tell when the next path may be tried again; what may be already was looked at just now."""
        now = self._clock()
        ats = [problem.retry_at for known in self._streams.values() for problem in list(known.open.values())]
        return min((at - now for at in ats if at > now), default=_LONGEST_WAIT_SECONDS)

    def counts(self, stream: StreamKey) -> tuple[int, str]:
        """Give how many there are or were, and the newest."""
        known = self._of(stream)
        return len(known.open) + known.lost, known.last

    def _of(self, stream: StreamKey) -> _OfStream:
        return self._streams.setdefault(stream, _OfStream())


def _shown(path: bytes) -> str:
    return path.decode(errors="backslashreplace")
