"""What becomes of envelopes whose readings must give way: fewer of them, that still say what they stood for. Pure.

Owns which readings stay: those whose number is a multiple. So what was thinned can be thinned again, and neighbours
can become one envelope.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from atoll.federation.bus.envelope import MAX_PAYLOAD_BYTES, MAX_READINGS, Absence, Cause, Envelope

# A reading in so many is none: what is left of a Stream that was thinned ten times over by a hundred.
MOST_EVERY = 2**31


def wider(every: int, keep: int) -> int:
    """Give the next step of thinning: each `keep`-th of what is left; 0 (none) where that is hardly any."""
    return every * keep if 0 < every * keep <= MOST_EVERY else 0


def thin(envelopes: Sequence[Envelope], every: int, *, cause: Cause = "shed") -> list[Envelope]:
    """Leave the readings whose number is a multiple of `every` (0: none), in as few envelopes as they fit in.

    Args:
        envelopes: of one Stream and dataset, one after the other, whose own thinning is by a divisor of `every`.
        every: of which numbers the readings stay.
        cause: why the others do not.
    """
    return [_joined(group, every, cause) for group in _groups([_left(envelope, every) for envelope in envelopes])]


def _left(envelope: Envelope, every: int) -> Envelope:
    """Drop what does not stay; what it stands for is set when it is joined."""
    numbered = zip(envelope.numbers, envelope.readings, strict=True) if every else ()
    kept = tuple(reading for number, reading in numbered if not number % every)
    return replace(envelope, readings=kept, absence=Absence("shed", envelope.last - envelope.first + 1, every))


def _groups(envelopes: Iterable[Envelope]) -> Iterator[list[Envelope]]:
    """Part envelopes into runs that fit into one each; the end of a run of the instrument ends one."""
    group: list[Envelope] = []
    count = size = 0
    for envelope in envelopes:
        payloads = sum(len(reading.payload) for reading in envelope.readings)
        is_full = count + len(envelope.readings) > MAX_READINGS or size + payloads > MAX_PAYLOAD_BYTES
        if group and (is_full or group[-1].end_of_run):
            yield group
            group, count, size = [], 0, 0
        group.append(envelope)
        count, size = count + len(envelope.readings), size + payloads
    if group:
        yield group


def _joined(group: Sequence[Envelope], every: int, cause: Cause) -> Envelope:
    last = group[-1]
    return replace(
        last,
        first=group[0].first,
        readings=tuple(reading for envelope in group for reading in envelope.readings),
        end_of_run=last.end_of_run,
        absence=Absence(cause, last.last - group[0].first + 1, every),
    )
