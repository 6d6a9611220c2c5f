"""All harnesses by name, and the module that each is in."""

from security import bus_parsers, edge_parsers, file_parsers, hub_parsers, text_parsers
from security.fuzzing import Harness

_ROOMS = (edge_parsers, bus_parsers, text_parsers, file_parsers, hub_parsers)
HARNESSES: dict[str, Harness] = {harness.name: harness for room in _ROOMS for harness in room.HARNESSES}
ROOMS: dict[str, str] = {harness.name: room.__name__ for room in _ROOMS for harness in room.HARNESSES}
