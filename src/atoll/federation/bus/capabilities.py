"""Capabilities: the unguessable part of a member's subjects, and which part of a subject is whose. Pure.

NATS checks what a client publishes, never the reply subject that it names, and stores an acknowledgement or sends an
answer wherever that points (docs/adr/0019). So a subject whose forged use would hurt holds 128 bits that only its owner
and the hub know. One owner is a *scope*: the agent of a cluster, a gateway, the data service of a namespace in a
cluster; a scope cannot be reached by what another one knows.
"""

import hashlib
import hmac
from dataclasses import dataclass

from atoll.federation.bus.subjects import OPEN_TOKEN, MemberKind

_TOKEN_DIGITS = 32  # 128 bits
# Keys of a cluster that are not its agent's but the data service's of the namespace that follows the topic.
_DATA_TOPICS = frozenset({"stream", "commit", "transfer", "dataset", "held", "volume"})
_COMMITTED = "committed"


@dataclass(frozen=True)
class Capabilities:
    """Derives every token from one key. Without a key there are no accounts either, and the token is a fixed word."""

    key: bytes | None = None

    def agent(self, cluster: str) -> str:
        """Give the token of a cluster's agent."""
        return self._derive(f"cluster/{cluster}")

    def gateway(self, gateway: str) -> str:
        """Give the token of a gateway."""
        return self._derive(f"gateway/{gateway}")

    def data(self, cluster: str, namespace: str) -> str:
        """Give the token of a namespace's data service in a cluster."""
        return self._derive(f"data/{cluster}/{namespace}")

    def reading(self, cluster: str, namespace: str) -> str:
        """Give the token by which that data service is asked for bytes; movers elsewhere learn it with an order."""
        return self._derive(f"read/{cluster}/{namespace}")

    def uplink(self, gateway: str) -> str:
        """Give the token under which a gateway's envelopes are taken in."""
        return self._derive(f"uplink/{gateway}")

    def of_key(self, kind: MemberKind, member: str, rest: str) -> str:
        """Give the token under which a key of a member's tables is written, such as `run/seismology/picks-1`."""
        topic, _, names = rest.partition("/")
        namespace = names.partition("/")[0]
        if kind == "gateway":
            return self.gateway(member)
        return self.data(member, namespace) if topic in _DATA_TOPICS else self.agent(member)

    def of_report(self, kind: MemberKind, member: str, rest: str) -> str:
        """Give the token under which a report is believed: what a gateway is told of commits is a data service's."""
        topic, _, names = rest.partition("/")
        if kind == "gateway" and topic == _COMMITTED:
            namespace, _, cluster = names.partition("/")
            return self.data(cluster, namespace)
        return self.of_key(kind, member, rest)

    def _derive(self, scope: str) -> str:
        if self.key is None:
            return OPEN_TOKEN
        return hmac.new(self.key, scope.encode(), hashlib.sha256).hexdigest()[:_TOKEN_DIGITS]


OPEN_TO_ALL = Capabilities()
