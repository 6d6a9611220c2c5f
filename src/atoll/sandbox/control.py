"""The door to a running sandbox's admin socket, for the command line.

No httpx type or exception leaves this file: failures are InvalidInput, NotFound, Conflict or Unavailable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import httpx

from atoll.federation.errors import AtollError, Conflict, Internal, InvalidInput, NotFound, Unavailable
from atoll.local.home import Home
from atoll.sandbox.state import read_state

# Starting a cluster takes a second on a machine that has time; killing something waits until it is dead.
_TIMEOUT_SECONDS = 30.0
_ERRORS: Mapping[int, type[AtollError]] = {400: InvalidInput, 404: NotFound, 409: Conflict, 503: Unavailable}


class Control:
    """A running sandbox."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    @classmethod
    def of(cls, home: Home) -> Self:
        """Find the admin socket of the sandbox in a home. Raises NotFound if none is ready there."""
        return cls(read_state(home.root / "clusters").admin_socket)

    def faults(self) -> list[dict[str, Any]]:
        """Give the faults that stand, the oldest first."""
        found: list[dict[str, Any]] = self._call("GET", "/faults")
        return found

    def plant(self, fault: Mapping[str, Any]) -> dict[str, Any]:
        """Plant a fault; give it as it stands. Raises NotFound, InvalidInput, Conflict."""
        planted: dict[str, Any] = self._call("POST", "/faults", body=fault)
        return planted

    def heal(self, cluster: str = "") -> list[dict[str, Any]]:
        """End all faults, or those that concern a cluster; give them. Raises NotFound."""
        healed: list[dict[str, Any]] = self._call("DELETE", "/faults", query={"cluster": cluster} if cluster else {})
        return healed

    def start_cluster(self, name: str, *, is_meshed: bool, pod_network: str = "") -> dict[str, Any]:
        """Start one more cluster; give where it is. Raises InvalidInput, Conflict."""
        started: dict[str, Any] = self._call(
            "PUT", f"/clusters/{name}", body={"meshed": is_meshed, "podNetwork": pod_network}
        )
        return started

    def stop_cluster(self, name: str) -> None:
        """End a cluster. Raises NotFound."""
        self._call("DELETE", f"/clusters/{name}")

    def _call(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None, query: Mapping[str, str] | None = None
    ) -> Any:
        transport = httpx.HTTPTransport(uds=self._socket)
        try:
            with httpx.Client(transport=transport, base_url="http://sandbox", timeout=_TIMEOUT_SECONDS) as client:
                answer = client.request(method, path, json=body, params=query)
                said = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"the sandbox does not answer on {self._socket}: {error}") from error
        if answer.is_success:
            return said
        raise _ERRORS.get(answer.status_code, Internal)(str(said["error"]))
