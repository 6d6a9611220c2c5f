"""What each role may publish and subscribe in the account FIELD. Pure.

Members have none of JetStream's API but CONSUMER.CREATE with a filter of their own, and a gateway a look at its own
log. Above all no DIRECT.GET: its answer is a stored message, sent wherever the asker says, so that whoever may write
one message and read it back could have the server send any request to JetStream's API (docs/adr/0019).
"""

from dataclasses import dataclass
from typing import Any

from atoll.federation.bus.subjects import (
    BARRIER,
    CALL_PREFIX,
    DESIRED_STREAM,
    OBSERVED_STREAM,
    MemberKind,
    chunks_prefix,
    chunks_stream,
    data_subject,
    desired_prefix,
    files_prefix,
    hub_subject,
    lab_prefix,
    lab_stream,
    observed_prefix,
    rpc_subject,
    to_tokens,
    uplink_prefix,
)


@dataclass(frozen=True)
class Permissions:
    """Subjects that a user may publish and subscribe; None means all of them."""

    publish: tuple[str, ...] | None = None
    subscribe: tuple[str, ...] | None = None
    not_publish: tuple[str, ...] = ()

    def claims(self) -> dict[str, Any]:
        """Give the form that stands in a user's JWT."""
        publish: dict[str, Any] = {} if self.publish is None else {"allow": list(self.publish)}
        if self.not_publish:
            publish["deny"] = list(self.not_publish)
        subscribe = {} if self.subscribe is None else {"allow": list(self.subscribe)}
        return {"pub": publish, "sub": subscribe}


EVERYTHING = Permissions()


@dataclass(frozen=True)
class Identity:
    """Whose connection it is: `kind` is cluster, gateway or data; `name` as subject tokens, such as `onprem_gpu`."""

    kind: str
    name: str

    @classmethod
    def of_member(cls, kind: MemberKind, name: str) -> "Identity":
        """Give the identity of an agent or a gateway."""
        return cls(kind, to_tokens(name))

    @classmethod
    def of_data(cls, cluster: str, namespace: str) -> "Identity":
        """Give the identity of a namespace's data service in a cluster."""
        return cls("data", f"{to_tokens(cluster)}.{namespace}")

    @property
    def inbox_prefix(self) -> str:
        """Where JetStream's answers to it arrive."""
        return f"_INBOX.{self.kind}.{self.name}"

    @property
    def call_prefix(self) -> str:
        """Where the answers to its calls arrive."""
        return f"{CALL_PREFIX}.{self.kind}.{self.name}"

    @property
    def label(self) -> str:
        """Name it for people."""
        return f"{self.kind} {self.name}"


HUB = Identity("hub", "hub")
ANYBODY = Identity("open", "open")


def agent(cluster: str, token: str) -> Permissions:
    """Give what the agent of a cluster may say and hear."""
    me = Identity.of_member("cluster", cluster)
    return _member(
        me,
        publish=(
            f"{observed_prefix('cluster', cluster, token)}.>",
            f"{desired_prefix('cluster', cluster, token)}.{BARRIER}",
            *_reading(DESIRED_STREAM, desired_prefix("cluster", cluster, token)),
            *_reading(OBSERVED_STREAM, observed_prefix("cluster", cluster, token)),
            hub_subject("cluster", cluster, "*", token),
            f"{CALL_PREFIX}.hub.>",  # answers to the hub, which alone calls an agent
        ),
        subscribe=(rpc_subject(cluster, ">", token),),
    )


def gateway(name: str, token: str, *, uplink: str) -> Permissions:
    """Give what a gateway may say and hear. `uplink` is the token of its envelopes and chunks."""
    log = lab_stream(name)
    return _member(
        Identity.of_member("gateway", name),
        publish=(
            f"{observed_prefix('gateway', name, token)}.>",
            *_reading(DESIRED_STREAM, desired_prefix("gateway", name, token)),
            f"{uplink_prefix(name, uplink)}.>",
            f"{chunks_prefix(name, uplink)}.>",
            f"$JS.API.STREAM.INFO.{chunks_stream(name)}",
            f"$JS.API.STREAM.INFO.{log}",
            f"$JS.API.STREAM.MSG.GET.{log}",
            hub_subject("gateway", name, "*", token),
        ),
    )


def data_service(cluster: str, namespace: str, token: str, *, reading: str) -> Permissions:
    """Give what the sink and the mover of a namespace in a cluster may say and hear.

    A gateway's log is read by the streams of this namespace only. Bytes are asked for in the same namespace of other
    clusters, with the token that came with the order.
    """
    desired, observed = desired_prefix("cluster", cluster, token), observed_prefix("cluster", cluster, token)
    orders = (f"{desired}.{topic}.{namespace}" for topic in ("stream", "commit", "transfer", "dataset"))
    return _member(
        Identity.of_data(cluster, namespace),
        publish=(
            f"{observed}.dataset.{namespace}.>",
            f"{observed}.transfer.{namespace}.>",
            f"{observed}.held.{namespace}.>",
            f"{observed}.volume.{namespace}",
            f"{observed_prefix('gateway', '*', token)}.committed.{namespace}.{to_tokens(cluster)}",
            f"{observed_prefix('gateway', '*', token)}.committed.{namespace}.{to_tokens(cluster)}.>",  # its parts
            *(subject for prefix in orders for subject in _reading(DESIRED_STREAM, prefix)),
            f"$JS.API.CONSUMER.CREATE.*.*.{lab_prefix('*')}.{namespace}.*",
            f"$JS.API.CONSUMER.CREATE.*.*.{files_prefix('*')}.{namespace}.>",
            data_subject("*", namespace, "*"),
            f"{CALL_PREFIX}.hub.>",
            f"{CALL_PREFIX}.data.>",
            "$JS.FC.>",
        ),
        subscribe=(f"data.{to_tokens(cluster)}.{namespace}.{reading}.>",),
    )


def _member(me: Identity, *, publish: tuple[str, ...], subscribe: tuple[str, ...] = ()) -> Permissions:
    return Permissions(
        publish=tuple(dict.fromkeys(publish)),
        subscribe=(f"{me.inbox_prefix}.>", f"{me.call_prefix}.>", *subscribe),
    )


def _reading(stream: str, prefix: str) -> tuple[str, str]:
    """Give what following a table's keys below a prefix takes: a consumer with that filter, and its flow control."""
    return f"$JS.API.CONSUMER.CREATE.{stream}.*.{prefix}.>", f"$JS.FC.{stream}.>"
