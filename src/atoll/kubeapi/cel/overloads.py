"""What a function takes, gives, costs and does, in one line each.

Owns the form in which functions are written down; the checker declares from it, the program calls by it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_KINDS = {"timestamp": "google.protobuf.Timestamp", "duration": "google.protobuf.Duration", "null": "null_type"}


def walked(arguments: Sequence[Any]) -> int:
    """Return the cost of a call that walks what it gets once: a tenth per character or item."""
    return sum(len(argument) // 10 for argument in arguments if isinstance(argument, str | bytes | list))


def constant(_arguments: Sequence[Any]) -> int:
    """Return the cost of a call that walks nothing."""
    return 0


def parsing(arguments: Sequence[Any]) -> int:
    """Return the cost of a call that reads a text as something else: about ten steps' time, whatever its length."""
    return 10 + walked(arguments)


def product(arguments: Sequence[Any]) -> int:
    """Return the cost of a call that walks one argument for each item of another."""
    cost = 1
    for argument in arguments:
        if isinstance(argument, Sized):
            cost *= len(argument) + 1
    return cost // 10


@dataclass(frozen=True)
class Overload:
    """One way to call a function.

    `parameters` and `result` are types as text: `int`, `list(string)`, `optional(T)`, `dyn`, or the name of an opaque
    type. The target of a method is its first parameter. `call` gets the arguments, and what spends from the budget
    after them if it `spends`.
    """

    name: str
    parameters: tuple[str, ...]
    result: str
    call: Callable[..., Any]
    is_method: bool = False
    spends: bool = False
    cost: Callable[[Sequence[Any]], int] = walked

    def takes(self, kinds: Sequence[str]) -> bool:
        """Say whether arguments of these types are taken; `dyn` takes any."""
        if len(kinds) != len(self.parameters):
            return False
        return all(wanted in ("dyn", kind) for wanted, kind in zip(self._kinds, kinds, strict=True))

    @cached_property
    def _kinds(self) -> tuple[str, ...]:
        outer = (parameter.partition("(")[0] for parameter in self.parameters)
        return tuple({"optional": "optional_type", **_KINDS}.get(kind, kind) for kind in outer)


Overloads = tuple[Overload, ...]


def function(name: str, call: Callable[..., Any], shape: str, **more: Any) -> Overload:
    """Return an overload from its shape, such as `string, int -> bool`."""
    parameters, _, result = shape.partition("->")
    taken = tuple(part.strip() for part in parameters.split(",") if part.strip())
    return Overload(name, taken, result.strip(), call, **more)


def method(name: str, call: Callable[..., Any], shape: str, **more: Any) -> Overload:
    """Return an overload that is called on its first parameter."""
    return function(name, call, shape, is_method=True, **more)
