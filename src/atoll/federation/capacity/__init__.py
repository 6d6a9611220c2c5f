"""What work needs and what nodes have: quantities, durations, resource vectors, GPU models, node shapes.

Owns the arithmetic of capacity, exact and in integers: millicores, bytes, whole GPUs. Used by the hub to place work and
by the member agent to report free capacity. Pure and standard library only; it must not know any kind.
"""

from atoll.federation.capacity.fitting import Suits, any_shape, fits, give, room, take
from atoll.federation.capacity.gpus import GPU_PRODUCT_LABEL, gpu_matches
from atoll.federation.capacity.pods import demand_of_pod_spec, requests_of_pod, unknown_resources
from atoll.federation.capacity.quantities import (
    format_bytes,
    format_duration,
    format_millicores,
    parse_bytes,
    parse_duration,
    parse_millicores,
    parse_quantity,
)
from atoll.federation.capacity.shapes import SHAPE_LABELS, Shape, bounded_shapes, group_shapes, node_shape, round_down
from atoll.federation.capacity.vectors import GPU_RESOURCE, Amounts, ResourceVector, amounts_of, vector_of

__all__ = [
    "GPU_PRODUCT_LABEL", "GPU_RESOURCE", "SHAPE_LABELS", "Amounts", "ResourceVector", "Shape", "Suits", "amounts_of",
    "any_shape", "bounded_shapes", "demand_of_pod_spec", "fits", "format_bytes", "format_duration",
    "format_millicores", "give", "gpu_matches", "group_shapes", "node_shape", "parse_bytes", "parse_duration",
    "parse_millicores", "parse_quantity", "requests_of_pod", "room", "round_down", "take", "unknown_resources",
    "vector_of",
]  # fmt: skip
