"""What a site's users write in scripts, in the words of its federation: partitions are queues, features node labels.

Owns these mappings and the variables of the machine that submits.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from atoll.federation.errors import InvalidInput
from atoll.federation.resources.base import SUBDOMAIN_PATTERN

_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


@dataclass(frozen=True)
class Site:
    """`queue` stands over all; `default_queue` is for scripts that name no partition."""

    queue: str | None = None
    default_queue: str | None = None
    partitions: Mapping[str, str] = field(default_factory=dict)
    features: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def queue_of(self, partition: str | None) -> str:
        """Give the queue of a partition, or of the list of those that will do.

        Raises:
            InvalidInput: no queue is known, or several are named.
        """
        if self.queue:
            return self.queue
        if not partition:
            if self.default_queue:
                return self.default_queue
            raise InvalidInput("--queue: is required, or ATOLL_QUEUE, where the script names no partition")
        queues = {name: self.partitions.get(name, name) for name in partition.split(",")}
        if len(set(queues.values())) > 1:
            raise InvalidInput(f"a job waits in one queue: write --queue with one of {', '.join(queues.values())}")
        name, queue = next(iter(queues.items()))
        if not re.fullmatch(SUBDOMAIN_PATTERN, queue):
            raise InvalidInput(f"no queue can be called so: write --queue QUEUE, or --partition-queue {name}=QUEUE")
        return queue

    def label_of(self, feature: str) -> tuple[str, str]:
        """Give the node label, as (key, value), that a feature is.

        Raises:
            InvalidInput: it is not known.
        """
        if feature not in self.features:
            raise InvalidInput(
                f"which node label {feature} is, is not known here: write --feature {feature}=LABEL=VALUE; "
                "a GPU model goes into --gpus MODEL:COUNT"
            )
        return self.features[feature]


def partitions_of(pairs: Sequence[str]) -> dict[str, str]:
    """Read PARTITION=QUEUE.

    Raises:
        InvalidInput: one is not of that form.
    """
    found = {}
    for pair in pairs:
        partition, _, queue = pair.partition("=")
        if not partition or not re.fullmatch(SUBDOMAIN_PATTERN, queue):
            raise InvalidInput(f"--partition-queue {pair}: should be PARTITION=QUEUE, such as gpu=seismology.gpu")
        found[partition] = queue
    return found


def features_of(triples: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Read FEATURE=LABEL=VALUE.

    Raises:
        InvalidInput: one is not of that form.
    """
    found = {}
    for triple in triples:
        feature, _, label = triple.partition("=")
        key, equals, value = label.partition("=")
        if not feature or not equals or not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise InvalidInput(
                f"--feature {triple}: should be FEATURE=LABEL=VALUE, such as x86=kubernetes.io/arch=amd64"
            )
        found[feature] = (key, value)
    return found
