"""All functions that an expression may call.

Owns which of them the checker knows by itself and which are declared to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from atoll.kubeapi.cel.addresses import ADDRESSES
from atoll.kubeapi.cel.conversions import CONVERSIONS
from atoll.kubeapi.cel.formats import FORMATS
from atoll.kubeapi.cel.kubernetes import KUBERNETES, SETS
from atoll.kubeapi.cel.operators import ACROSS_NUMBERS, OPERATORS
from atoll.kubeapi.cel.overloads import Overload, Overloads
from atoll.kubeapi.cel.text import FINDING, TEXT

DECLARED: Overloads = (*ACROSS_NUMBERS, *FINDING, *KUBERNETES, *ADDRESSES, *FORMATS)
"""What Kubernetes has and the library does not know by itself."""


def _by_name(overloads: Iterable[Overload]) -> Mapping[str, Overloads]:
    found: dict[str, Overloads] = {}
    for overload in overloads:
        found[overload.name] = (*found.get(overload.name, ()), overload)
    return found


FUNCTIONS: Mapping[str, Overloads] = _by_name((*OPERATORS, *CONVERSIONS, *TEXT, *SETS, *DECLARED))
