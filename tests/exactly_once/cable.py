"""A TCP link over loopback that can be cut, or stalled so that nobody notices, and mended."""

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator, Sequence

_BYTES = 65_536
_TICK_SECONDS = 0.05


class Cable:
    """Carries connections to one port, in a thread of its own."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.carried = 0
        """Bytes that came from the port since the cable was laid."""
        self._state = "whole"
        self._far: set[socket.socket] = set()
        self._ended = False
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._thread = threading.Thread(target=self._run, name=f"cable to {target}", daemon=True)

    @classmethod
    @contextlib.contextmanager
    def laid(cls, target: int) -> Iterator["Cable"]:
        """Lay a cable to a port for the context's time."""
        cable = cls(target)
        cable._thread.start()
        try:
            yield cable
        finally:
            cable._ended = True
            cable._thread.join(10)

    def cut(self) -> None:
        """Break all connections, and every new one, until mended."""
        self._state = "cut"

    def stall(self) -> None:
        """Carry nothing, and break nothing, until mended: what is sent waits."""
        self._state = "stalled"

    def mend(self) -> None:
        self._state = "whole"

    def _run(self) -> None:
        self._listener.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._ended:
                if self._state == "cut":
                    self._break_all(selector)
                ready = selector.select(_TICK_SECONDS)
                if self._state == "stalled":
                    threading.Event().wait(_TICK_SECONDS)
                    continue
                for key, _ in ready:
                    self._serve(key.fileobj, selector)  # type: ignore[arg-type]
            self._break_all(selector)
        self._listener.close()

    def _serve(self, ready: socket.socket, selector: selectors.BaseSelector) -> None:
        if ready is self._listener:
            self._accept(selector)
        elif ready in self._pairs:
            self._carry(ready, selector)

    def _accept(self, selector: selectors.BaseSelector) -> None:
        near, _ = self._listener.accept()
        try:
            if self._state == "cut":
                raise ConnectionRefusedError
            far = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        except OSError:
            near.close()
            return
        self._far.add(far)
        for one, other in ((near, far), (far, near)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.settimeout(5)
            self._pairs[one] = other
            selector.register(one, selectors.EVENT_READ)

    def _carry(self, source: socket.socket, selector: selectors.BaseSelector) -> None:
        try:
            data = source.recv(_BYTES)
            if not data:
                raise ConnectionResetError
            self._pairs[source].sendall(data)
            self.carried += len(data) if source in self._far else 0
        except OSError:
            self._break(source, selector)

    def _break(self, one: socket.socket, selector: selectors.BaseSelector) -> None:
        other = self._pairs.pop(one)
        self._pairs.pop(other, None)
        for end in (one, other):
            self._far.discard(end)
            selector.unregister(end)
            end.close()

    def _break_all(self, selector: selectors.BaseSelector) -> None:
        while self._pairs:
            self._break(next(iter(self._pairs)), selector)


class Link:
    """The cables of one client to all ports of a service: cut, stalled and mended together."""

    def __init__(self, cables: Sequence[Cable]) -> None:
        self._cables = cables

    @classmethod
    @contextlib.contextmanager
    def laid(cls, *targets: int) -> Iterator["Link"]:
        """Lay a cable to each port for the context's time."""
        with contextlib.ExitStack() as stack:
            yield cls([stack.enter_context(Cable.laid(target)) for target in targets])

    @property
    def ports(self) -> list[int]:
        """Where to connect to instead."""
        return [cable.port for cable in self._cables]

    @property
    def carried(self) -> int:
        """Bytes that came from the service."""
        return sum(cable.carried for cable in self._cables)

    def cut(self) -> None:
        for cable in self._cables:
            cable.cut()

    def stall(self) -> None:
        for cable in self._cables:
            cable.stall()

    def mend(self) -> None:
        for cable in self._cables:
            cable.mend()
