"""A Git server over HTTPS on loopback: repositories as plain files, redirects as it is told, and what it was asked."""

import contextlib
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from atoll.local.certificates import Pair, issue_ca, issue_server, new_key

NAME = "git.example.test"  # RFC 6761: nobody's DNS knows a name below "test"


@dataclass(frozen=True)
class Trust:
    """A CA, and a certificate with its key for every name of a server on loopback."""

    ca: Path
    certificate: Path


@dataclass
class GitServer:
    """What a server has been asked for, and which paths it redirects to where."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)

    def url(self, host: str, path: str) -> str:
        """Give a URL under which the server is reached by a name of its."""
        return f"https://{host}:{self.port}/{path}"


def make_trust(folder: Path) -> Trust:
    """Make a CA and a certificate."""
    ca_key, key, now = new_key(), new_key(), datetime.now(UTC)
    ca = Pair(issue_ca(ca_key, now=now), ca_key)
    certificate = issue_server(ca, key, names=["127.0.0.1", "localhost", NAME], now=now)
    (folder / "ca.crt").write_bytes(ca.certificate)
    (folder / "server.pem").write_bytes(certificate + key)
    return Trust(folder / "ca.crt", folder / "server.pem")


@contextlib.contextmanager
def serving(root: Path, trust: Trust) -> Iterator[GitServer]:
    """Serve the repositories of a folder."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trust.certificate)
    told = GitServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, told, directory=str(root)))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    told.port = server.server_address[1]
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, told: GitServer, *arguments: Any, **options: Any) -> None:
        self._told = told
        super().__init__(*arguments, **options)

    def do_GET(self) -> None:
        self._told.asked.append(self.path)
        for path, target in self._told.redirects.items():
            if self.path.startswith(path):
                self.send_response(301)
                self.send_header("Location", target + self.path.removeprefix(path))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        super().do_GET()

    def log_message(self, *_: Any) -> None:
        """Say nothing: what was asked is kept."""
