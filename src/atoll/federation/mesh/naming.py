"""What names and ids a cluster may have in the mesh. Pure."""

import re
from collections.abc import Iterator

# Cilium: pkg/clustermesh/types/types.go. 511 ids need max-connected-clusters 511, which must be equal everywhere.
_NAME = re.compile(r"([a-z0-9][-a-z0-9]*)?[a-z0-9]")
_MAX_NAME_CHARS = 32
RESERVED_NAME = "default"
DEFAULT_MAX_CLUSTERS = 255
MAX_CLUSTER_ID = 511
LIMITS = (DEFAULT_MAX_CLUSTERS, MAX_CLUSTER_ID)


def name_faults(name: str) -> Iterator[tuple[str, str]]:
    """Give what is wrong with a name, and what to do."""
    if len(name) > _MAX_NAME_CHARS or not _NAME.fullmatch(name):
        rule = f"at most {_MAX_NAME_CHARS} of a-z, 0-9 and '-', not beginning or ending with '-'"
        yield f"mesh name {name!r} is not allowed", f"use {rule}"
    if name == RESERVED_NAME:
        yield "mesh name 'default' is reserved", "give the cluster a name of its own"


def id_fault(number: int, limit: int) -> str:
    """Say what is wrong with an id where so many clusters may connect; empty if nothing is."""
    if 1 <= number <= limit:
        return ""
    return "mesh id 0 means that the cluster is in no mesh" if number == 0 else f"mesh id {number} is not allowed"
