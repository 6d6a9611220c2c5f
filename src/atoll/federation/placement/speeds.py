"""How fast GPU models are beside each other: data, used only to scale a job's expected duration.

A kernel is bound by arithmetic or by memory (Williams, Waterman, Patterson: Roofline, CACM 2009). Which of the two a
job is bound by is not known, so its relative speed is taken as the geometric mean of both ratios. The numbers are those
of the vendor's data sheets (nvidia.com, per GPU): FP32 without tensor cores in TFLOPS, and memory bandwidth in GB/s.
"""

from functools import lru_cache
from math import sqrt

from atoll.federation.capacity import gpu_matches

REFERENCE_MODEL = "A100"

_DATA_SHEETS: dict[str, tuple[float, float]] = {
    "A2": (4.5, 200), "A10": (31.2, 600), "A10G": (31.5, 600), "A16": (4.5, 200), "A30": (10.3, 933),
    "A40": (37.4, 696), "A100": (19.5, 1555), "A100 80GB": (19.5, 1935), "A800": (19.5, 2039),
    "B200": (75.0, 8000), "GH200": (67.0, 4000), "H20": (44.0, 4000), "H100": (67.0, 3350), "H100 PCIe": (51.0, 2000),
    "H100 NVL": (60.0, 3900), "H200": (67.0, 4800),
    "K80": (4.37, 240), "L4": (30.3, 300), "L40": (90.5, 864), "L40S": (91.6, 864),
    "P4": (5.5, 192), "P40": (11.8, 346), "P100": (9.3, 732), "P100 SXM2": (10.6, 732), "T4": (8.1, 320),
    "V100": (15.7, 900), "V100 PCIE": (14.0, 900), "V100S": (16.4, 1134),
    "RTX 2080 Ti": (13.4, 616), "RTX 3090": (35.6, 936), "RTX 4090": (82.6, 1008), "RTX 5090": (104.8, 1792),
    "RTX A4000": (19.2, 448), "RTX A5000": (27.8, 768), "RTX A6000": (38.7, 768), "RTX 6000 Ada": (91.1, 960),
    "Quadro RTX 6000": (16.3, 672), "Quadro RTX 8000": (16.3, 672), "Xavier": (1.4, 136.5), "Orin": (5.3, 204.8),
}  # fmt: skip


@lru_cache(maxsize=1024)
def relative_speed(model: str) -> float | None:
    """Give the speed of a model or product label, A100 being 1.0; None if no data sheet of it is known here."""
    matching = [name for name in _DATA_SHEETS if gpu_matches(name, model)]
    if not matching:
        return None
    flops, bandwidth = _DATA_SHEETS[max(matching, key=lambda name: (len(name.split()), name))]
    reference_flops, reference_bandwidth = _DATA_SHEETS[REFERENCE_MODEL]
    return sqrt(flops / reference_flops * bandwidth / reference_bandwidth)
