"""The shape of Cilium's policies: CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy, CiliumCIDRGroup (cilium.io/v2).

Follows the CRDs of Cilium 1.20; fields that older versions lack are the compiler's business.
Rules that span several fields are in `cilium_rules.py`.
"""

import re
import warnings
from collections.abc import Mapping

from atoll.policies.validation.icmp import TYPES
from atoll.policies.validation.shapes import (
    INVALID,
    NOT_SUPPORTED,
    Findings,
    Shape,
    anything,
    array,
    boolean,
    both,
    integer,
    mapping,
    of_type,
    one_of,
    show,
    struct,
    text,
)
from atoll.policies.validation.values import (
    cidr,
    cilium_port,
    cilium_selector,
    dns_subdomain,
    except_inside,
    label_selector,
    unsupported,
)

ENTITIES = (
    "all",
    "world",
    "cluster",
    "host",
    "init",
    "ingress",
    "unmanaged",
    "remote-node",
    "health",
    "none",
    "kube-apiserver",
)
PORTLESS_PROTOCOLS = ("VRRP", "IGMP", "GRE", "IPIP", "IPV6", "ESP", "AH")
_PROTOCOLS = ("TCP", "UDP", "SCTP", "ANY", *PORTLESS_PROTOCOLS)
_MOST_PORTS = 40  # MaxPorts and MaxICMPFields, pkg/policy/api/rule_validation.go


def _go_regex(value: object, path: str, out: Findings) -> None:
    """Accept what Go's regexp reads: RE2, without look-around and back-references."""
    if not of_type(value, path, out, (str, "a text")):
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # Python warns of [[:alpha:]], which RE2 knows
            re.compile(str(value))
    except (re.error, RecursionError, OverflowError) as error:
        out.add(path, INVALID, f"{show(value)} is no regular expression: {error}")
        return
    if re.search(r"\(\?(<?[=!]|>|\()|\\[1-9]|\(\?P=", str(value)):
        out.add(path, INVALID, f"{show(value)}: Cilium's regular expressions have no look-around or back-references")


def _icmp_field(value: object, path: str, out: Findings) -> None:
    if not isinstance(value, Mapping):
        return
    family, kind = value.get("family", "IPv4"), value.get("type")
    if not isinstance(family, str) or family not in TYPES:
        return
    if isinstance(kind, str) and not re.fullmatch("0|[1-9][0-9]*", kind):
        if kind not in TYPES[family]:
            out.add(f"{path}.type", NOT_SUPPORTED, f"{show(kind)} is no {family} ICMP type: {', '.join(TYPES[family])}")
    elif isinstance(kind, int | str) and not 0 <= int(kind) <= 255:
        out.add(f"{path}.type", INVALID, f"{kind} is not between 0 and 255")


def _icmp_type(value: object, path: str, out: Findings) -> None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        of_type(value, path, out, (int, "an ICMP type number or name"))


_icmps = array(
    struct(
        {
            "fields": array(
                both(struct({"family": one_of("IPv4", "IPv6"), "type": _icmp_type}, required=("type",)), _icmp_field),
                most=_MOST_PORTS,
            )
        }
    )
)
_cidr_set_item = both(
    struct(
        {"cidr": cidr, "cidrGroupRef": dns_subdomain, "cidrGroupSelector": label_selector, "except": array(cidr)},
        exactly_one=("cidr", "cidrGroupRef", "cidrGroupSelector"),
    ),
    lambda value, path, out: except_inside(value, path, out, strict=False),
)
_NAME = r"[-a-zA-Z0-9_]+([.][-a-zA-Z0-9_]+)*[.]?"
_PATTERN = r"[-a-zA-Z0-9_*]+([.][-a-zA-Z0-9_*]+)*[.]?"
_fqdn = struct(
    {
        "matchName": text(pattern=_NAME, says="is no domain name", longest=255),
        "matchPattern": text(pattern=_PATTERN, says="is no domain pattern (only '*' is special)", longest=255),
    },
    exactly_one=("matchName", "matchPattern"),
)
_group = struct(
    {
        "aws": struct(
            {
                "labels": mapping(anything, text()),
                "region": text(),
                "securityGroupsIds": array(text()),
                "securityGroupsNames": array(text()),
            }
        )
    },
    required=("aws",),
)
_service = struct(
    {
        "k8sService": struct({"serviceName": dns_subdomain, "namespace": dns_subdomain}, required=("serviceName",)),
        "k8sServiceSelector": struct({"selector": label_selector, "namespace": dns_subdomain}, required=("selector",)),
    },
    exactly_one=("k8sService", "k8sServiceSelector"),
)

_secret = struct({"name": text(shortest=1), "namespace": text()}, required=("name",))
_tls = struct(
    {"secret": _secret, "certificate": text(), "privateKey": text(), "trustedCA": text()}, required=("secret",)
)
_http = struct(
    {
        "method": _go_regex,
        "path": _go_regex,
        "host": _go_regex,
        "headers": array(text()),
        "headerMatches": array(
            struct(
                {
                    "name": text(shortest=1),
                    "value": text(),
                    "secret": _secret,
                    "mismatch": one_of("LOG", "ADD", "DELETE", "REPLACE"),
                },
                required=("name",),
            )
        ),
    }
)
_port = struct({"port": cilium_port, "endPort": integer(0, 65535), "protocol": one_of(*_PROTOCOLS)})
_listener = struct(
    {
        "envoyConfig": struct(
            {"kind": one_of("CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig"), "name": text(shortest=1)},
            required=("name",),
        ),
        "name": text(shortest=1),
        "priority": integer(1, 100),
    },
    required=("envoyConfig", "name"),
)
_removed_l7 = unsupported("was removed in Cilium 1.20; use http or dns rules")
_l7 = struct(
    {
        "http": array(_http),
        "dns": array(_fqdn),
        "kafka": _removed_l7,
        "l7proto": _removed_l7,
        "l7": _removed_l7,
    },
    exactly_one=("http", "dns"),
)
_ports_allow = array(
    struct(
        {
            "ports": array(_port, most=_MOST_PORTS),
            "rules": _l7,
            "serverNames": array(text(pattern=_PATTERN, says="is no server name", longest=255), least=1),
            "terminatingTLS": _tls,
            "originatingTLS": _tls,
            "listener": _listener,
        }
    )
)
_ports_deny = array(struct({"ports": array(_port, most=_MOST_PORTS)}))
_authentication = struct({"mode": one_of("disabled", "required", "test-always-fail")}, required=("mode",))
_requires = unsupported("was removed from Cilium; write the condition into the peer's selector")


def _peers(side: str) -> dict[str, Shape]:
    return {
        f"{side}Endpoints": array(cilium_selector),
        f"{side}CIDR": array(cidr),
        f"{side}CIDRSet": array(_cidr_set_item),
        f"{side}Entities": array(one_of(*ENTITIES)),
        f"{side}Groups": array(_group),
        f"{side}Nodes": array(cilium_selector),
        f"{side}Requires": _requires,
        "icmps": _icmps,
    }


_rule = struct(
    {
        "endpointSelector": cilium_selector,
        "nodeSelector": cilium_selector,
        "ingress": array(struct(_peers("from") | {"toPorts": _ports_allow, "authentication": _authentication})),
        "ingressDeny": array(struct(_peers("from") | {"toPorts": _ports_deny})),
        "egress": array(
            struct(
                _peers("to")
                | {
                    "toServices": array(_service),
                    "toFQDNs": array(_fqdn),
                    "toPorts": _ports_allow,
                    "authentication": _authentication,
                }
            )
        ),
        "egressDeny": array(struct(_peers("to") | {"toServices": array(_service), "toPorts": _ports_deny})),
        "enableDefaultDeny": struct({"ingress": boolean, "egress": boolean}),
        "labels": array(struct({"key": text(), "source": text(), "value": text()}, required=("key",))),
        "description": text(),
        "log": struct({"value": text(longest=32)}),
    }
)
POLICY: Mapping[str, Shape] = {"spec": _rule, "specs": array(_rule)}
CIDR_GROUP: Mapping[str, Shape] = {"spec": struct({"externalCIDRs": array(cidr)}, required=("externalCIDRs",))}
