"""The real recording: seismometer traces that the obspy package ships, as miniSEED records per channel.

Owns where it comes from and what must be found in it. It publishes nothing.

27 May 2010, 16:24 UTC: four seismometers, UH1 to UH4 of the Bavarian network BW, saw three local earthquakes within
four minutes. obspy ships the traces as compressed text, for the tests of its trigger; an instrument would send miniSEED
records, so they are packed into those first, one source file per channel.
"""

import hashlib
import struct
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

from atoll.federation.errors import Unavailable

# The record length of SeedLink, by which seismometers stream: one record is one packet.
RECORD_BYTES = 512
_PATTERN = "BW.UH*.cut.slist.gz"
# SEED manual 2.4, chapter 8, fixed section of the data header: BTIME at byte 20.
_BTIME = struct.Struct(">HHBBBxH")
_BTIME_OFFSET = 20


@dataclass(frozen=True)
class KnownEvent:
    """An earthquake that must be found, as obspy's own test has it (obspy/signal/tests/test_trigger.py)."""

    after: str
    before: str
    stations: int


KNOWN_EVENTS = (
    KnownEvent("2010-05-27T16:24:31", "2010-05-27T16:24:35", 4),
    KnownEvent("2010-05-27T16:26:59", "2010-05-27T16:27:03", 3),
    KnownEvent("2010-05-27T16:27:27", "2010-05-27T16:27:33", 4),
)


@dataclass(frozen=True)
class Channel:
    """One component of one seismometer: its source file, and that file's records with their times in the recording."""

    station: str
    code: str
    file: Path
    sha256: str
    records: tuple[bytes, ...]
    offsets_seconds: tuple[float, ...]

    @property
    def topic(self) -> str:
        """The MQTT topic that its records are published on."""
        return f"seismic/{self.station}/{self.code}"


@dataclass(frozen=True)
class Recording:
    """All channels, and how long it took when it happened."""

    channels: tuple[Channel, ...]
    duration_seconds: float

    @property
    def stations(self) -> tuple[str, ...]:
        """The seismometers, each of which is one MQTT client."""
        return tuple(sorted({channel.station for channel in self.channels}))

    @property
    def readings(self) -> int:
        """Number of records of all channels."""
        return sum(len(channel.records) for channel in self.channels)


def prepare(folder: Path) -> Recording:
    """Pack the shipped traces into one miniSEED source file per channel in a folder.

    Raises:
        Unavailable: obspy, or the recording in it, is not installed.
    """
    traces = find_traces()
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # obspy and its plugins use interfaces that newer Pythons deprecate; nothing a person here can act on.
        warnings.simplefilter("ignore")
        files = [_to_miniseed(path, folder) for path in traces]
    starts = {file: _start_times(file.read_bytes()) for file in files}
    origin = min(times[0] for times in starts.values())
    channels = tuple(_channel(file, starts[file], origin) for file in files)
    return Recording(channels, max(channel.offsets_seconds[-1] for channel in channels))


def find_traces() -> list[Path]:
    """Find the files that obspy ships; cheap, so that what is missing is said before anything starts.

    Raises:
        Unavailable: obspy, or the recording in it, is not installed.
    """
    spec = find_spec("obspy")
    if spec is None or spec.origin is None:
        raise Unavailable("the recording comes with obspy, which is not installed: pip install 'atoll[demo]'")
    folder = Path(spec.origin).parent / "signal" / "tests" / "data"
    found = sorted(folder.glob(_PATTERN))
    if not found:
        raise Unavailable(f"this obspy has no {_PATTERN} in {folder}: install obspy 1.4.2 or newer from its wheel")
    return found


def _to_miniseed(shipped: Path, folder: Path) -> Path:
    """Write a trace as miniSEED: Steim-2 where the samples are whole numbers, as a digitizer does, else as doubles."""
    import numpy
    from obspy import read

    stream = read(str(shipped))
    trace = stream[0]
    is_whole = bool((trace.data == trace.data.round()).all())
    trace.data = trace.data.astype(numpy.int32 if is_whole else numpy.float64)
    file = folder / f"{trace.stats.station}.{trace.stats.channel}.mseed"
    encoding = "STEIM2" if is_whole else "FLOAT64"
    stream.write(str(file), format="MSEED", reclen=RECORD_BYTES, encoding=encoding)
    return file


def _channel(file: Path, starts: list[datetime], origin: datetime) -> Channel:
    content = file.read_bytes()
    station, code, _ = file.name.split(".")
    records = tuple(content[at : at + RECORD_BYTES] for at in range(0, len(content), RECORD_BYTES))
    offsets = tuple((start - origin).total_seconds() for start in starts)
    return Channel(station, code, file, hashlib.sha256(content).hexdigest(), records, offsets)


def _start_times(content: bytes) -> list[datetime]:
    """Read when each record begins."""
    times = []
    for at in range(_BTIME_OFFSET, len(content), RECORD_BYTES):
        year, day, hour, minute, second, fraction = _BTIME.unpack_from(content, at)
        start = datetime(year, 1, 1, hour, minute, second, tzinfo=UTC)
        times.append(start + timedelta(days=day - 1, microseconds=fraction * 100))
    return times
