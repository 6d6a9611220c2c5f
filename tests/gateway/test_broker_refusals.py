"""A broker that refuses: the cause is named, with MQTT 5 and 3.1.1, through both drivers; what it wants is given."""

import asyncio
import getpass
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from brokers import says, starting, subscribed
from datapath import Mosquitto, in_thread, publish

from atoll.edge.gateway.mqtt import Broker, BrokerAddress, BrokerSettings, Receiver, Session
from atoll.federation.errors import InvalidInput
from atoll.local import certificates

pytestmark = pytest.mark.mosquitto


@dataclass(frozen=True)
class Secured:
    """A broker with TLS that wants client certificates, one that wants passwords, and what opens them."""

    home: Path
    tls_port: int
    password_port: int

    def file(self, name: str) -> Path:
        return self.home / name


class SecuredMosquitto(Mosquitto):
    """A mosquitto with a listener for passwords and one for client certificates."""

    def __init__(self, home: Path, secrets: Path) -> None:
        super().__init__(home)
        other = Mosquitto(home / "port")
        self.tls_port = other.port
        (home / "mosquitto.conf").write_text(
            f"user {getpass.getuser()}\nper_listener_settings true\n"
            f"listener {self.port} 127.0.0.1\nallow_anonymous false\n"
            f"password_file {secrets}/passwords\n"
            f"listener {self.tls_port} 127.0.0.1\nallow_anonymous true\nrequire_certificate true\n"
            f"cafile {secrets}/ca.crt\ncertfile {secrets}/server.crt\nkeyfile {secrets}/server.key\n"
        )


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Any:
    secrets = tmp_path_factory.mktemp("secrets")
    now, ca_key = datetime.now(UTC), certificates.new_key()
    ca = certificates.Pair(certificates.issue_ca(ca_key, now=now), ca_key)
    keys = {name: certificates.new_key() for name in ("server", "client", "stranger")}
    (secrets / "ca.crt").write_bytes(ca.certificate)
    (secrets / "other.crt").write_bytes(certificates.issue_ca(certificates.new_key(), now=now))
    (secrets / "server.crt").write_bytes(
        certificates.issue_server(ca, keys["server"], names=["127.0.0.1", "localhost"], now=now)
    )
    (secrets / "client.crt").write_bytes(certificates.issue_client(ca, keys["client"], user="lab", groups=(), now=now))
    for name, key in keys.items():
        (secrets / f"{name}.key").write_bytes(key)
    (secrets / "passwords").touch()
    subprocess.run(["mosquitto_passwd", "-b", secrets / "passwords", "lab", "right horse"], check=True)
    (secrets / "passwords").chmod(0o644)
    mosquitto = SecuredMosquitto(tmp_path_factory.mktemp("broker") / "home", secrets)
    try:
        mosquitto.start()
        yield Secured(secrets, mosquitto.tls_port, mosquitto.port)
    finally:
        mosquitto.end()


@pytest.fixture(params=["5", "3.1.1"])
def session(request: pytest.FixtureRequest) -> Session:
    return Session("atoll-gateway-refused", versions=(request.param,))


@pytest.fixture(params=["paho", "fast"])
def receiver(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
async def start(session: Session, receiver: Receiver) -> AsyncIterator[Callable[..., Broker]]:
    async with starting() as start:

        def begin(address: BrokerAddress, *filters: str, **changes: Any) -> Broker:
            broker = Broker(address, replace(session, **changes), receiver=receiver)
            return start(broker, *(filters or ("open/#",)))

        yield begin


def with_password(secured: Secured, password: str | None) -> BrokerAddress:
    return BrokerAddress("127.0.0.1", secured.password_port, "lab", password)


async def test_a_wrong_password_is_named_and_not_shown(secured: Secured, start: Callable[..., Broker]) -> None:
    broker = start(with_password(secured, "wrong horse"))
    await says(broker, "--broker-password-file")
    assert "horse" not in broker.problem
    assert "horse" not in repr(broker._address)


async def test_a_broker_behind_another_ca_is_not_trusted(secured: Secured, start: Callable[..., Broker]) -> None:
    address = BrokerAddress("127.0.0.1", secured.tls_port, uses_tls=True, ca_file=secured.file("other.crt"))
    await says(start(address), "is not trusted")


async def test_a_broker_that_wants_a_client_certificate_gets_it(secured: Secured, start: Callable[..., Broker]) -> None:
    address = BrokerAddress("127.0.0.1", secured.tls_port, uses_tls=True, ca_file=secured.file("ca.crt"))
    pair = {"certificate_file": secured.file("client.crt"), "key_file": secured.file("client.key")}
    broker = start(replace(address, **pair), "t/#", status_topic="t/status")
    await subscribed(broker)
    messages: list[tuple[str, bytes]] = []
    async with asyncio.timeout(20):
        while ("t/status", b"online") not in messages:
            messages += [(message.topic, message.payload) for message in (await broker.receive()).messages]


async def test_a_missing_client_certificate_is_named(secured: Secured, start: Callable[..., Broker]) -> None:
    address = BrokerAddress("127.0.0.1", secured.tls_port, uses_tls=True, ca_file=secured.file("ca.crt"))
    broker = start(address)
    await says(broker, "--broker-certificate")
    assert not broker.is_connected


async def test_a_file_that_is_not_there_is_named(secured: Secured, start: Callable[..., Broker]) -> None:
    address = BrokerAddress("127.0.0.1", secured.tls_port, uses_tls=True, ca_file=secured.file("absent.crt"))
    await says(start(address), "absent.crt")


def test_a_gateway_that_nobody_gave_a_broker_says_the_two_places_to_name_one() -> None:
    with pytest.raises(
        InvalidInput, match=r"no broker is named: start the gateway with --broker .* or set spec\.broker"
    ):
        BrokerSettings().address(None)


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_password_file_that_has_no_password_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "password"
    if content is not None:
        file.write_text(content)
    settings = BrokerSettings("mqtt://broker", "lab", file)
    if content == "\n":
        assert settings.address(None).password == ""
        return
    with pytest.raises(InvalidInput, match="--broker-password-file"):
        settings.address(None)


def test_the_password_of_this_machine_goes_to_its_own_broker_whatever_the_gateway_object_says(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret horse\n")
    settings = BrokerSettings("mqtts://here", "lab", file)
    for url in ("mqtts://there", "mqtt://here:8883", "mqtts://here:1883", "mqtts://here@there"):
        with pytest.raises(InvalidInput, match=r"spec\.broker of the Gateway is .*this machine's password is for"):
            settings.address(url)
    assert settings.address("mqtts://here:8883").password == settings.address(None).password == "secret horse"
    nobodys = replace(settings, password_file=None).address("mqtts://there")
    assert (nobodys.host, nobodys.password) == ("there", None)


def test_secrets_of_this_machine_go_with_the_url_of_the_gateway_object_if_it_alone_names_a_broker(
    tmp_path: Path,
) -> None:
    file = tmp_path / "password"
    file.write_text("secret horse\n")
    settings = BrokerSettings(None, "lab", file, ca_file=Path("ca.crt"))
    address = settings.address("mqtts://there:1234")
    assert (address.host, address.port, address.username, address.password) == ("there", 1234, "lab", "secret horse")
    assert "horse" not in f"{settings!r} {address!r} {address}"
    with pytest.raises(InvalidInput, match="--broker-username"):
        replace(settings, url="mqtt://here", username=None).address(None)


async def test_the_last_will_says_that_the_gateway_is_gone(tmp_path: Path, receiver: Receiver) -> None:
    mosquitto = Mosquitto(tmp_path / "mosquitto")
    mosquitto.start()
    address = BrokerAddress("127.0.0.1", mosquitto.port)
    watcher = Broker(address, Session("watcher"))
    watcher.subscribe({"status": 1})
    watcher.start()
    broker = Broker(address, Session("gateway", status_topic="status"), receiver=receiver)
    broker.start()
    seen: list[bytes] = []

    async def sees(payload: bytes) -> None:
        async with asyncio.timeout(20):
            while payload not in seen:
                seen.extend(message.payload for message in (await watcher.receive()).messages)

    await sees(b"online")
    await broker.close()
    await sees(b"offline")
    await watcher.close()
    mosquitto.end()


async def test_members_of_a_group_share_what_comes(tmp_path: Path, receiver: Receiver) -> None:
    mosquitto = Mosquitto(tmp_path / "mosquitto")
    mosquitto.start()
    address = BrokerAddress("127.0.0.1", mosquitto.port)
    members = [Broker(address, Session(f"member-{n}", shared_group="g"), receiver=receiver) for n in range(2)]
    for member in members:
        member.subscribe({"t/#": 1})
        member.start()
        await subscribed(member)
    payloads = [b"%d" % number for number in range(40)]
    await in_thread(lambda: publish(mosquitto.port, "t/x", *payloads))
    taken: dict[int, list[bytes]] = {0: [], 1: []}
    async with asyncio.timeout(20):
        while len(taken[0]) + len(taken[1]) < 40:
            for number, member in enumerate(members):
                if member.waiting:
                    taken[number] += [message.payload for message in (await member.receive()).messages]
            await asyncio.sleep(0.05)
    assert sorted(taken[0] + taken[1]) == sorted(payloads)
    assert taken[0]
    assert taken[1]
    for member in members:
        await member.close()
    mosquitto.end()
