"""A wire carries what is sent as it is, unless it was told to go wrong; then it goes wrong in that way and no other."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from rig.wire import WHOLE, Frames, Trouble, Wire

_SECONDS = 10.0


class Echo:
    """A server that sends everything back, and remembers what it was sent."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.got = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                while data := _received(connection):
                    self.got += data
                    connection.sendall(data)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(_SECONDS)


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:
        return b""


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def wire(echo: Echo) -> Iterator[Wire]:
    with Wire.laid(echo.port, protocol="http") as laid:
        yield laid


def connect(wire: Wire) -> socket.socket:
    return socket.create_connection(("127.0.0.1", wire.port), timeout=_SECONDS)


def test_what_is_sent_arrives_and_what_is_answered_comes_back(wire: Wire) -> None:
    with connect(wire) as connection:
        connection.sendall(b"hello")
        assert connection.recv(100) == b"hello"


def test_a_cut_breaks_what_is_open_and_what_comes_until_it_is_mended(wire: Wire) -> None:
    with connect(wire) as connection:
        connection.sendall(b"hello")
        assert connection.recv(100) == b"hello"
        wire.trouble(Trouble(is_cut=True))
        assert _received(connection) == b""
    with connect(wire) as connection:
        assert _received(connection) == b""
    wire.mend()
    with connect(wire) as connection:
        connection.sendall(b"again")
        assert connection.recv(100) == b"again"


def test_a_deaf_link_still_carries_there_and_gives_what_came_when_it_is_whole(wire: Wire, echo: Echo) -> None:
    with connect(wire) as connection:
        connection.sendall(b"first")
        assert connection.recv(100) == b"first"
        wire.trouble(Trouble(is_deaf=True))
        connection.sendall(b"second")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(100)
        assert echo.got == b"firstsecond"
        wire.trouble(WHOLE)
        connection.settimeout(_SECONDS)
        assert connection.recv(100) == b"second"


def test_a_mute_link_carries_nothing_there_until_it_is_whole(wire: Wire, echo: Echo) -> None:
    with connect(wire) as connection:
        connection.sendall(b"first")
        assert connection.recv(100) == b"first"
        wire.trouble(Trouble(is_mute=True))
        connection.sendall(b"second")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(100)
        assert echo.got == b"first"
        wire.mend()
        connection.settimeout(_SECONDS)
        assert connection.recv(100) == b"second"


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_request_is_answered_in_the_servers_place_and_never_reaches_it(wire: Wire, echo: Echo, code: int) -> None:
    wire.trouble(Trouble(refused=1.0, answers=(code,)))
    with connect(wire) as connection:
        connection.sendall(b"POST /things HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        assert connection.recv(1000).startswith(f"HTTP/1.1 {code} ".encode())
    assert echo.got == b""


def test_a_conflict_is_no_answer_to_who_only_reads(wire: Wire) -> None:
    wire.trouble(Trouble(refused=1.0, answers=(409,)))
    with connect(wire) as connection:
        connection.sendall(b"GET /things HTTP/1.1\r\nhost: x\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 500 ")


def test_a_request_whose_answer_is_lost_has_reached_the_server(wire: Wire, echo: Echo) -> None:
    request = b"DELETE /things HTTP/1.1\r\nhost: x\r\n\r\n"
    wire.trouble(Trouble(refused=1.0, answers=(-1,)))
    with connect(wire) as connection:
        connection.sendall(request)
        assert _received(connection) == b""
    assert echo.got == request


PUB, HPUB = b"PUB a.b 5\r\nhello\r\n", b"HPUB a.c _INBOX.x 12 17\r\nNATS/1.0\r\n\r\nworld\r\n"


def fates(*drawn: str) -> Callable[[], str]:
    left = iter(drawn)
    return lambda: next(left)


def test_frames_go_on_whole_however_they_come_in_pieces() -> None:
    frames, sent = Frames(), b'CONNECT {"x":1}\r\n' + PUB + b"PING\r\n" + HPUB
    got = b"".join(frames.feed(sent[index : index + 3], lambda: "") for index in range(0, len(sent), 3))
    assert got == sent


def test_a_publication_comes_twice_or_after_the_next_one_and_nothing_else_does() -> None:
    assert Frames().feed(PUB + b"PING\r\n" + HPUB, fates("twice", "")) == PUB + PUB + b"PING\r\n" + HPUB
    assert Frames().feed(PUB + b"PING\r\n" + HPUB, fates("held")) == b"PING\r\n" + HPUB + PUB


def test_what_is_held_goes_on_when_nothing_follows() -> None:
    frames = Frames()
    assert frames.feed(PUB, fates("held")) == b""
    assert frames.feed(b"", fates()) == PUB
    assert frames.feed(b"", fates()) == b""
