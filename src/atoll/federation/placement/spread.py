"""Which of several equally good clusters a job goes to: a stable choice that spreads jobs evenly.

Rendezvous hashing (Thaler and Ravishankar, 1998): each cluster has a number of its own for each job, the lowest wins.
When a cluster leaves the choice, only the jobs that it would have got go elsewhere.
"""

from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Seeds = NDArray[np.uint64]
# An odd number with bits all over (2^64 divided by the golden ratio; Knuth, TAOCP 6.4): its products look random.
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@lru_cache(maxsize=16_384)
def seed(name: str) -> int:
    """Give a cluster's own number."""
    return _number(name)


def spread(job: str, seeds: Seeds) -> int:
    """Choose one of several clusters, by their seeds; there is at least one."""
    if len(seeds) == 1:
        return 0
    return int(((seeds ^ np.uint64(_number(job))) * _FACTOR).argmin())


def _number(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
