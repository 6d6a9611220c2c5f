"""Which GPU a node carries, and whether it is the one that was asked for.

Owns the reading of GPU product names. How many there are is a resource vector's matter.
"""

import re
from functools import lru_cache

GPU_PRODUCT_LABEL = "nvidia.com/gpu.product"
# Suffixes that GPU Feature Discovery gives to the product of a shared or sliced GPU: less than the model it names.
_PART_OF_A_GPU = frozenset({"shared", "mig"})


@lru_cache(maxsize=4096)
def gpu_matches(model: str, product: str) -> bool:
    """Tell whether a GPU product label is of a model: the model's whole tokens stand in the product in that order.

    `A100` and `a100-40gb` match `NVIDIA-A100-SXM4-40GB`; `A10` does not. A product that is shared or a MIG slice
    matches only a model that says so, since it is not the whole GPU.
    """
    wanted, offered = _tokens(model), _tokens(product)
    rest = iter(offered)
    in_order = bool(wanted) and all(token in rest for token in wanted)
    return in_order and _PART_OF_A_GPU.intersection(offered) <= set(wanted)


def _tokens(name: str) -> list[str]:
    return [token for token in re.split(r"[-_\s]+", name.lower()) if token]
