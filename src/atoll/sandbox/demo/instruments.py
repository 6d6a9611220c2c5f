"""The instruments: each seismometer is one MQTT client that publishes its records as they come, then the run ends.

A stand-in for real devices, so it talks MQTT like one: QoS 1, own connection, resends after a lost connection.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from atoll.federation.errors import Unavailable
from atoll.sandbox.demo.recording import Recording
from atoll.sandbox.demo.waiting import Patience

END_TOPIC = "seismic/control/end"
# Messages that a device may have unacknowledged at once; 1 keeps a device's records in order over a reconnect.
_IN_FLIGHT = 1
_CONNECT_SECONDS = 10.0
_ACKNOWLEDGE_POLL_SECONDS = 0.002
# Longer than a broker needs to come back after kill -9.
_ACKNOWLEDGE_SECONDS = 60.0


@dataclass(frozen=True)
class Published:
    """What the broker acknowledged."""

    readings: int
    reconnects: int


def play(
    recording: Recording, broker: str, *, speed: float, patience: Patience, on_progress: Callable[[int], None]
) -> Published:
    """Publish the whole recording, all instruments at once, then the end-of-run marker.

    Args:
        recording: what to play.
        broker: mqtt://host:port.
        speed: how many times faster than it happened.
        patience: ends the play when told to stop.
        on_progress: told the number of acknowledged records, from several threads.

    Raises:
        Unavailable: the broker cannot be reached or does not acknowledge.
    """
    progress = _Progress(on_progress)
    start = time.monotonic()

    def play_station(station: str) -> int:
        with _Device(f"seismometer-{station}", broker, patience) as device:
            for offset, topic, record in _queue(recording, station):
                patience.sleep(max(0.0, start + offset / speed - time.monotonic()))
                device.publish(topic, record)
                progress.add()
            return device.reconnects

    with ThreadPoolExecutor(len(recording.stations)) as pool:
        reconnects = sum(_all(pool.map(play_station, recording.stations), patience))
    with _Device("acquisition", broker, patience) as device:
        device.publish(END_TOPIC, b"end of run")
    return Published(progress.total, reconnects)


def _queue(recording: Recording, station: str) -> list[tuple[float, str, bytes]]:
    """Give one seismometer's records with their times and topics, in the order of time."""
    channels = [channel for channel in recording.channels if channel.station == station]
    return sorted(
        (offset, channel.topic, record)
        for channel in channels
        for offset, record in zip(channel.offsets_seconds, channel.records, strict=True)
    )


def _all(results: Iterator[int], patience: Patience) -> list[int]:
    """Collect what the threads give; when one fails or we are interrupted, tell the others to stop."""
    try:
        return list(results)
    except BaseException:
        patience.stop()
        raise


class _Progress:
    """Counts over threads; an int's += alone is not one step."""

    def __init__(self, on_progress: Callable[[int], None]) -> None:
        self._lock = threading.Lock()
        self._on_progress = on_progress
        self.total = 0

    def add(self) -> None:
        with self._lock:
            self.total += 1
            self._on_progress(self.total)


class _Device:
    """One MQTT client; `publish` returns when the broker has acknowledged."""

    def __init__(self, name: str, broker: str, patience: Patience) -> None:
        address = urlsplit(broker)
        self._where = broker
        self._patience = patience
        self._host, self._port = str(address.hostname), address.port or 1883
        self._connects = 0
        self._acknowledged: set[int] = set()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
        self._client.max_inflight_messages_set(_IN_FLIGHT)
        self._client.reconnect_delay_set(min_delay=1, max_delay=2)
        self._client.on_connect = self._count_connect
        self._client.on_publish = self._note_acknowledged

    @property
    def reconnects(self) -> int:
        return max(0, self._connects - 1)

    def __enter__(self) -> "_Device":
        deadline = time.monotonic() + _CONNECT_SECONDS
        while True:
            try:
                self._client.connect(self._host, self._port)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise Unavailable(f"no MQTT broker answers at {self._where}: {error}") from error
                self._patience.sleep(0.2)
        self._client.loop_start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes) -> None:
        # Without a connection paho says so and keeps the message all the same: what counts is the acknowledgement.
        packet_id = self._client.publish(topic, payload, qos=1).mid
        deadline = time.monotonic() + _ACKNOWLEDGE_SECONDS
        while packet_id not in self._acknowledged:
            if time.monotonic() > deadline:
                raise Unavailable(f"{self._where} acknowledged nothing for {_ACKNOWLEDGE_SECONDS:.0f} s")
            self._patience.sleep(_ACKNOWLEDGE_POLL_SECONDS)
        self._acknowledged.discard(packet_id)

    def _note_acknowledged(self, _client: object, _data: object, packet_id: int, *_more: object) -> None:
        self._acknowledged.add(packet_id)

    def _count_connect(self, *_arguments: object) -> None:
        self._connects += 1
