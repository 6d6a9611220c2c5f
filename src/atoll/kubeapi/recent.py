"""Objects that changed a moment ago, decoded: who looks at one change in the same moment shares one value.

Owns how long a value is kept; must not know what it means. A change is looked at by some ten readers within
milliseconds, and decoding costs each as much as all else that it does with it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atoll.kubeapi.bucket import Entry
    from atoll.kubeapi.resource import Object

# Fewer than change until the slowest reader looks, half a second later: it decodes for itself. One takes some 15 KB.
_MOST = 512


class Recent:
    """The entries that were looked at last."""

    __slots__ = ("_decoded",)

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._decoded: OrderedDict[str, tuple[Entry, Object]] = OrderedDict()

    def look(self, entry: Entry) -> Object:
        """Return the object of an entry, for reading only: others have the same one."""
        known = self._decoded.get(entry.key)
        if known is not None and known[0] is entry:
            return known[1]
        obj = entry.decode()
        self._decoded[entry.key] = (entry, obj)
        self._decoded.move_to_end(entry.key)
        if len(self._decoded) > _MOST:
            self._decoded.popitem(last=False)
        return obj
