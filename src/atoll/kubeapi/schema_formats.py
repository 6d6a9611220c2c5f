"""The formats of strings that a schema may name.

Owns what fits each; a format that is not here fits everything, as in Kubernetes.
Source: Kubernetes documentation "CustomResourceDefinitions", validation; k8s.io/kube-openapi/pkg/validation/strfmt.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from email.utils import parseaddr
from urllib.parse import urlsplit

_HEX = "[0-9a-fA-F]"
_HOSTNAME = re.compile(r"(?=.{1,253}$)(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?")
_DURATION = re.compile(
    r"[+-]?(\d+(\.\d*)?|\.\d+)\s*(ns|nanoseconds?|us|µs|μs|micros?|ms|millis?|s|secs?|seconds?|m|mins?|minutes?"
    r"|h|hours?|hr|d|days?|w|weeks?|wk)?(\s*(\d+(\.\d*)?|\.\d+)\s*[a-zµμ]+)*"
)


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def accepts(text: str) -> bool:
        try:
            parse(text)
        except (ValueError, binascii.Error):
            return False
        return True

    return accepts


def _like(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern, re.ASCII)
    return lambda text: compiled.fullmatch(text) is not None


def _uuid(version: str) -> Callable[[str], bool]:
    return _like(f"{_HEX}{{8}}-?{_HEX}{{4}}-?{version}{_HEX}{{3}}-?[89abAB]{_HEX}{{3}}-?{_HEX}{{12}}")


def _instant(text: str) -> datetime:
    if "T" not in text.upper() or not re.search(r"(Z|[+-]\d\d:\d\d)$", text, re.IGNORECASE):
        raise ValueError(text)
    return datetime.fromisoformat(text.upper())


def _day(text: str) -> date:
    if len(text) != len("2006-01-02"):
        raise ValueError(text)
    return date.fromisoformat(text)


def _is_cidr(text: str) -> bool:
    address, _, length = text.partition("/")
    try:
        longest = ipaddress.ip_address(address).max_prefixlen
    except ValueError:
        return False
    return length.isascii() and length.isdigit() and len(length) < 4 and int(length) <= longest


def _is_uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return text.isprintable() and " " not in text and (bool(parts.scheme) or text.startswith("/"))


def _is_email(text: str) -> bool:
    address = parseaddr(text)[1]
    name, _, domain = address.rpartition("@")
    return bool(name) and " " not in address and _HOSTNAME.fullmatch(domain) is not None


def _is_isbn10(text: str) -> bool:
    digits = text.replace("-", "").replace(" ", "")
    if not re.fullmatch(r"\d{9}[\dX]", digits, re.ASCII):
        return False
    return sum((10 if digit == "X" else int(digit)) * (10 - place) for place, digit in enumerate(digits)) % 11 == 0


def _is_isbn13(text: str) -> bool:
    digits = text.replace("-", "").replace(" ", "")
    if not re.fullmatch(r"\d{13}", digits, re.ASCII):
        return False
    return sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(digits)) % 10 == 0


def _is_card(text: str) -> bool:
    """Say whether the digits of a card number pass Luhn's check."""
    digits = [int(digit) for digit in re.sub(r"[ -]", "", text) if digit.isascii() and digit.isdigit()]
    if not 13 <= len(digits) <= 19 or not re.fullmatch(r"[\d -]+", text, re.ASCII):
        return False
    doubled = (digit if place % 2 == 0 else sum(divmod(2 * digit, 10)) for place, digit in enumerate(reversed(digits)))
    return sum(doubled) % 10 == 0


_BYTE = r"(25[0-5]|2[0-4]\d|1\d\d|\d?\d)"
FORMATS: Mapping[str, Callable[[str], bool]] = {
    "bsonobjectid": _like(f"{_HEX}{{24}}"),
    "byte": _parses(lambda text: base64.b64decode(text, validate=True)),
    "cidr": _is_cidr,
    "creditcard": _is_card,
    "date": _parses(_day),
    "date-time": _parses(_instant),
    "datetime": _parses(_instant),
    "duration": lambda text: _DURATION.fullmatch(text) is not None,
    "email": _is_email,
    "hexcolor": _like(f"#?({_HEX}{{3}}|{_HEX}{{6}})"),
    "hostname": lambda text: _HOSTNAME.fullmatch(text) is not None,
    "ipv4": _parses(ipaddress.IPv4Address),
    "ipv6": _parses(ipaddress.IPv6Address),
    "isbn": lambda text: _is_isbn10(text) or _is_isbn13(text),
    "isbn10": _is_isbn10,
    "isbn13": _is_isbn13,
    "mac": _like(rf"({_HEX}{{2}}[:-]){{5}}{_HEX}{{2}}|({_HEX}{{4}}\.){{2}}{_HEX}{{4}}"),
    "password": lambda _text: True,
    "rgbcolor": _like(rf"rgb\(\s*{_BYTE}\s*,\s*{_BYTE}\s*,\s*{_BYTE}\s*\)"),
    "ssn": _like(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "uri": _is_uri,
    "uuid": _like(f"{_HEX}{{8}}-?({_HEX}{{4}}-?){{3}}{_HEX}{{12}}"),
    "uuid3": _uuid("3"),
    "uuid4": _uuid("4"),
    "uuid5": _uuid("5"),
}
KNOWN_FORMATS = frozenset((*FORMATS, "int32", "int64", "float", "double"))
