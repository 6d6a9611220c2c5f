"""Evaluating checked expressions within a budget.

Owns names, fields, calls, lists, maps and loops, and what each step costs. A tree becomes nested Python functions once,
which are then called often. Operators that do not evaluate all their operands are control.py's.
Costs follow Kubernetes' (k8s.io/apiserver/pkg/cel/limits.go, cel-go interpreter/runtimecost.go): one for a step, a
tenth per character or item that is walked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from atoll.kubeapi.cel.control import CONTROLS
from atoll.kubeapi.cel.frame import MISSING, Frame, Step, as_optional, field_of, readable
from atoll.kubeapi.cel.functions import FUNCTIONS
from atoll.kubeapi.cel.overloads import Overload, Overloads
from atoll.kubeapi.cel.tree import Call, Comprehension, Entry, Item, ListOf, Literal, MapOf, Name, Node, Select, names
from atoll.kubeapi.cel.values import CelError, Failed, NoOverload, Optional, TypeValue, kind_of

_NEW_LIST, _NEW_MAP = 10, 30
_RESULT = "@result"  # the name that the library gives to what a macro builds; no user can write it


class Budget:
    """What the evaluations of one request may cost together."""

    def __init__(self, left: int) -> None:
        """Start with `left` units."""
        self.left = left


class Program:
    """One expression, ready to be evaluated."""

    def __init__(self, tree: Node) -> None:
        """Compile a checked expression."""
        self.names = names(tree)
        self._run = _compiled(tree)

    def evaluate(self, variables: Mapping[str, Any], budget: Budget) -> Any:
        """Return the value of the expression, and take its cost from the budget. Raises CelError or OutOfBudget."""
        frame = Frame(dict(variables), budget.left)
        try:
            return self._run(frame)
        except RecursionError:
            raise CelError("the values are nested too deeply to be compared") from None
        finally:
            budget.left = max(frame.left, 0)


def _compiled(node: Node) -> Step:
    match node:
        case Literal(value):
            return lambda _frame: value
        case Name(name):
            return _name(name)
        case Select():
            return _select(node)
        case Call(function, arguments):
            return _call(function, arguments)
        case ListOf(items):
            return _list(items)
        case MapOf(entries):
            return _map(entries)
        case Comprehension():
            return _loop(node)


def _name(name: str) -> Step:
    def run(frame: Frame) -> Any:
        frame.spend(1)
        value = frame.variables.get(name, MISSING)
        if value is MISSING:
            return TypeValue(name)
        if isinstance(value, Failed):
            raise value.error
        return value

    return run


def _select(node: Select) -> Step:
    operand, field = _compiled(node.operand), node.field

    def run(frame: Frame) -> Any:
        frame.spend(1)
        return readable(field_of(operand(frame), field))

    def test(frame: Frame) -> bool:
        frame.spend(1)
        found = field_of(operand(frame), field)
        return found.has_value if isinstance(found, Optional) else not isinstance(found, CelError)

    return test if node.tests else run


# calls


def _call(function: str, arguments: tuple[Node, ...]) -> Step:
    special = CONTROLS.get(function)
    if special is not None and not (function == "_+_" and not _appends(arguments)):
        return special(*map(_compiled, arguments))
    overloads = FUNCTIONS.get(function)
    if overloads is None:
        raise CelError(f"the function {function} is not known to this server")
    steps = tuple(map(_compiled, arguments))
    chosen: dict[tuple[str, ...], Overload] = {}  # by the types of the arguments, which rarely change at one place

    def run(frame: Frame) -> Any:
        frame.spend(1)
        values = [step(frame) for step in steps]
        kinds = tuple(map(kind_of, values))
        overload = chosen.get(kinds) or _choose(overloads, kinds)
        if overload is None:
            raise NoOverload(function, values)
        chosen[kinds] = overload
        return _invoke(overload, values, frame)

    return run


def _choose(overloads: Overloads, kinds: tuple[str, ...]) -> Overload | None:
    return next((overload for overload in overloads if overload.takes(kinds)), None)


def _invoke(overload: Overload, arguments: list[Any], frame: Frame) -> Any:
    frame.spend(overload.cost(arguments))
    value = overload.call(*arguments, frame.spend) if overload.spends else overload.call(*arguments)
    if isinstance(value, str | bytes):
        frame.spend(len(value) // 10)
    return readable(value)


def _appends(arguments: tuple[Node, ...]) -> bool:
    return arguments[0] == Name(_RESULT) and isinstance(arguments[1], ListOf)


# lists, maps and loops


def _list(items: tuple[Item, ...]) -> Step:
    steps = [(_compiled(item.value), item.is_optional) for item in items]

    def run(frame: Frame) -> list[Any]:
        frame.spend(_NEW_LIST)
        return [value for step, optional in steps for value in _present(step(frame), optional)]

    return run


def _map(entries: tuple[Entry, ...]) -> Step:
    steps = [(_compiled(entry.key), _compiled(entry.value), entry.is_optional) for entry in entries]

    def run(frame: Frame) -> dict[Any, Any]:
        frame.spend(_NEW_MAP)
        built: dict[Any, Any] = {}
        for key_step, value_step, optional in steps:
            key = key_step(frame)
            if kind_of(key) not in ("bool", "int", "uint", "string"):
                raise CelError(f"unsupported key type: {kind_of(key)}")
            if key in built:
                raise CelError(f"duplicate key: {key}")
            built.update((key, value) for value in _present(value_step(frame), optional))
        return built

    return run


def _present(value: Any, is_optional: bool) -> tuple[Any, ...]:
    if not is_optional:
        return (value,)
    return (value.value,) if as_optional(value, "optional entry").has_value else ()


def _loop(node: Comprehension) -> Step:
    over, start, result = _compiled(node.over), _compiled(node.start), _compiled(node.result)
    condition, step = _compiled(node.condition), _compiled(node.step)
    is_fold = node.condition == Literal(True)  # `map` and the like cannot do without any of their steps

    def run(frame: Frame) -> Any:
        items = over(frame)
        variables = frame.variables
        before = {name: variables.get(name, MISSING) for name in (node.variable, node.second, node.accumulator)}
        try:
            variables[node.accumulator] = start(frame)
            for first, second in _pairs(items, node.second):
                if not condition(frame):
                    break
                variables[node.variable], variables[node.second] = first, second
                try:
                    variables[node.accumulator] = step(frame)
                except CelError as error:
                    if is_fold:
                        raise
                    variables[node.accumulator] = Failed(error)
            return result(frame)
        finally:
            _restore(variables, before)

    return run


def _pairs(items: Any, second: str) -> Iterable[tuple[Any, Any]]:
    """Yield what the variables of a loop stand for in turn."""
    if isinstance(items, dict):
        return list(items.items())
    if not isinstance(items, list):
        raise NoOverload("comprehension", (items,))
    return enumerate(items) if second else _alone(items)


def _alone(items: list[Any]) -> Iterator[tuple[Any, None]]:
    for item in items:
        yield item, None


def _restore(variables: dict[str, Any], before: Mapping[str, Any]) -> None:
    for name, value in before.items():
        if value is MISSING:
            variables.pop(name, None)
        else:
            variables[name] = value
