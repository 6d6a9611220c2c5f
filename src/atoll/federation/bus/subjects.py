"""Names on the wire: which subject and which JetStream stream carries what. Pure.

A *member* is a cluster or a gateway. `desired.<kind>.<member>.…` is what should be, written by the hub;
`observed.<kind>.<member>.…` is what is, written by the member. A key such as `run/seismology/picks.1` becomes the
subject tokens `run.seismology.picks_1`: a Kubernetes name may hold a dot and never an underscore, NATS the reverse.
"""

from typing import Literal

MemberKind = Literal["cluster", "gateway"]

STATE_STREAM, STATE_PREFIX = "STATE", "state"
DESIRED_STREAM, DESIRED_PREFIX = "DESIRED", "desired"
OBSERVED_STREAM, OBSERVED_PREFIX = "OBSERVED", "observed"


def to_tokens(key: str) -> str:
    """Turn a key (`a/b.c`) into subject tokens (`a.b_c`)."""
    return key.replace(".", "_").replace("/", ".")


def to_key(tokens: str) -> str:
    """Turn subject tokens (`a.b_c`) back into the key (`a/b.c`)."""
    return tokens.replace(".", "/").replace("_", ".")


def desired_prefix(kind: MemberKind, name: str) -> str:
    """Subject prefix of everything that one member should do."""
    return f"{DESIRED_PREFIX}.{kind}.{to_tokens(name)}"


def observed_prefix(kind: MemberKind, name: str) -> str:
    """Subject prefix of everything that one member has reported."""
    return f"{OBSERVED_PREFIX}.{kind}.{to_tokens(name)}"


def lab_stream(gateway: str) -> str:
    """JetStream stream that holds one gateway's envelopes; stream names may not hold dots."""
    return f"LAB_{to_tokens(gateway)}"


def lab_prefix(gateway: str) -> str:
    """Subject prefix of one gateway's envelopes."""
    return f"lab.{to_tokens(gateway)}"


def lab_subject(gateway: str, namespace: str, stream: str) -> str:
    """Subject of the envelopes of one Stream."""
    return f"{lab_prefix(gateway)}.{namespace}.{to_tokens(stream)}"


def rpc_subject(cluster: str, verb: str) -> str:
    """Subject on which a cluster's agent answers one verb, such as `logs`."""
    return f"rpc.cluster.{to_tokens(cluster)}.{verb}"


def data_subject(cluster: str, namespace: str) -> str:
    """Subject on which the mover of a cluster's namespace hands out chunks of its datasets."""
    return f"data.{to_tokens(cluster)}.{namespace}.read"


def verify_subject(cluster: str, namespace: str) -> str:
    """Subject on which the same mover recomputes a dataset version's checksums."""
    return f"data.{to_tokens(cluster)}.{namespace}.verify"
