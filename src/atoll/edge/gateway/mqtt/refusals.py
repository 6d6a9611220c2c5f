"""What a broker or the network means by refusing, in words that say what to mend. Pure."""

import ssl
from collections.abc import Mapping

from atoll.edge.gateway.mqtt.settings import BrokerAddress

_CREDENTIALS = "see --broker-username, --broker-password-file and --broker-certificate"
# MQTT 5, 3.2.2.2 and 3.14.2.1; the codes of a SUBACK (3.9.3) have the same meanings.
_REASONS: Mapping[int, str] = {
    0x80: "it gives no reason",
    0x81: "malformed packet",
    0x82: "protocol error",
    0x84: "unsupported protocol version",
    0x85: "client identifier not valid",
    0x86: f"bad user name or password; {_CREDENTIALS}",
    0x87: f"not authorised; {_CREDENTIALS}, and the broker's access rules",
    0x88: "it is not available now",
    0x89: "it is busy",
    0x8A: "this client is banned",
    0x8B: "it is shutting down",
    0x8C: "bad authentication method",
    0x8D: "nothing was heard within the keep alive time",
    0x8E: "another client took over the session: two gateways with one client id?",
    0x8F: "topic filter not valid",
    0x93: "more messages than the receive maximum",
    0x95: "packet too large",
    0x97: "a quota of it is exceeded",
    0x98: "administrative action",
    0x9C: "use another server",
    0x9D: "the server has moved",
    0x9E: "it has no shared subscriptions; leave Gateway.spec.mqtt.sharedGroup out",
    0x9F: "more connections a second than it allows",
    0xA0: "maximum connect time",
    0xA2: "it has no wildcard subscriptions",
}
# MQTT 3.1.1, 3.2.2.3, as the codes of MQTT 5.
_CODES_OF_3 = {1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}
UNSUPPORTED_VERSION = 0x84


def connack_code(code: int) -> int:
    """Give MQTT 5's code for a CONNACK of either version."""
    return _CODES_OF_3.get(code, code)


def reason(code: int) -> str:
    """Say what a reason code means."""
    return _REASONS.get(code, f"reason code {code:#04x}")


def hung_up(problem: str | None, address: BrokerAddress) -> str:
    """Say why a broker may have hung up before it answered the handshake."""
    said = f"the broker hung up before it answered the handshake{f' ({problem})' if problem else ''}"
    # With TLS 1.3 a server checks the client's certificate when the client thinks that all is well (RFC 8446, 4.4.2.4).
    wants = address.uses_tls and address.certificate_file is None
    return f"{said}; if it wants a client certificate, see --broker-certificate" if wants else said


def network_problem(error: OSError, address: str) -> str:
    """Say why no connection came about."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of the broker at {address} is not trusted: {error.verify_message}; see --broker-ca"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with the broker at {address}: {error.reason or error}; see --broker-certificate and --broker-ca"
    if error.filename is not None:
        return f"cannot read {error.filename}: {error.strerror}"
    return f"no broker answers at {address}: {error}"
