"""The small values that policies are made of: names, labels, selectors, ports, addresses. Knows no kind."""

import ipaddress
import re
from collections.abc import Mapping

from atoll.policies.validation.shapes import (
    FORBIDDEN,
    INVALID,
    NOT_SUPPORTED,
    REQUIRED,
    TOO_LONG,
    Findings,
    Shape,
    array,
    both,
    mapping,
    of_type,
    one_of,
    show,
    struct,
    text,
)

# apimachinery/pkg/util/validation: the rules every Kubernetes API server applies.
_DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_DNS_LABEL}(\.{_DNS_LABEL})*")
_NAME_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
# Cilium writes a label's source before its key (pkg/labels): k8s:app, any:app, reserved:host.
_CILIUM_SOURCE = re.compile(r"(any|k8s|reserved|cidr|cidrgroup|fqdn|node|unspec|container|kvstoremesh):")
_PORT_NAME = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")
_PREFIX_LENGTH = re.compile(r"/(0|[1-9][0-9]{0,2})$")

dns_subdomain = text(
    pattern=_SUBDOMAIN.pattern,
    says="is no DNS name: lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit",
    longest=253,
    shortest=1,
)
dns_label = text(
    pattern=_DNS_LABEL,
    says="is no DNS label: lower-case letters, digits and '-', beginning and ending with a letter or digit",
    longest=63,
    shortest=1,
)
label_value = text(
    pattern=r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?",
    says="is no label value: letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
    longest=63,
)


def label_key(value: object, path: str, out: Findings) -> None:
    """Accept a Kubernetes label key: an optional DNS name and '/', then a name of at most 63 characters."""
    if not of_type(value, path, out, (str, "a text")):
        return
    prefix, slash, name = str(value).rpartition("/")
    if slash and not (_SUBDOMAIN.fullmatch(prefix) and len(prefix) <= 253):
        out.add(path, INVALID, f"label key {show(value)}: the part before '/' is no DNS name")
    if len(name) > 63:
        out.add(path, TOO_LONG, f"label key {show(value)}: the name has more than 63 characters")
    elif not _NAME_PART.fullmatch(name):
        out.add(path, INVALID, f"label key {show(value)}: use letters, digits, '-', '_' and '.' for the name")


def cilium_label_key(value: object, path: str, out: Findings) -> None:
    """Accept a label key with an optional Cilium source such as k8s: or reserved:."""
    if not of_type(value, path, out, (str, "a text")):
        return
    key = _CILIUM_SOURCE.sub("", str(value), count=1)
    source, colon, _ = key.partition(":")
    if colon:
        hint = "before ':' stands where a label is from, which is k8s, any or reserved"
        out.add(path, INVALID, f"label key {show(key)}: {hint}, not {show(source)}")
    else:
        label_key(key, path, out)


def _values_fit_operator(value: object, path: str, out: Findings) -> None:
    if not isinstance(value, Mapping):
        return
    operator, values = value.get("operator"), value.get("values")
    if operator in ("In", "NotIn") and not values and (values is None or isinstance(values, list)):
        out.add(f"{path}.values", REQUIRED, f"operator {operator} needs at least one value")
    if operator in ("Exists", "DoesNotExist") and values:
        out.add(f"{path}.values", FORBIDDEN, f"operator {operator} takes no values; remove them")


def _selector(key: Shape) -> Shape:
    expression = struct(
        {
            "key": key,
            "operator": one_of("In", "NotIn", "Exists", "DoesNotExist"),
            "values": array(label_value),
        },
        required=("key", "operator"),
    )
    return struct(
        {
            "matchLabels": mapping(key, label_value),
            "matchExpressions": array(both(expression, _values_fit_operator)),
        }
    )


label_selector = _selector(label_key)
cilium_selector = _selector(cilium_label_key)


def cidr(value: object, path: str, out: Findings) -> None:
    """Accept an address range such as 10.0.0.0/8; a bare address needs its /32 or /128."""
    if of_type(value, path, out, (str, "an address range")) and parse_cidr(value) is None:
        bare = isinstance(value, str) and _is_address(value)
        hint = f"; write {value}/{'128' if ':' in str(value) else '32'}" if bare else ", such as 10.0.0.0/8"
        out.add(path, INVALID, f"{show(value)} is no address range{hint}")


def parse_cidr(value: object) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """Read a range, host bits masked as the datapath does, or give None."""
    if not isinstance(value, str) or not _PREFIX_LENGTH.search(value):
        return None
    try:
        return ipaddress.ip_network(value, strict=False)
    except ValueError:
        return None


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def except_inside(value: object, path: str, out: Findings, *, strict: bool) -> None:
    """Report exceptions that do not lie inside the range (`strict`: nor may they equal it)."""
    if not isinstance(value, Mapping) or not isinstance(value.get("except"), list):
        return
    whole = parse_cidr(value.get("cidr"))
    for index, written in enumerate(value["except"]):
        part = parse_cidr(written)
        if whole is None or part is None:
            continue
        inside = part.version == whole.version and part.subnet_of(whole)  # type: ignore[arg-type]  # same version
        if not inside or (strict and part == whole):
            wanted = "a true part of" if strict else "inside"
            out.add(f"{path}.except[{index}]", INVALID, f"{written} is not {wanted} {value['cidr']}")


def port_name(value: str) -> str | None:
    """Say what is wrong with a port name (IANA service name, RFC 6335), or None."""
    if len(value) > 15:
        return f"port name {show(value)} has more than 15 characters"
    if not _PORT_NAME.fullmatch(value) or not re.search("[A-Za-z]", value):
        return f"{show(value)} is neither a port number nor a port name (letters, digits and single '-', a letter)"
    return None


def cilium_port(value: object, path: str, out: Findings) -> None:
    """Accept a port number in quotes, 0 to 65535, or a port name."""
    if not of_type(value, path, out, (str, "a text")):
        return
    written = str(value)
    if not written:
        out.add(path, REQUIRED, 'must not be empty; "0" means every port')
    elif not re.fullmatch("[0-9]+", written):
        if wrong := port_name(written):
            out.add(path, INVALID, wrong)
    elif len(written) > 1 and written.startswith("0"):
        out.add(path, INVALID, f"{show(written)}: Cilium reads a leading zero as octal; write the number without it")
    elif int(written) > 65535:
        out.add(path, INVALID, f"{written} is not between 0 and 65535")


def kubernetes_port(value: object, path: str, out: Findings) -> None:
    """Accept a port number from 1 to 65535 or a port name."""
    if isinstance(value, str):
        if wrong := port_name(value):
            hint = "; write the number without quotes" if value.isdigit() else ""
            out.add(path, INVALID, wrong + hint)
        elif value != value.lower():
            out.add(path, INVALID, f"{show(value)}: a port name has lower-case letters only")
    elif of_type(value, path, out, (int, "a port number or name")) and not 1 <= int(str(value)) <= 65535:
        out.add(path, INVALID, f"{value} is not between 1 and 65535")


def unsupported(reason: str) -> Shape:
    """Refuse a field that is known but cannot be used, and say why."""

    def check(_value: object, path: str, out: Findings) -> None:
        out.add(path, NOT_SUPPORTED, reason)

    return check
