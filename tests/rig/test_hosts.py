"""TCP between two network namespaces meets the faults of the link between them, and gets over those that end."""

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Iterator

import pytest

from rig.hosts import Centre, Host, why_not
from rig.packets import Impairment

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
_CENTRE = "127.254.0.1"
_SECONDS, _SHORT_SECONDS = 30.0, 0.3
_SILENT = Impairment(is_deaf=True, is_mute=True)


@pytest.fixture(scope="module")
def centre() -> Iterator[Centre]:
    with Centre.opened() as opened:
        yield opened


@pytest.fixture(scope="module")
def port(centre: Centre) -> Iterator[int]:
    """Where somebody in the centre sends everything back."""
    listener = centre.namespace.do(lambda: socket.create_server((centre.address, 0)))
    threading.Thread(target=_serve, args=(listener,), daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def host(centre: Centre, port: int) -> Host:
    return centre.host((port,), seed=1)


@pytest.fixture
def connection(host: Host, port: int) -> Iterator[socket.socket]:
    with connect(host, port) as connected:
        assert echoed(connected, b"hello") == b"hello"
        yield connected


def _serve(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=_echo, args=(listener.accept()[0],), daemon=True).start()


def _echo(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while data := connection.recv(65536):
            connection.sendall(data)


def connect(host: Host, port: int, *, seconds: float = _SECONDS) -> socket.socket:
    return host.namespace.do(lambda: socket.create_connection((_CENTRE, port), timeout=seconds))


def echoed(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    return received(connection, len(data))


def received(connection: socket.socket, length: int) -> bytes:
    got = b""
    while len(got) < length and (data := connection.recv(65536)):
        got += data
    return got


def test_a_host_and_the_centre_have_addresses_of_a_loopback_that_are_not_the_same_ones(
    host: Host, connection: socket.socket
) -> None:
    assert (connection.getsockname()[0], connection.getpeername()[0]) == (host.address, _CENTRE)
    assert len({host.address, _CENTRE}) == 2
    assert all(ipaddress.ip_address(each).is_loopback for each in (host.address, _CENTRE))


def test_a_hosts_own_loopback_is_its_own(centre: Centre, host: Host) -> None:
    listener = host.namespace.do(lambda: socket.create_server(("127.0.0.1", 0)))
    with listener, host.namespace.do(lambda: socket.create_connection(listener.getsockname(), timeout=_SECONDS)):
        with pytest.raises(ConnectionRefusedError):
            centre.namespace.do(lambda: socket.create_connection(listener.getsockname(), timeout=_SECONDS))


def test_what_was_sent_into_a_silent_link_arrives_once_it_is_mended(host: Host, connection: socket.socket) -> None:
    host.impair(_SILENT)
    connection.sendall(b"late")
    connection.settimeout(_SHORT_SECONDS)
    with pytest.raises(TimeoutError):
        connection.recv(100)
    host.mend()
    connection.settimeout(_SECONDS)
    assert connection.recv(100) == b"late"


def test_nobody_answers_who_connects_over_a_silent_link(host: Host, port: int) -> None:
    host.impair(_SILENT)
    with pytest.raises(TimeoutError):
        connect(host, port, seconds=_SHORT_SECONDS)


def test_everything_arrives_in_order_over_a_link_that_loses_repeats_and_disorders(
    host: Host, connection: socket.socket
) -> None:
    host.impair(Impairment(lost=0.05, twice=0.1, delay_seconds=0.001, jitter_seconds=0.005))
    sent = bytes(number % 251 for number in range(60_000))
    assert echoed(connection, sent) == sent


def test_a_black_hole_lets_small_things_through_and_nothing_after_a_large_one(
    host: Host, connection: socket.socket
) -> None:
    host.impair(Impairment(largest_bytes=600))
    assert echoed(connection, b"small") == b"small"
    connection.sendall(b"x" * 2000)
    connection.settimeout(_SHORT_SECONDS)
    with pytest.raises(TimeoutError):
        connection.recv(100)
    host.mend()
    connection.settimeout(_SECONDS)
    assert received(connection, 2000) == b"x" * 2000


def test_a_firewall_that_forgot_is_silent_to_what_is_open_and_takes_what_is_new(
    host: Host, port: int, connection: socket.socket
) -> None:
    host.forget(resets=False)
    connection.sendall(b"is anybody there")
    connection.settimeout(_SHORT_SECONDS)
    with pytest.raises(TimeoutError):
        connection.recv(100)
    with connect(host, port) as other:
        assert echoed(other, b"hello") == b"hello"


def test_a_firewall_that_resets_breaks_what_is_open_as_soon_as_it_is_used(
    host: Host, port: int, connection: socket.socket
) -> None:
    host.forget(resets=True)
    with pytest.raises(ConnectionResetError):
        echoed(connection, b"is anybody there")
    with connect(host, port) as other:
        assert echoed(other, b"hello") == b"hello"


def test_one_hosts_trouble_is_not_anothers(centre: Centre, host: Host, port: int) -> None:
    host.impair(_SILENT)
    with connect(centre.host((port,)), port) as other:
        assert echoed(other, b"hello") == b"hello"


def test_the_namespace_of_who_makes_hosts_stays_as_it_is(centre: Centre) -> None:
    with socket.create_server(("127.0.0.1", 0)) as own, socket.create_connection(own.getsockname()) as connected:
        assert connected.getsockname()[0] == "127.0.0.1"
    assert "wire" not in [name for _, name in socket.if_nameindex()]
    assert "wire" in [name for _, name in centre.namespace.do(socket.if_nameindex)]
