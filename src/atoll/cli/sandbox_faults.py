"""What the `sandbox fault` commands do: plant a fault, heal, show what stands."""

from typing import Any

from atoll.cli.meshing import print_record
from atoll.cli.options import Output
from atoll.cli.output import hint, say
from atoll.cli.sandboxes import print_faults, running_home
from atoll.federation.capacity import parse_duration
from atoll.sandbox.control import Control
from atoll.sandbox.faults.fault import FaultKind

_ANYTHING_ELSE = "what else stands: atoll sandbox fault list   to end it: atoll sandbox fault heal"


def seconds_of(text: str) -> float:
    """Read a delay. Raises InvalidInput."""
    return parse_duration(text)


def plant(folder: str | None, kind: FaultKind, **fields: Any) -> None:
    """Plant a fault and say what is broken now."""
    planted = Control.of(running_home(folder)).plant({"kind": str(kind), **fields})
    if planted["since"] is None:
        say(f"killed once: {planted['text']} until it is started again")
    else:
        say(planted["text"])
        hint(_ANYTHING_ELSE)


def heal(folder: str | None, cluster: str) -> None:
    """End faults and say which."""
    control = Control.of(running_home(folder))
    healed = control.heal(cluster)
    for fault in healed:
        say(f"healed: {fault['text']}")
    if not healed:
        others = len(control.faults()) if cluster else 0
        stand = f" ({others} {'other stands' if others == 1 else 'others stand'}: atoll sandbox fault list)"
        hint(f"nothing to heal: no fault {f'concerns {cluster}{stand}' if others else 'stands'}")


def show(folder: str | None, output: Output) -> None:
    """Print the faults that stand."""
    standing = Control.of(running_home(folder)).faults()
    if output is not Output.TABLE:
        print_record(standing, output)
    elif standing:
        print_faults(standing)
    else:
        hint("no fault stands")
