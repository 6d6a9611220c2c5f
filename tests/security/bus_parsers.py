"""Harnesses of what members say on the bus: envelopes, manifests of files, orders and reports, keys and credentials."""

import struct
import zlib
from datetime import UTC, datetime

import orjson

from atoll.edge.sink.ledger import Checkpoint
from atoll.federation.bus import command_messages, data_messages, inventory_messages, messages, usage_messages
from atoll.federation.bus.admission import Admission, Enrolment
from atoll.federation.bus.credentials import (
    Credentials,
    expiry,
    is_signed_by,
    is_user_key,
    new_key,
    public_key,
    sign,
    sign_user,
)
from atoll.federation.bus.envelope import Absence, Envelope, MalformedEnvelope, Reading, decode, encode
from atoll.federation.bus.file_messages import FileManifest, FilesReport, unpack
from atoll.federation.bus.messages import Message
from atoll.federation.bus.parts import Head
from atoll.federation.bus.permissions import Permissions
from atoll.federation.errors import Internal, InvalidInput
from security.fuzzing import Harness

_AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
_AT_NS = 1_795_348_800_000_000_000
_PREFIX = struct.Struct("<4sBBII")
_CRC_AT = 6


def _envelope(*readings: Reading, absence: Absence | None = None, packed: bool = False) -> bytes:
    envelope = Envelope("0" * 32, "lab", "ns", "s", "d", 1, 1, readings, end_of_run=True, absence=absence)
    return encode(envelope, is_compressed=packed)


def _with_checksum(data: bytes) -> bytes:
    """Put the right checksum in: a stolen gateway can count, too."""
    crc = zlib.crc32(data[_PREFIX.size :], zlib.crc32(data[_CRC_AT + 4 : _PREFIX.size], zlib.crc32(data[:_CRC_AT])))
    return data[:_CRC_AT] + crc.to_bytes(4, "little") + data[_CRC_AT + 4 :]


def _read_envelope(data: bytes) -> None:
    """What can be read can be judged, told of in a ledger, and written again as it was."""
    envelope = decode(_with_checksum(data) if len(data) >= _PREFIX.size else data)
    assert len(envelope.readings) == len(envelope.numbers)
    mark = Checkpoint(
        gateway="lab", stream="s", outbox=envelope.outbox, envelope=envelope.number, sequence=max(0, envelope.last),
        log_sequence=1, log_created="",
    )  # fmt: skip
    orjson.dumps([mark.wire(), *envelope.shed, *envelope.damaged, envelope.missing])
    assert decode(encode(envelope)) == envelope


_MODELS = tuple(
    sorted(
        {
            model
            for module in (messages, data_messages, inventory_messages, usage_messages, command_messages)
            for model in vars(module).values()
            if isinstance(model, type) and issubclass(model, Message) and model is not Message
        }
        | {Enrolment, Admission, FilesReport},
        key=lambda model: model.__name__,
    )
)


def _read_message(data: bytes) -> None:
    """The first byte says which kind of message it is taken for; what is read can be sent on."""
    model = _MODELS[(data[0] if data else 0) % len(_MODELS)]
    model.decode(data[1:]).encode()


def _messages() -> tuple[bytes, ...]:
    head = FileManifest(number=1, path="a", size=1, sha256="0" * 64, modified_at=_AT)
    report = messages.Heartbeat(agent_version="1", started_at=_AT, at=_AT)
    order = messages.RunOrder(namespace="ns", run="r", job="j", epoch=1, manifests=({"kind": "Job"},))
    found = (report, order, messages.PolicyOrder(name="p", commit="c", manifests=({},)), head)
    return tuple(bytes((_MODELS.index(type(one)),)) + one.encode() for one in found if type(one) in _MODELS)


def _manifest(data: bytes) -> None:
    manifest, _ = unpack(data)
    manifest.modified_at.timestamp()
    orjson.dumps(manifest.wire())


def _head(data: bytes) -> None:
    head = Head.read({"Atoll-Parts": data.decode("latin-1")})
    assert head is not None and 0 < head.parts <= 32 and len(head.subjects("a")) == head.parts


_SEED, _ACCOUNT = new_key("user"), new_key("account")
_USER = public_key(_SEED)


def _key(data: bytes) -> None:
    """A public key and a signature, as an enrolment shows them."""
    text, _, signature = data.decode("latin-1").partition("\n")
    if is_user_key(text):
        assert not is_signed_by(text, b"another text", signature)


def _credentials(data: bytes) -> None:
    found = Credentials.parse(data)
    expiry(found.jwt)
    found.sign("nonce")


_JWT = sign_user(_ACCOUNT, _USER, name="m", permissions=Permissions())
_READINGS = (Reading(_AT_NS, "lab/x", b"1"), Reading(_AT_NS, "lab/y", b"2" * 600, _AT_NS + 1))

HARNESSES = (
    Harness("envelope", _read_envelope, (MalformedEnvelope,), (
        _envelope(*_READINGS), _envelope(*_READINGS, packed=True), _envelope(absence=Absence("shed", 9, 0)),
        _envelope(Reading(_AT_NS, "t", b""), absence=Absence("damaged", 5, 3)),
    ), ((_envelope(*_READINGS), b"\xff", b""),)),
    Harness("bus-message", _read_message, (Internal,), (*_messages(), b"\0{}"), (
        (b"\0", b'{"a":', b"1"), (b"\x05{", b'"a":1,', b'"b":1}'), (b"\x07", b"[", b""),
    )),
    Harness("file-manifest", _manifest, (Internal,), (
        FileManifest(number=1, path="a/b", size=2, sha256="0" * 64, modified_at=_AT).pack(b"ab"),
        FileManifest(number=1, path="a", size=9, sha256="0" * 64, modified_at=_AT, upload="a-1", chunk_bytes=4).pack(),
    )),
    Harness("parts-head", _head, (InvalidInput,), (
        b"0123456789abcdef 2 600000 " + b"0" * 64, b"0123456789abcdef 1 0 " + b"0" * 64,
    )),
    Harness("user-key", _key, (), (f"{_USER}\n{sign(_SEED, b'text')}".encode(), _USER.encode() + b"\nAAAA")),
    Harness("nats-credentials", _credentials, (InvalidInput,), (Credentials(_JWT, _SEED).text(),), (
        (b"", b"-----BEGIN NATS USER JWT-----\n", b""),
    )),
)  # fmt: skip
