"""Values above 512 KiB: how they are cut into parts, what their head says, and which parts are left over. Pure.

A part of `<subject>` is stored under `<subject>._part_.<set>.<number>`: below the head's own subject, so that whoever
may read or write a key may do so with its parts, and nobody else. A set of parts is written once, under a name of its
own, before the head that names it; so a reader never mixes two values, and a set without a head is nothing.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from atoll.federation.errors import InvalidInput

# nats-server's max_payload is 1 MiB by default; half of it leaves room for headers and for base64 in an answer.
PART_BYTES = 512 * 1024
# What a reader must hold in memory at once for one key; above it, the thing should not be one value.
LARGEST_VALUE_BYTES = 16 * 1024 * 1024
# A writer gives up before its head by then, and only twice as old parts without a head are garbage: so nobody takes
# parts away from a writer that is merely slow. 16 MiB take 300 s at 56 kB a second.
WRITE_SECONDS = 300.0
_GARBAGE_SECONDS = 2 * WRITE_SECONDS
# No name of Kubernetes begins with a dot, which is what an underscore stands for in a subject.
_MARK = "._part_."
_HEADER = "Atoll-Parts"
_HEAD = re.compile("([0-9a-f]{16}) ([0-9]{1,9}) ([0-9]{1,9}) ([0-9a-f]{64})")


@dataclass(frozen=True)
class Head:
    """What the message at a key's own subject says of a value in parts."""

    set_name: str
    parts: int
    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, value: bytes) -> "Head":
        """Describe a value that is to be stored in parts, as a set with a new name."""
        count = -(-len(value) // PART_BYTES)
        return cls(secrets.token_hex(8), count, len(value), hashlib.sha256(value).hexdigest())

    @classmethod
    def read(cls, headers: Mapping[str, str] | None) -> "Head | None":
        """Read a message's headers; None if its payload is the value.

        Raises:
            InvalidInput: they say something that no writer says.
        """
        text = (headers or {}).get(_HEADER)
        if text is None:
            return None
        said = _HEAD.fullmatch(text)
        if said is None:
            raise InvalidInput("the head of a value in parts is malformed")
        name, count, size, digest = said.groups()
        head = cls(name, int(count), int(size), digest)
        if not (0 < head.size_bytes <= LARGEST_VALUE_BYTES and head.parts == -(-head.size_bytes // PART_BYTES)):
            raise InvalidInput(f"a value of {size} bytes in {count} parts cannot be")
        return head

    def headers(self) -> dict[str, str]:
        """Give the headers of the message."""
        return {_HEADER: f"{self.set_name} {self.parts} {self.size_bytes} {self.sha256}"}

    def subjects(self, subject: str) -> list[str]:
        """Give the subjects of all parts, in order."""
        return [f"{subject}{_MARK}{self.set_name}.{number}" for number in range(1, self.parts + 1)]

    def join(self, parts: Sequence[bytes]) -> bytes:
        """Put the parts together.

        Raises:
            InvalidInput: they are not all there, or not what the head says.
        """
        if len(parts) != self.parts:
            raise InvalidInput(f"{len(parts)} of {self.parts} parts are there")
        value = b"".join(parts)
        if len(value) != self.size_bytes or hashlib.sha256(value).hexdigest() != self.sha256:
            raise InvalidInput("the parts are not what the head says")
        return value


def split(value: bytes) -> list[bytes]:
    """Cut a value into parts."""
    return [value[start : start + PART_BYTES] for start in range(0, len(value), PART_BYTES)]


def set_subjects(subject: str, set_name: str) -> str:
    """Give the pattern of all parts of a set."""
    return f"{subject}{_MARK}{set_name}.>"


def part_of(subject: str) -> tuple[str, str] | None:
    """Give the subject and the set that a message is a part of; None if it is no part."""
    head, mark, rest = subject.rpartition(_MARK)
    return (head, rest.partition(".")[0]) if mark else None


@dataclass
class Leftovers:
    """Remembers the sets of parts that a follower comes by, and names those that nothing needs any more.

    Instants are the server's, in seconds: they come with the messages.
    """

    _sets: dict[str, dict[str, float]] = field(default_factory=dict)
    _named: dict[str, str] = field(default_factory=dict)
    _swept_at: float = 0.0

    def part(self, subject: str, set_name: str, stored_at: float) -> None:
        """Note a part."""
        self._sets.setdefault(subject, {})[set_name] = stored_at

    def value(self, subject: str, set_name: str, stored_at: float) -> list[str]:
        """Note a value that could be read, of one set or, if that is empty, of none; give the sets to remove.

        Those are the set that an earlier head named, and sets whose writer has died.
        """
        before = self._named.pop(subject, "")
        if set_name:
            self._named[subject] = set_name
        found = self._sets.get(subject, {})
        others = ((name, at) for name, at in found.items() if name != set_name)
        stale = [name for name, at in others if name == before or stored_at - at > _GARBAGE_SECONDS]
        self._drop(subject, stale)
        return stale

    def abandoned(self, now: float) -> list[tuple[str, str]]:
        """Give the sets (subject, name) whose writer has died, having named them in no head; looks now and then."""
        if now - self._swept_at <= _GARBAGE_SECONDS:
            return []
        self._swept_at = now
        stale = [
            (subject, name)
            for subject, sets in self._sets.items()
            for name, at in sets.items()
            if now - at > _GARBAGE_SECONDS and self._named.get(subject) != name
        ]
        for subject, name in stale:
            self._drop(subject, [name])
        return stale

    def _drop(self, subject: str, names: Sequence[str]) -> None:
        sets = self._sets.get(subject, {})
        for name in names:
            sets.pop(name, None)
        if not sets:
            self._sets.pop(subject, None)
