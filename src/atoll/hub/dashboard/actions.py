"""What can be done from pages, and the command that does the same. Pure; `doing` carries it out through the API.

Owns the form of a deed and of its button. Which deeds there are is for the rooms to say (`deeds` has all of them).
"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.federation.resources import API_GROUP, API_VERSION
from atoll.hub.dashboard.ask import Ask, link
from atoll.kubeapi.resource import Object

Test = Callable[[Object], str]
"""Says why something cannot be; empty if it can."""


def always(_obj: Object) -> str:
    """Say nothing against it."""
    return ""


@dataclass(frozen=True)
class Call:
    """One request to the API: PATCH (a merge patch), DELETE, or POST.

    A POST takes the place of an object of the same name, unless `keeps` says why that one has to stay.
    """

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    keeps: Test = always


@dataclass(frozen=True)
class Deed:
    """One thing that can be done to objects of a kind.

    `call` makes the request of the object as it is now, and of what was chosen. `moot` says why it makes no sense for
    an object. `command` has `{name}` and `{namespace}`, and `{choice}` where something is to be chosen. `needs` is the
    verb and the resource that a role has to allow. `confirm` is asked before; with `is_final` the name has to be typed.
    `seen` is what a person has to have looked at: where it has changed since the page was drawn, nothing is done.
    """

    plural: str
    word: str
    command: str
    call: Callable[[Object, str], Call]
    moot: Test = always
    needs: tuple[str, str] = ("patch", "")
    confirm: str = ""
    is_final: bool = False
    tone: str = ""
    seen: Test = always

    @property
    def asks_for_choice(self) -> bool:
        """Whether a person has to choose something beside."""
        return "{choice}" in self.command


@dataclass(frozen=True)
class Action:
    """A deed on one object, as a button with its command; `why_not` is empty if this user may do it.

    The command is cut where the choice stands, if `options` are to choose from. `typed` is what has to be typed.
    """

    url: str
    word: str
    command: str
    command_end: str = ""
    options: tuple[str, ...] = ()
    why_not: str = ""
    confirm: str = ""
    typed: str = ""
    tone: str = ""


def path_of(plural: str, namespace: str, name: str = "") -> str:
    """Give the API's path of an object, or of all of a kind in a namespace."""
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{API_GROUP}/{API_VERSION}{inside}/{plural}{f'/{name}' if name else ''}"


def named(obj: Object) -> tuple[str, str]:
    """Give the namespace of an object, empty if it is in none, and its name."""
    return obj["metadata"].get("namespace") or "", obj["metadata"]["name"]


def offered(
    ask: Ask, deeds: Mapping[str, Deed], obj: Object, *, options: Mapping[str, Sequence[str]] = {}
) -> tuple[Action, ...]:
    """Give what can be done to an object in its state; what this user may not do is there with the reason.

    Args:
        ask: who asks.
        deeds: those of the object's kind.
        obj: the object as it is on the wire.
        options: what can be chosen, by the deed's word in URLs; a deed with nothing to choose from is left out.
    """
    return tuple(
        _action(ask, word, deed, obj, tuple(options.get(word, ())))
        for word, deed in deeds.items()
        if not deed.moot(obj) and (not deed.asks_for_choice or options.get(word))
    )


def _action(ask: Ask, word: str, deed: Deed, obj: Object, options: tuple[str, ...]) -> Action:
    namespace, name = named(obj)
    begin, _, end = deed.command.partition("{choice}")
    verb, resource = deed.needs
    return Action(
        url=link("do", word, deed.plural, namespace or "-", name, seen=deed.seen(obj)),
        word=deed.word,
        command=_filled(begin, namespace, name),
        command_end=_filled(end, namespace, name),
        options=options,
        why_not=ask.rights.why_not(verb, resource or deed.plural, namespace),
        confirm=deed.confirm.format(name=name),
        typed=name if deed.is_final else "",
        tone=deed.tone,
    )


def _filled(command: str, namespace: str, name: str) -> str:
    return command.format(name=shlex.quote(name), namespace=shlex.quote(namespace))


def patching(plural: str, patch: Callable[[Object], Mapping[str, Any]]) -> Callable[[Object, str], Call]:
    """Make the call of a deed that is a merge patch."""
    return lambda obj, _choice: Call("PATCH", path_of(plural, *named(obj)), patch(obj))


def setting(plural: str, **fields: Any) -> Callable[[Object, str], Call]:
    """Make the call of a deed that sets fields of `spec`; None takes one out."""
    return patching(plural, lambda _obj: {"spec": fields})


def unless(field: str, wanted: bool, words: str) -> Test:
    """Say `words` where a field of `spec` is not as wanted; absent is False."""
    return lambda obj: "" if bool((obj.get("spec") or {}).get(field)) is wanted else words


def first(*tests: Test) -> Test:
    """Say what the first test says that says something."""
    return lambda obj: next((why for test in tests if (why := test(obj))), "")
