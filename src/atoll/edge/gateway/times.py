"""When a reading was taken, by what its Stream says of time. Pure: the clock is the reading's arrival."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from atoll.federation.capacity.quantities import parse_duration
from atoll.federation.payloads.paths import Steps, field, parse_path
from atoll.federation.resources.stream_reading import TimeSpec

_SECOND_NS = 1_000_000_000
_UNIT_NS = {"Seconds": _SECOND_NS, "Milliseconds": 1_000_000, "Microseconds": 1000, "Nanoseconds": 1}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Nothing further from 1970 fits the 64 bits that an envelope has for it.
_LARGEST_NS = 2**63 - 1


class TimeReader:
    """Reads the time of readings of one Stream."""

    def __init__(self, spec: TimeSpec) -> None:
        self._spec = spec
        self._steps: Steps = parse_path(spec.field) if spec.source == "Payload" and spec.field else ("timestamp",)
        self._ahead_ns = int(parse_duration(spec.max_ahead) * _SECOND_NS)
        self._behind_ns = int(parse_duration(spec.max_behind) * _SECOND_NS)
        # Only a Sparkplug payload may leave the field out, and its timestamp is in milliseconds.
        self._unit = "Milliseconds" if spec.source == "Payload" and not spec.field else spec.unit

    def read(
        self, value: Any, properties: Sequence[tuple[str, str]], *, arrived_ns: int, is_historical: bool = False
    ) -> int | None:
        """Give nanoseconds since 1970; None if there is no time, it is none, or it is not credible.

        Args:
            value: the payload's JSON-like value.
            properties: the user properties of the message.
            arrived_ns: when the reading arrived, by the gateway's clock.
            is_historical: the sender says that it tells of the past, so any past is credible.
        """
        said = field(value, self._steps) if self._spec.source == "Payload" else self._property(properties)
        at = None if said is None else self._instant(said)
        if at is None or at > arrived_ns + self._ahead_ns or not 0 <= at <= _LARGEST_NS:
            return None
        return at if is_historical or at >= arrived_ns - self._behind_ns else None

    def _property(self, properties: Sequence[tuple[str, str]]) -> str | None:
        return next((value for name, value in properties if name == self._spec.field), None)

    def _instant(self, said: Any) -> int | None:
        if self._spec.format is not None:
            return _formatted(said, self._spec.format)
        if self._unit == "RFC3339":
            return _rfc3339(said)
        return _number(said, _UNIT_NS[self._unit])


def _number(said: Any, unit_ns: int) -> int | None:
    if isinstance(said, bool) or not isinstance(said, int | float | str):
        return None
    try:
        number = Decimal(str(said)) if not isinstance(said, int) else said
        # Compared before it is multiplied out: 1e999999 would fill the memory.
        return int(number * unit_ns) if 0 <= number <= _LARGEST_NS // unit_ns else None
    except (InvalidOperation, ValueError, OverflowError):
        return None


def _rfc3339(said: Any) -> int | None:
    try:
        return _since_epoch(datetime.fromisoformat(said))
    except (TypeError, ValueError, OverflowError):
        return None


def _formatted(said: Any, form: str) -> int | None:
    try:
        return _since_epoch(datetime.strptime(str(said), form))  # noqa: DTZ007 # a zone is the format's to have
    except (ValueError, OverflowError):
        return None


def _since_epoch(instant: datetime) -> int:
    aware = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND * 1000
