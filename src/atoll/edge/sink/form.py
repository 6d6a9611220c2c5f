"""How a Stream wants its files, as the sink needs it. Pure."""

from dataclasses import dataclass
from typing import Self

from atoll.federation.capacity import parse_duration
from atoll.federation.payloads import PayloadFormat
from atoll.federation.resources.stream import StreamSpec
from atoll.federation.resources.stream_layout import Column, Partitions, StreamFormat

# Files that DuckDB and Spark read well have tens of megabytes; what is held back for one stays in the gateway's log and
# in this process's memory meanwhile. A minute is how long a reader waits for new rows.
SEALED_BYTES, SEALED_SECONDS = 64_000_000, 60.0
_SECOND = 1_000_000_000


@dataclass(frozen=True)
class Form:
    """The part of a Stream's spec that decides about files. `roll_*` None: never for that reason."""

    format: StreamFormat = "raw"
    is_compressed: bool = False
    roll_bytes: int | None = None
    roll_seconds: float | None = None
    partitions: Partitions = "None"
    lateness_ns: int = 600 * _SECOND
    columns: tuple[Column, ...] = ()
    payload: PayloadFormat = "Raw"

    @classmethod
    def of(cls, spec: StreamSpec) -> Self:
        """Read a Stream's spec."""
        is_sealed = spec.format == "parquet" or spec.compression == "Zstd"
        age = parse_duration(spec.roll.age) if spec.roll.age else None
        return cls(
            format=spec.format,
            is_compressed=spec.format == "jsonl" and spec.compression == "Zstd",
            roll_bytes=spec.roll.bytes or (SEALED_BYTES if is_sealed else None),
            roll_seconds=age if age is not None or not is_sealed else SEALED_SECONDS,
            partitions=spec.partitions,
            lateness_ns=int(parse_duration(spec.lateness) * _SECOND),
            columns=spec.columns,
            payload=spec.payload.format,
        )

    @property
    def is_sealed(self) -> bool:
        """Its files are written whole, in contrast to those that grow."""
        return self.format == "parquet" or self.is_compressed

    def roll_due(self, size: int, age_seconds: float) -> bool:
        """Tell whether a file of this size and age is to be closed."""
        is_large = self.roll_bytes is not None and size >= self.roll_bytes
        return is_large or (self.roll_seconds is not None and age_seconds >= self.roll_seconds)
