"""The hub's own examination over HTTP: `GET /diagnosis`. Owns this route, and how its parts are put together.

It measures and does not judge: `atoll doctor` says what is wrong and what to do. Operators and Admins may ask, since it
names servers and members of all namespaces. A part that cannot be examined is left out, and `problems` says why.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atoll import __version__
from atoll.federation.bus.survey import connections
from atoll.federation.resources import Cluster, Gateway
from atoll.hub.client import Client
from atoll.hub.diagnosis import members, servers
from atoll.hub.field.wires import Wires
from atoll.hub.leader import Claim
from atoll.hub.members import Observed
from atoll.hub.settings import HubSettings
from atoll.kubeapi.http.answers import value_answer
from atoll.kubeapi.http.negotiation import Form

DIAGNOSIS_PATH = "/diagnosis"


class Diagnosis:
    """Answers how this hub, its NATS and its members are."""

    def __init__(
        self, settings: HubSettings, wires: Wires, client: Client, *, observed: Observed, lease: Claim
    ) -> None:
        self._settings, self._wires, self._client = settings, wires, client
        self._observed, self._lease = observed, lease

    def routes(self) -> list[Route]:
        """Give the route."""
        return [Route(DIAGNOSIS_PATH, self.read, methods=["GET"])]

    async def read(self, _request: Request) -> Response:
        """Measure, and answer."""
        wires, now = self._wires, self._client.store.clock
        leading = servers.lease(wires.own, lease_seconds=self._settings.lease_seconds)
        # At once: where NATS is away each of them waits for it.
        (nats, no_nats), (lead, no_lead), (rows, no_rows) = await asyncio.gather(
            servers.attempted("NATS", servers.describe(wires, now=now)),
            servers.attempted("the lease", leading),
            self._members(),
        )
        answer = {
            "hub": self._hub(now, lead),
            "nats": nats,
            "members": rows,
            "problems": [problem for problem in (no_nats, no_lead, no_rows) if problem],
        }
        return value_answer(answer, Form())

    def _hub(self, now: Callable[[], datetime], lead: servers.Json | None) -> servers.Json:
        return {
            "version": __version__,
            "at": now().isoformat(),
            "isLeader": self._lease.is_held,
            "leader": lead,
            "heartbeatTimeoutSeconds": self._settings.heartbeat_timeout_seconds,
            "authenticates": not self._settings.no_auth,
        }

    async def _members(self) -> tuple[list[servers.Json], str]:
        found, problem = None, ""
        if self._wires.system is not None and self._wires.signer is not None:
            asking = connections(self._wires.system, self._wires.signer.field_account)
            answer, problem = await servers.attempted("the members' connections", asking)
            found = members.by_owner(answer or ()) if answer is not None else None
        clusters = [each.metadata.name for each in await self._client.list(Cluster)]
        gateways = [each.metadata.name for each in await self._client.list(Gateway)]
        rows = [members.row(self._observed, "cluster", name, found) for name in clusters]
        rows += [members.row(self._observed, "gateway", name, found) for name in gateways]
        return [*rows, *members.service_rows(found or {})], problem
