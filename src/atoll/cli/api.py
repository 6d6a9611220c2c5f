"""The door to HTTP: a Kubernetes-style API server seen as get, list, apply, patch, delete, watch and bytes.

Speaks to the hub and, in the sandbox, to the simulated clusters. No httpx type or exception leaves this file: failures
are NotFound, Conflict, InvalidInput (with the API's causes as problems), Unavailable or Internal.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Self

import httpx
import orjson

from atoll.federation.errors import AtollError, Conflict, Internal, InvalidInput, NotFound, Unavailable

Json = dict[str, Any]
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
FIELD_MANAGER = "atoll-cli"


class Api:
    """A client of one API server."""

    def __init__(self, server: str, *, timeout_seconds: float = 30.0) -> None:
        self.server = server.rstrip("/")
        self._client = httpx.Client(base_url=self.server, timeout=timeout_seconds, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str, query: Mapping[str, str] | None = None, *, as_table: bool = False) -> Json:
        """Read an object or a list; `as_table` asks the server to make the columns.

        Raises:
            NotFound: it is not there.
        """
        return self._json("GET", path, query=query or {}, headers={"Accept": TABLE} if as_table else {})

    def find(self, path: str) -> Json | None:
        """Read an object, or give None if it is not there."""
        try:
            return self.get(path)
        except NotFound:
            return None

    def create(self, collection: str, manifest: Json, *, dry_run: bool = False) -> Json:
        """Create an object.

        Raises:
            Conflict: it is there already.
            InvalidInput: the server refused it; `problems` names each field.
        """
        return self._json("POST", collection, query={**_dry(dry_run), "fieldManager": FIELD_MANAGER}, body=manifest)

    def apply(
        self,
        path: str,
        manifest: Json,
        *,
        dry_run: bool = False,
        force: bool = False,
        manager: str = FIELD_MANAGER,
    ) -> Json:
        """Server-side apply: create it or bring it to what the manifest says.

        Raises:
            Conflict: another manager owns a field with another value, and force is off.
            InvalidInput: the server refused it; `problems` names each field.
        """
        query = {**_dry(dry_run), "fieldManager": manager, "force": "true" if force else "false"}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        return self._json("PATCH", path, query=query, headers=headers, body=manifest)

    def merge(self, path: str, change: Json, *, dry_run: bool = False, manager: str = FIELD_MANAGER) -> Json:
        """Change some fields by a merge patch (RFC 7386)."""
        query = {**_dry(dry_run), "fieldManager": manager}
        headers = {"Content-Type": "application/merge-patch+json"}
        return self._json("PATCH", path, query=query, headers=headers, body=change)

    def delete(self, path: str, *, dry_run: bool = False) -> Json:
        """Delete an object.

        Raises:
            NotFound: it is not there.
        """
        return self._json("DELETE", path, query=_dry(dry_run))

    def watch(self, collection: str, query: Mapping[str, str], *, as_table: bool = False) -> Iterator[Json]:
        """Follow changes as watch events until the server ends the stream."""
        headers = {"Accept": TABLE} if as_table else {}
        with self._stream(collection, {"watch": "1", **query}, headers) as response:
            for line in response.iter_lines():
                if line.strip():
                    yield orjson.loads(line)

    def chunks(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """Read an answer as it comes: logs, files."""
        with self._stream(path, query or {}, {}) as response:
            yield from response.iter_bytes()

    def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        body: Json | None = None,
    ) -> Json:
        given = {"Content-Type": "application/json", **(headers or {})}
        content = None if body is None else orjson.dumps(body)
        with _reaching(self.server):
            response = self._client.request(method, path, params=dict(query), headers=given, content=content)
        if response.is_error:
            raise _failure(self.server, response.status_code, response.content, path)
        return _object(self.server, response.content)

    @contextlib.contextmanager
    def _stream(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        # No read limit: a watch or a followed log is quiet for as long as nothing happens.
        timeout = httpx.Timeout(10.0, read=None)
        request = self._client.build_request("GET", path, params=dict(query), headers=dict(headers), timeout=timeout)
        with _reaching(self.server), contextlib.closing(self._client.send(request, stream=True)) as response:
            if response.is_error:
                raise _failure(self.server, response.status_code, response.read(), path)
            yield response


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


@contextlib.contextmanager
def _reaching(server: str) -> Iterator[None]:
    try:
        yield
    except httpx.RemoteProtocolError as error:
        raise Unavailable(f"{server} answers, but not as an Atoll hub does, or it ended just now: {error}") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        what = str(error) or type(error).__name__
        raise Unavailable(f"cannot reach {server}: {what}; is it running? ('atoll sandbox status')") from error


def _object(server: str, content: bytes) -> Json:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise _no_hub(server) from error
    if not isinstance(value, dict):
        raise _no_hub(server)
    return value


def _no_hub(server: str) -> AtollError:
    return Internal(f"{server} answers, but is no Atoll hub: 'atoll sandbox status' shows the address of the one here")


def _failure(server: str, code: int, content: bytes, path: str) -> AtollError:
    """Turn a Kubernetes Status into the error of who must act."""
    try:
        status = orjson.loads(content)
    except orjson.JSONDecodeError:
        if code in (404, 405, 501):  # what a server says that does not know our paths at all
            return _no_hub(server)
        status = {}
    message = status.get("message") if isinstance(status, dict) else None
    text = str(message or f"{path}: the server answered {code}")
    if code == 404:
        return NotFound(text)
    if code == 409:
        return Conflict(text)
    if code in (400, 415, 422):
        causes = _causes(status)
        return InvalidInput(f"{_named(status)} is invalid:" if causes else text, causes)
    if code in (429, 502, 503, 504):
        return Unavailable(text)
    return Internal(text)


def _named(status: Any) -> str:
    details = status["details"]
    return f"{details.get('kind', 'the object')}/{details.get('name', '')}".rstrip("/")


def _causes(status: Any) -> list[str]:
    details = status.get("details") if isinstance(status, dict) else None
    causes = details.get("causes") if isinstance(details, dict) else None
    return [f"{cause.get('field', '')}: {cause.get('message', '')}" for cause in causes or []]
