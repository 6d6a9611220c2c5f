"""Kubernetes' named formats: `format.dns1123Label().validate(text)`.

Owns the formats and what each says of a text that does not fit.
Source: k8s.io/apiserver/pkg/cel/library/format.go; k8s.io/apimachinery/pkg/util/validation.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import ClassVar
from urllib.parse import urlsplit

from atoll.kubeapi.cel.conversions import instant
from atoll.kubeapi.cel.overloads import Overload, constant, function, method
from atoll.kubeapi.cel.values import NONE, Opaque, Optional

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_DNS1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_NAME = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_UUID = r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}"


@dataclass(frozen=True)
class Format(Opaque):
    """A format by its name."""

    kind: ClassVar[str] = "Format"
    name: str


def _matching(pattern: str, longest: int, what: str) -> Callable[[str], list[str]]:
    compiled = re.compile(pattern, re.ASCII)

    def faults(text: str) -> list[str]:
        found = [] if len(text) <= longest else [f"must be no more than {longest} characters"]
        return found if compiled.fullmatch(text) else [*found, f"{what} must match '{pattern}'"]

    return faults


def _prefix(faults: Callable[[str], list[str]]) -> Callable[[str], list[str]]:
    """Judge the beginning of a name: it may end in a dash, which what is generated follows."""
    return lambda text: faults(f"{text[:-1]}a" if text.endswith("-") else text)


def _parsing(parse: Callable[[str], object], what: str) -> Callable[[str], list[str]]:
    def faults(text: str) -> list[str]:
        try:
            parse(text)
        except (ValueError, OverflowError, binascii.Error):
            return [f"invalid {what}"]
        return []

    return faults


def _uri(text: str) -> None:
    parts = urlsplit(text)
    if not (parts.scheme or text.startswith("/")):
        raise ValueError(text)


def _qualified_name(text: str) -> list[str]:
    prefix, slash, name = text.rpartition("/")
    found = _matching(_NAME, 63, "name part")(name)
    return [*(_FAULTS["dns1123Subdomain"](prefix) if slash else ()), *found]


_DNS1123_LABEL = _matching(_LABEL, 63, "a lowercase RFC 1123 label")
_DNS1123_SUBDOMAIN = _matching(_SUBDOMAIN, 253, "a lowercase RFC 1123 subdomain")
_DNS1035_LABEL = _matching(_DNS1035, 63, "a DNS-1035 label")
_FAULTS: dict[str, Callable[[str], list[str]]] = {
    "dns1123Label": _DNS1123_LABEL,
    "dns1123Subdomain": _DNS1123_SUBDOMAIN,
    "dns1035Label": _DNS1035_LABEL,
    "dns1123LabelPrefix": _prefix(_DNS1123_LABEL),
    "dns1123SubdomainPrefix": _prefix(_DNS1123_SUBDOMAIN),
    "dns1035LabelPrefix": _prefix(_DNS1035_LABEL),
    "qualifiedName": _qualified_name,
    "labelValue": _matching(rf"({_NAME})?", 63, "a valid label"),
    "uri": _parsing(_uri, "URI"),
    "uuid": _matching(_UUID, 36, "a UUID"),
    "byte": _parsing(lambda text: base64.b64decode(text, validate=True), "base64 encoded string"),
    "date": _parsing(date.fromisoformat, "date"),
    "datetime": _parsing(instant, "datetime"),
}


def _named(name: str) -> Optional:
    return Optional(True, Format(name)) if name in _FAULTS else NONE


def _validate(format_: Format, text: str) -> Optional:
    faults = _FAULTS[format_.name](text)
    return Optional(True, faults) if faults else NONE


def _constructor(name: str) -> Overload:
    return function(f"format.{name}", lambda: Format(name), "-> Format", cost=constant)


FORMATS: tuple[Overload, ...] = (
    function("format.named", _named, "string -> optional(Format)"),
    *map(_constructor, _FAULTS),
    method("validate", _validate, "Format, string -> optional(list(string))"),
)
