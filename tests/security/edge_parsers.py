"""Harnesses of what instruments and their broker send: MQTT packets, topics, payloads, file names."""

from functools import partial
from typing import Any

from atoll.edge.gateway.drafts import Message
from atoll.edge.gateway.mqtt.packets import PacketReader, ProtocolError, publish, suback_codes
from atoll.edge.gateway.packing import Packer
from atoll.edge.gateway.recent import RecentPackets
from atoll.edge.sink import parquet
from atoll.edge.sink.form import Form
from atoll.edge.sink.names import file_name
from atoll.edge.sink.readings import Readings
from atoll.federation.bus.data_messages import StreamOrder
from atoll.federation.bus.envelope import Envelope, Reading
from atoll.federation.bus.file_names import original_of, safe_path
from atoll.federation.payloads import MalformedPayload, PayloadFormat, decode, field
from atoll.federation.payloads.sparkplug import births, outline, rebirth_command, with_names
from atoll.federation.payloads.sparkplug_schema import Payload
from atoll.federation.resources.stream import StreamSpec
from security.fuzzing import Harness

_NOON_NS = 1_795_348_800_000_000_000  # 2026-11-22T12:00:00Z
_JSON = b'{"run": "r-7", "at": 1795348800.5, "t": "2026-11-22T12:00:00Z", "channels": [{"value": 1.5e3}], "done": true}'
_CBOR = bytes.fromhex("a363 72756e 6172 6261 74 c1 1a6702e3c0 61 76 83 01 f5 c2 49 010000000000000000".replace(" ", ""))


def _sparkplug() -> bytes:
    payload = Payload(timestamp=1_795_348_800_000, seq=3)
    payload.metrics.add(name="Inlet/Temperature", alias=7, datatype=10, double_value=21.5)
    payload.metrics.add(name="bdSeq", datatype=8, long_value=1)
    data: bytes = payload.SerializeToString()
    return data


_SPARKPLUG = (_sparkplug(), rebirth_command(5))


def _payload(form: PayloadFormat, data: bytes) -> None:
    value = decode(data, form)
    field(value, "channels[0].value")
    _check_plain(value)


def _check_plain(value: Any) -> None:
    """Hold it to what payloads say of themselves: JSON-like, however deep."""
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            assert all(isinstance(key, str) for key in item)
            left += item.values()
        elif isinstance(item, list):
            left += item
        else:
            assert item is None or isinstance(item, str | int | float | bool), type(item)


def _sparkplug_node(data: bytes) -> None:
    outline(data)
    named, _ = with_names(data, births(data))
    _payload("SparkplugB", named)


def _packets(data: bytes) -> None:
    """The first byte says which version of MQTT, the second where the stream is cut."""
    is_v5, cut = bool(data[:1] > b"\x7f"), 2 + (data[1] if len(data) > 1 else 0)
    reader = PacketReader(1, is_v5=is_v5, maximum_packet_bytes=1 << 20)
    for piece in (data[2:cut], data[cut:]):
        for message in reader.feed(piece, now_ns=_NOON_NS).messages:
            assert message.topic


def _order(name: str, **spec: Any) -> StreamOrder:
    common = {"gateway": "lab", "home": "onprem", "topics": ["#"], "dataset": "d.{topic[0]}-{field[run]}", **spec}
    return StreamOrder(namespace="ns", name=name, spec=StreamSpec.model_validate(common))


_ORDERS = (
    _order("json", payload={"format": "JSON"}, time={"source": "Payload", "field": "at", "unit": "Seconds"}),
    _order("cbor", payload={"format": "CBOR"}, time={"source": "Payload", "field": "at", "unit": "Seconds"}),
    _order("text", payload={"format": "JSON"}, time={"source": "Payload", "field": "t", "unit": "RFC3339"}),
    _order(
        "node", payload={"format": "SparkplugB"}, topics=["spBv1.0/g/+/ed/#"], dataset="n", time={"source": "Payload"}
    ),
)


def _received(data: bytes) -> None:
    """What a broker hands over becomes drafts of envelopes, whatever it is; the first byte says how long the topic."""
    size = data[0] if data else 0
    topic = data[1 : 1 + size].decode(errors="replace") or "x"
    message = Message(1, 1, topic, data[1 + size :], False, False, _NOON_NS, (("at", topic),))
    packed = Packer(_ORDERS, recent=RecentPackets()).pack([message])
    for draft in packed.drafts:
        name = file_name(topic, "jsonl", (), window="date=2026-11-22/")
        assert name.count("/") == 1 and ".." not in name.split("/") and name.isprintable() and len(name) < 255
        assert draft.dataset.isascii() and "/" not in draft.dataset and not draft.dataset.startswith(".")


def _columns(form: PayloadFormat, data: bytes) -> None:
    """Readings of any content become a table whose bytes can be written."""
    rows = tuple(Reading(_NOON_NS, "lab/x", part) for part in data.split(b"\n")[:50])
    readings = Readings.of(Envelope("0" * 32, "lab", "ns", "s", "d", 1, 1, rows))
    table = parquet.build(readings, Form(format="parquet", payload=form), {})
    parquet.write([table], {})


def _file_name(data: bytes) -> None:
    path = safe_path(data)
    assert path.isprintable() and not path.startswith("/") and path.split("/")[0].lower() != ".atoll"
    assert not {"", ".", ".."} & set(path.split("/")) and max(len(part.encode()) for part in path.split("/")) <= 255
    assert safe_path(path.encode()) == path
    original_of(data, path)


HARNESSES = (
    Harness("payload-json", partial(_payload, "JSON"), (MalformedPayload,), (_JSON, b"[1, null]"), (
        (b"", b'{"a":', b"1"), (b"[", b"1,", b"1]"), (b"{", b'"a":1,', b'"b":1}'), (b"1", b"0", b""),
        (b"1e", b"9", b""),
    )),
    Harness("payload-cbor", partial(_payload, "CBOR"), (MalformedPayload,), (_CBOR, b"\x83\x01\x02\x63abc"), (
        (b"", b"\x81", b"\0"), (b"\xbf", b"\x61a\x01", b"\xff"), (b"\x5f", b"\x41a", b"\xff"), (b"", b"\xc6", b"\0"),
        (b"\xc2\x5a\0\x02\0\0", b"\xff", b""),
    )),
    Harness("payload-sparkplug", _sparkplug_node, (MalformedPayload,), _SPARKPLUG, (
        (b"", _SPARKPLUG[0], b""), (b"", b"\x12\x00", b""), (b"", b"\x0b", b""),
    )),
    Harness("mqtt-packets", _packets, (ProtocolError,), (
        b"\xff\x05" + publish("lab/x", _JSON, is_v5=True, retain=False),
        b"\0\x03" + publish("lab/x", b"1", is_v5=False, retain=True) * 2,
        b"\xff\xff" + b"\x32\x14\x00\x01a\x00\x01\x0b\x26\x00\x01n\x00\x01v\x23\x00\x01\x0bxy",
    ), ((b"\0\0", b"\x30\x03\0\x01a", b""), (b"\xff\0", b"\x30\x04\0\x01a\0", b""))),
    Harness("mqtt-suback", lambda data: suback_codes(data, is_v5=data[:1] > b"\x7f"), (ProtocolError,), (
        b"\x90\x01\x00\x01", b"\0\x01\x01\x02",
    )),
    Harness("mqtt-received", _received, (), (
        b"\x05lab/x" + _JSON, b"\x05lab/x" + _CBOR, b"\x13spBv1.0/g/NBIRTH/ed" + _SPARKPLUG[0],
    ), ((b"\xff", b"a/", b""), (b"\x01a", b'{"a":', b"1"), (b"\x01a[", b"1,", b"1]"))),
    Harness("columns-json", partial(_columns, "JSON"), (), (
        _JSON + b"\n" + b'{"run": 7, "x": {"y": []}}\n[1,2]\n5', b"[" * 400 + b"]" * 400,
        b'{"a":' * 900 + b"1" + b"}" * 900,
    ), (
        (b"[", b"1,", b"1]"), (b'{"a":', b"[", b""), (b"", b'{"a":', b""),
    )),
    Harness("columns-cbor", partial(_columns, "CBOR"), (), (_CBOR, b"\xa1\x61a\xfb\x7f\xf0\0\0\0\0\0\0")),
    Harness("file-name", _file_name, (), (b"a/b.tif", b"../../etc/passwd", b".atoll/x", b"\xff\x1b[2J/.."), (
        (b"", b"../", b""), (b"", b"\xff", b""), (b"", b"\xe2\x80\xae", b""),
    )),
)  # fmt: skip
