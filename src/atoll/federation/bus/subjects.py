"""Names on the wire: which subject and which JetStream stream carries what. Pure.

A *member* is a cluster or a gateway. `desired.<kind>.<member>.<token>.…` is what should be, written by the hub;
`observed.<kind>.<member>.<token>.…` is what is, written by the member; what a token is stands in `capabilities`. A key
such as `run/seismology/picks.1` becomes the subject tokens `run.seismology.picks_1`: a Kubernetes name may hold a dot
and never an underscore, NATS the reverse.
"""

import re
from typing import Literal

MemberKind = Literal["cluster", "gateway"]

STATE_STREAM, STATE_PREFIX = "STATE", "state"
DESIRED_STREAM, DESIRED_PREFIX = "DESIRED", "desired"
OBSERVED_STREAM, OBSERVED_PREFIX = "OBSERVED", "observed"
# Where calls are answered: the one kind of subject that those who answer may write to, and that they do write to.
CALL_PREFIX = "_CALL"
# The one key that an agent writes among its orders, to see that it reads all that stood there before (Table.barrier).
BARRIER = "barrier"
# Stands for every token where NATS has no accounts, so that nothing has to be kept from anybody.
OPEN_TOKEN = "open"  # noqa: S105 - it is public
# What `capabilities` derives; an inbox is as hard to guess.
_SECRET = re.compile(r"(?<=\.)[0-9a-f]{32}(?=\.|$)")


def shown(subject: str) -> str:
    """Write a subject for messages and logs: without the token that whoever has it may ask by."""
    return _SECRET.sub("*", subject)


def to_tokens(key: str) -> str:
    """Turn a key (`a/b.c`) into subject tokens (`a.b_c`)."""
    return key.replace(".", "_").replace("/", ".")


def to_key(tokens: str) -> str:
    """Turn subject tokens (`a.b_c`) back into the key (`a/b.c`)."""
    return tokens.replace(".", "/").replace("_", ".")


def desired_prefix(kind: MemberKind, name: str, token: str = OPEN_TOKEN) -> str:
    """Subject prefix of everything that one member, or a part of it, should do."""
    return f"{DESIRED_PREFIX}.{kind}.{to_tokens(name)}.{token}"


def observed_prefix(kind: MemberKind, name: str, token: str = OPEN_TOKEN) -> str:
    """Subject prefix of everything that one member, or a part of it, has reported."""
    return f"{OBSERVED_PREFIX}.{kind}.{to_tokens(name)}.{token}"


def lab_stream(gateway: str) -> str:
    """JetStream stream that holds one gateway's envelopes; stream names may not hold dots."""
    return f"LAB_{to_tokens(gateway)}"


def lab_prefix(gateway: str) -> str:
    """Subject prefix of one gateway's envelopes as they are stored and read. Nothing is taken in under it."""
    return f"lab.{to_tokens(gateway)}"


def lab_subject(gateway: str, namespace: str, stream: str) -> str:
    """Subject of the stored envelopes of one Stream."""
    return f"{lab_prefix(gateway)}.{namespace}.{to_tokens(stream)}"


def uplink_prefix(gateway: str, token: str = OPEN_TOKEN) -> str:
    """Subject prefix under which a gateway's envelopes are taken in: who reads them cannot know it, nor write there."""
    return f"uplink.{to_tokens(gateway)}.{token}"


def uplink_subject(stored: str, token: str = OPEN_TOKEN) -> str:
    """Subject on which an envelope is sent that shall be stored under a subject of the gateway's log."""
    _, gateway, rest = stored.split(".", 2)
    return f"uplink.{gateway}.{token}.{rest}"


def chunks_stream(gateway: str) -> str:
    """JetStream stream that holds the chunks of one gateway's large files."""
    return f"FILES_{to_tokens(gateway)}"


def files_prefix(gateway: str) -> str:
    """Subject prefix of one gateway's chunks as they are stored and read. Nothing is taken in under it."""
    return f"files.{to_tokens(gateway)}"


def files_subject(gateway: str, namespace: str, stream: str) -> str:
    """Subject prefix of the stored chunks of one Stream's files."""
    return f"{files_prefix(gateway)}.{namespace}.{to_tokens(stream)}"


def chunks_prefix(gateway: str, token: str = OPEN_TOKEN) -> str:
    """Subject prefix under which a gateway's chunks are taken in; see `uplink_prefix`."""
    return f"chunks.{to_tokens(gateway)}.{token}"


def rpc_subject(cluster: str, verb: str, token: str = OPEN_TOKEN) -> str:
    """Subject on which a cluster's agent answers one verb, such as `logs`."""
    return f"rpc.cluster.{to_tokens(cluster)}.{token}.{verb}"


def hub_subject(kind: MemberKind, member: str, verb: str, token: str = OPEN_TOKEN) -> str:
    """Subject on which the hub answers one verb to one member, such as `renew`."""
    return f"hub.{kind}.{to_tokens(member)}.{token}.{verb}"


def data_subject(cluster: str, namespace: str, token: str = OPEN_TOKEN) -> str:
    """Subject on which the mover of a cluster's namespace hands out chunks of its datasets."""
    return f"data.{to_tokens(cluster)}.{namespace}.{token}.read"


def verify_subject(cluster: str, namespace: str, token: str = OPEN_TOKEN) -> str:
    """Subject on which the same mover recomputes a dataset version's checksums."""
    return f"data.{to_tokens(cluster)}.{namespace}.{token}.verify"
