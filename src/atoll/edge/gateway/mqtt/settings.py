"""Where the broker is, who we are to it, and what session we want. Values only; a secret is in no text made of them."""

import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from atoll.edge.gateway.recent import REMEMBERED_PACKETS
from atoll.federation.capacity.quantities import parse_duration
from atoll.federation.errors import InvalidInput
from atoll.federation.resources.gateway_mqtt import MqttSpec

Receiver = Literal["paho", "fast"]
Version = Literal["5", "3.1.1"]
_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}
_NO_BROKER = "no broker is named: start the gateway with --broker mqtt://HOST:PORT, or set spec.broker of its Gateway"
# A larger packet is no reading (bus/envelope.py) and would be kept in memory whole: the broker is told to drop it.
MAXIMUM_PACKET_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class BrokerAddress:
    """Where the broker is and who we are to it."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    uses_tls: bool = False
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    @classmethod
    def parse(cls, url: str, *, ca_file: Path | None = None) -> "BrokerAddress":
        """Read mqtt://[user:password@]host[:port] or mqtts://….

        Raises:
            InvalidInput: the URL is no such thing.
        """
        parts = urlsplit(url)
        try:
            port = parts.port or _DEFAULT_PORTS[parts.scheme]
        except (ValueError, KeyError) as error:
            raise InvalidInput("broker: write mqtt://host:port or mqtts://host:port") from error
        if not parts.hostname:
            raise InvalidInput("broker: the URL names no host")
        username = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        return cls(parts.hostname, port, username, password, uses_tls=parts.scheme == "mqtts", ca_file=ca_file)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def tls_context(self) -> ssl.SSLContext | None:
        """Give what checks the broker's certificate and shows ours; None without TLS.

        Raises:
            OSError: a file cannot be read, or is no certificate or key (ssl.SSLError).
        """
        if not self.uses_tls:
            return None
        for file in (self.ca_file, self.certificate_file, self.key_file):
            if file is not None:  # ssl's own errors name no file
                file.open("rb").close()
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context


@dataclass(frozen=True)
class BrokerSettings:
    """What the gateway's own machine knows of its broker, used unless the Gateway object says otherwise.

    Attributes:
        url: mqtt[s]://host[:port].
        username: who we are to the broker.
        password_file: file whose first line is the password.
        password: the password itself, from the environment.
        ca_file: certificates to trust for mqtts; the system's if None.
        certificate_file: our client certificate, in PEM.
        key_file: its key, if it is not in the same file.
        receiver: which driver receives.
    """

    url: str | None = None
    username: str | None = None
    password_file: Path | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    receiver: Receiver = "paho"

    def address(self, url: str | None) -> BrokerAddress:
        """Give the address behind a URL, or our own, with the secrets of this machine.

        The files are read each time, so that a password that was changed counts from the next connection on. Where a
        broker is named here, the password is for that one: whoever writes Gateways at the hub has it sent nowhere else.

        Raises:
            InvalidInput: there is no URL, it is none, a file cannot be read, or the password is not for this broker.
        """
        wanted = url or self.url
        if not wanted:
            raise InvalidInput(_NO_BROKER)
        address = BrokerAddress.parse(wanted, ca_file=self.ca_file)
        username = self.username if self.username is not None else address.username
        password = self._password()
        if password is not None and not self._is_ours(address):
            raise InvalidInput(
                f"spec.broker of the Gateway is {address}, and this machine's password is for its own --broker: give "
                "both the same URL, or start the gateway without --broker, which leaves it to the hub whom to trust"
            )
        password = password if password is not None else address.password
        if password is not None and username is None:
            raise InvalidInput("--broker-username: a password without a user name is nobody's")
        return replace(
            address,
            username=username,
            password=password,
            certificate_file=self.certificate_file,
            key_file=self.key_file,
        )

    def _is_ours(self, address: BrokerAddress) -> bool:
        """Say whether an address is that of the broker named here, if one is; the same without TLS is not."""
        if not self.url:
            return True
        own = BrokerAddress.parse(self.url)
        return (own.host, own.port, own.uses_tls) == (address.host, address.port, address.uses_tls)

    def _password(self) -> str | None:
        if self.password_file is None:
            return self.password
        try:
            return self.password_file.read_text().splitlines()[0]
        except (OSError, UnicodeDecodeError, IndexError) as error:
            problem = "it is empty" if isinstance(error, IndexError) else str(error)
            raise InvalidInput(f"--broker-password-file: cannot read {self.password_file}: {problem}") from error


@dataclass(frozen=True)
class Session:
    """What we ask of the broker.

    Attributes:
        client_id: under which the broker keeps what it holds for us.
        versions: of MQTT, tried in this order.
        expiry_seconds: how long it keeps that while we are away (MQTT 5; with 3.1.1 it is the broker's to say).
        receive_maximum: how much may be unacknowledged, so also how much may come again.
        keep_alive_seconds: after so long without a word the connection is checked.
        shared_group: subscribe as a member of this group; the broker gives each message to one member.
        status_topic: where `online` and, by the broker when we are gone, `offline` are kept retained.
    """

    client_id: str
    versions: tuple[Version, ...] = ("5", "3.1.1")
    expiry_seconds: int = 7 * 86_400
    receive_maximum: int = 2000
    keep_alive_seconds: int = 15
    shared_group: str | None = None
    status_topic: str | None = None

    def __post_init__(self) -> None:
        assert self.receive_maximum <= REMEMBERED_PACKETS // 2, "a redelivery would not be known again"

    @classmethod
    def of(cls, gateway: str, spec: MqttSpec | None) -> "Session":
        """Give the session that a Gateway object wants."""
        spec = spec or MqttSpec()
        return cls(
            client_id=spec.client_id or f"atoll-gateway-{gateway}",
            versions=("5", "3.1.1") if spec.version == "Auto" else (spec.version,),
            expiry_seconds=min(int(parse_duration(spec.session_expiry)), 0xFFFF_FFFE),
            receive_maximum=spec.receive_maximum,
            keep_alive_seconds=min(max(1, round(parse_duration(spec.keep_alive))), 0xFFFF),
            shared_group=spec.shared_group,
            status_topic=spec.status_topic,
        )

    def filter_of(self, topic_filter: str) -> str:
        """Give a topic filter as it is subscribed to."""
        return f"$share/{self.shared_group}/{topic_filter}" if self.shared_group else topic_filter
