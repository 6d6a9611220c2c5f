"""Asks a hub for the names of a collection with what Python brings along, for a shell that waits for them.

It must not be used for commands: `api` does what they need (words for what fails, patience, streams), and to load its
client takes longer than a person waits for a Tab.
"""

import json
from http.client import OK, HTTPConnection, HTTPSConnection
from urllib.parse import urlsplit

from atoll.cli.refusals import LOOPBACK
from atoll.local.credentials import Credentials, tls_context

_METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"


def names(server: str, credentials: Credentials, path: str, *, seconds: float) -> list[str]:
    """Read the names of the objects of a collection; none if the hub refuses to tell.

    Args:
        server: the hub's address.
        credentials: what it is asked with.
        path: of the collection, with its query.
        seconds: the longest wait for each step of the answer.

    Raises:
        OSError: nothing answers, or TLS refuses it.
    """
    token = {"Authorization": f"Bearer {credentials.token}"} if credentials.token else {}
    connection = _connection(server, credentials, seconds)
    try:
        connection.request("GET", f"{urlsplit(server).path}{path}", headers={"Accept": _METADATA, **token})
        answer = connection.getresponse()
        items = json.loads(answer.read())["items"] if answer.status == OK else []
    finally:
        connection.close()
    return [str(item["metadata"]["name"]) for item in items]


def _connection(server: str, credentials: Credentials, seconds: float) -> HTTPConnection:
    address = urlsplit(server)
    host, port = address.hostname or "", address.port
    if address.scheme == "https":
        return HTTPSConnection(host, port, timeout=seconds, context=tls_context(credentials))
    if credentials.token and host not in LOOPBACK:
        raise ConnectionRefusedError("a token goes over TLS only")
    return HTTPConnection(host, port, timeout=seconds)
