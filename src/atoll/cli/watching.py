"""`--watch` of what is put together from answers: it is asked again, and printed again when something has changed.

Owns how often, and what counts as a change. Objects that are listed as they are, the hub itself follows (`listing`).
"""

import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from atoll.cli.options import Output
from atoll.cli.output import say

# As watch(1) does. Sooner, a hub with many jobs is asked for usage most of its time; later, a change seems to be lost.
EVERY_SECONDS = 2.0
# They tell when something was heard or written, not how it is: a heartbeat alone is no change.
_STAMPS = frozenset({"at", "resourceVersion", "managedFields"})
_BETWEEN = {Output.TABLE: "", Output.WIDE: "", Output.YAML: "---"}
T = TypeVar("T")
R = TypeVar("R")


def show(read: Callable[[], T], print_: Callable[[T], R], output: Output, *, watch: bool) -> R:
    """Print what is read; if it is watched, all of it again at each change, until interrupted.

    Args:
        read: asks; JSON or dataclasses of it. What it raises ends the watch: whoever asks has patience with a hub.
        print_: prints it, and gives what the command makes its exit code of.
        output: its form, which tells what stands between two of them.
        watch: whether to go on.
    """
    shown = read()
    result = print_(shown)
    while watch:
        sys.stdout.flush()  # a pipe would get it when there is a lot of it
        time.sleep(EVERY_SECONDS)
        now = read()
        if lasting(now) == lasting(shown):
            continue
        shown = now
        if output in _BETWEEN:
            say(_BETWEEN[output])
        result = print_(shown)
    return result


def lasting(answer: Any) -> Any:
    """Leave out of an answer when it was; instants are called so on the wire: `at`, or `provenAt`. Pure."""
    if isinstance(answer, dict):
        return {key: lasting(each) for key, each in answer.items() if key not in _STAMPS and not key.endswith("At")}
    return [lasting(each) for each in answer] if isinstance(answer, list | tuple) else answer
