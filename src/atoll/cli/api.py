"""The door to HTTP: a Kubernetes-style API server seen as get, list, apply, patch, delete, watch and bytes.

Speaks to the hub and, in the sandbox, to the simulated clusters. No httpx type or exception leaves this file: failures
are Unauthorized, Forbidden, NotFound, Conflict, InvalidInput (with the API's causes as problems), Unavailable or
Internal. TLS is verified always, and a token goes over nothing else unless it stays on this machine.
"""

import contextlib
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import orjson

from atoll import __version__
from atoll.cli.patience import Patience, telling_after_a_second
from atoll.cli.refusals import LOOPBACK, no_hub, refusal, unanswered, unreached
from atoll.cli.trust import tls_trouble
from atoll.federation.errors import AtollError, InvalidInput, NotFound, Unavailable
from atoll.local.credentials import Credentials, tls_context

Json = dict[str, Any]
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
FIELD_MANAGER = "atoll-cli"
# What a hub asks for that has not loaded its store yet, or has lost it (kubeapi, hub/store).
_SOON_SECONDS = 2


class Api:
    """A client of one API server."""

    def __init__(
        self,
        server: str,
        credentials: Credentials | None = None,
        *,
        timeout_seconds: float = 30.0,
        patience: Patience | None = None,
    ) -> None:
        """Open a client.

        Args:
            server: its address.
            credentials: what it is asked with.
            timeout_seconds: the longest wait for an answer.
            patience: with a server that is being restarted; None: that is an error at once.

        Raises:
            InvalidInput: the credentials cannot be used with this server.
        """
        self.server = server.rstrip("/")
        self.credentials = credentials or Credentials()
        self._patience = patience or Patience(0.0)
        self._client = httpx.Client(
            base_url=self.server,
            timeout=timeout_seconds,
            trust_env=False,
            verify=_tls(self.server, self.credentials),
            headers=_headers(self.credentials),
        )

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

    def metadata(self, path: str, query: Mapping[str, str]) -> Json:
        """Read of the objects of a list nothing but their metadata."""
        return self._json("GET", path, query=query, headers={"Accept": METADATA})

    def date(self, path: str) -> tuple[datetime, datetime, datetime]:
        """Ask anything; give when the server says it answered, to a second, between two instants of our own clock."""
        request = self._client.build_request("GET", path)
        with self._reaching():
            began = datetime.now(UTC)
            response = self._answer(request, is_repeatable=False)
        return parsedate_to_datetime(response.headers.get("Date", "")), began, datetime.now(UTC)

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
        request = self._client.build_request(method, path, params=dict(query), headers=given, content=content)
        with self._reaching():
            response = self._answer(request, is_repeatable=_is_repeatable(method, body))
        if response.is_error:
            raise self._refusal(response, response.content, path)
        return _object(self.server, response.content)

    def _answer(self, request: httpx.Request, *, is_repeatable: bool, stream: bool = False) -> httpx.Response:
        """Send a request, again while the server is being restarted. Raises httpx's errors.

        Args:
            request: what to send.
            is_repeatable: it may be sent again where it is not known what became of it.
            stream: leave the answer's content to be read as it comes.
        """
        wait = self._patience.begin()
        while True:
            try:
                with telling_after_a_second(f"waiting for an answer of {self.server}"):
                    response = self._client.send(request, stream=stream)
            except httpx.TransportError as error:
                if not ((is_repeatable and _is_cut(error)) or _is_refused(error)):
                    raise
                if not wait.goes_on(f"{self.server} does not answer just now"):
                    raise
                continue
            after = _retry_after(response) if is_repeatable else None
            if after is None or not wait.goes_on(f"{self.server} is not ready just now", at_least=after):
                return response
            response.close()

    @contextlib.contextmanager
    def _stream(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        # No read limit: a watch or a followed log is quiet for as long as nothing happens.
        timeout = httpx.Timeout(10.0, read=None)
        request = self._client.build_request("GET", path, params=dict(query), headers=dict(headers), timeout=timeout)
        with (
            self._reaching(),
            contextlib.closing(self._answer(request, is_repeatable=True, stream=True)) as response,
        ):
            if response.is_error:
                raise self._refusal(response, response.read(), path)
            yield response

    def _refusal(self, response: httpx.Response, content: bytes, path: str) -> AtollError:
        return refusal(self.server, self.credentials, response.status_code, content, path)

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        server = self.server
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if trouble := tls_trouble(server, error):
                raise trouble from error
            if isinstance(error, httpx.TimeoutException):
                raise unanswered(server) from error
            if isinstance(error, httpx.RemoteProtocolError):
                hint = "; if it speaks TLS, its address begins with https://" if server.startswith("http:") else ""
                what = f"ended in the middle of an answer, or is no Atoll hub: {error}{hint}"
                raise Unavailable(f"{server} {what}") from error
            raise unreached(server, str(error) or type(error).__name__) from error


def _is_refused(error: BaseException) -> bool:
    """Tell whether nothing listens there at all: then nothing was sent, either."""
    return _is_caused_by(error, ConnectionRefusedError)


def _is_cut(error: httpx.TransportError) -> bool:
    """Tell whether a connection ended before its time, be it while it was opened."""
    is_at_work = isinstance(error, httpx.RemoteProtocolError | httpx.ReadError | httpx.WriteError)
    return is_at_work or _is_caused_by(error, ConnectionResetError)


def _is_caused_by(error: BaseException, kind: type[OSError]) -> bool:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, kind):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _is_repeatable(method: str, body: Json | None) -> bool:
    """Tell whether to ask twice is the same as once: not where objects are made or deleted, or a revision guards."""
    guard = ((body or {}).get("metadata") or {}).get("resourceVersion")
    return method in ("GET", "PATCH") and guard is None


def _retry_after(response: httpx.Response) -> float | None:
    """Give how soon a server that is not ready wants to be asked again; None where it is ready, or says no such time.

    What asks for more patience is no restart: a cluster that is not heard, for one.
    """
    text = response.headers.get("Retry-After", "") if response.status_code == httpx.codes.SERVICE_UNAVAILABLE else ""
    return float(text) if text.isdecimal() and int(text) <= _SOON_SECONDS else None


def _headers(credentials: Credentials) -> dict[str, str]:
    program = {"User-Agent": f"atoll/{__version__}"}  # as audit records name it
    return {**program, "Authorization": f"Bearer {credentials.token}"} if credentials.token else program


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _tls(server: str, credentials: Credentials) -> ssl.SSLContext:
    address = urlsplit(server)
    if address.scheme == "https":
        return tls_context(credentials)
    if credentials.token and address.hostname not in LOOPBACK:
        raise InvalidInput(f"{server} has no TLS: a token sent there could be read on the way; use https://")
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used: httpx would load every CA of the system for it


def _object(server: str, content: bytes) -> Json:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise no_hub(server) from error
    if not isinstance(value, dict):
        raise no_hub(server)
    return value
