"""The Cilium agent of a node: the only door to its APIs over unix sockets, and to httpx.

Gives the agent's own JSON; reading it is mesh/'s. No httpx type or exception leaves: failures are Unavailable, Refused
and Internal.

Facts of the APIs (Cilium api/v1/openapi.yaml and api/v1/health/openapi.yaml): absent means false, zero or empty; 404
means that nothing was found; a disabled API answers 403, one asked too often 429.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from atoll.edge.member.errors import Refused
from atoll.federation.errors import Internal, Unavailable

TIMEOUT_SECONDS = 10.0
# Cilium's API shares the node's agent with the datapath: below this it would be felt (rate limits of its own API).
SHORTEST_POLL_SECONDS = 5.0
_FIRST_RETRY_SECONDS = 0.25
_STATUS, _HEALTH = "/v1/healthz", "/v1beta/status"
_POLICY, _ENDPOINTS, _SELECTORS = "/v1/policy", "/v1/endpoint", "/v1/policy/selectors"
_SWITCHES = {
    _STATUS: "allow GetHealthz in --enable-cilium-api-server-access",
    _HEALTH: "allow GetStatus in --enable-cilium-health-api-server-access",
    _POLICY: "allow GetPolicy in --enable-cilium-api-server-access",
    _ENDPOINTS: "allow GetEndpoint in --enable-cilium-api-server-access",
    _SELECTORS: "allow GetPolicySelectors in --enable-cilium-api-server-access",
}


class CiliumAgent:
    """The Cilium agent of one node. Close it when done."""

    def __init__(self, socket: Path, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """Speak to an agent by its `cilium.sock`; the health API is the `health.sock` beside it, if there is one."""
        self._timeout_seconds = timeout_seconds
        self._sockets = dict.fromkeys(_SWITCHES, socket) | {_HEALTH: socket.with_name("health.sock")}
        self._clients = {each: _client(each, timeout_seconds) for each in self._sockets.values()}

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            await client.aclose()

    async def status(self) -> Any:
        """Give the StatusResponse: the agent itself, and its view of each remote cluster.

        Raises:
            Unavailable: no answer in time. Refused: the API is disabled. Internal: what came is no JSON.
        """
        return await self._get(_STATUS)

    async def health(self) -> Any:
        """Give the HealthStatusResponse: the node's probes of all nodes; None where the node serves none.

        Raises:
            Unavailable, Refused, Internal: as `status`.
        """
        return await self._get(_HEALTH) if self._sockets[_HEALTH].exists() else None

    async def policy(self) -> Any:
        """Give the rules that the agent holds, with their revision; None where it serves them no more.

        Raises:
            Unavailable, Refused, Internal: as `status`.
        """
        return await self._get(_POLICY)

    async def endpoints(self) -> Any:
        """Give the node's endpoints; None if it has none.

        Raises:
            Unavailable, Refused, Internal: as `status`.
        """
        return await self._get(_ENDPOINTS)

    async def selectors(self) -> Any:
        """Give the selectors of all peers, each with the identities that it means now; None if there is none.

        Raises:
            Unavailable, Refused, Internal: as `status`.
        """
        return await self._get(_SELECTORS)

    async def _get(self, path: str) -> Any:
        """Ask until there is an answer that is not 429, for as long as may be waited."""
        delay = _FIRST_RETRY_SECONDS
        async with self._reaching(path):
            while (response := await self._clients[self._sockets[path]].get(path)).status_code == 429:
                await asyncio.sleep(_asked_patience(response, delay))
                delay *= 2
            if response.status_code == 404:
                return None
            if response.status_code == 403:
                raise Refused(f"the Cilium agent's API is disabled (403): {_SWITCHES[path]}")
            if response.status_code != 200:
                raise Unavailable(f"the Cilium agent answered with HTTP status {response.status_code}")
            try:
                return response.json()
            except ValueError as error:
                raise Internal("the Cilium agent answered with something that is no JSON") from error

    @contextlib.asynccontextmanager
    async def _reaching(self, path: str) -> AsyncIterator[None]:
        """Bound the whole exchange: a socket that answers drop by drop is as bad as one that hangs."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                yield
        except (TimeoutError, httpx.TimeoutException) as error:
            raise Unavailable(f"the Cilium agent did not answer within {self._timeout_seconds:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            where = self._sockets[path]
            raise Unavailable(
                f"the Cilium agent cannot be reached at {where}: {error or type(error).__name__}"
            ) from error


def _client(socket: Path, timeout_seconds: float) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=timeout_seconds, trust_env=False)


def _asked_patience(response: httpx.Response, delay: float) -> float:
    try:
        return max(delay, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):  # absent, or a date, which Cilium does not send
        return delay
