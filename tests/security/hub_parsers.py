"""Harnesses of what clients send to the hub: bodies, patches, selectors, manifests, tokens, certificates."""

import base64
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import yaml

from atoll.federation.errors import InvalidInput
from atoll.federation.resources import BY_NAME
from atoll.federation.resources.validation import parse, status_problems
from atoll.hub.access.certificates import holder, tls_extension
from atoll.hub.access.grant import Grant
from atoll.hub.access.tokens import parse_token
from atoll.hub.http.tokens import read_draft
from atoll.kubeapi.errors import ApiError
from atoll.kubeapi.http.negotiation import accepted, negotiate, read_body, repeated_fields
from atoll.kubeapi.jsonpath import find
from atoll.kubeapi.patch import json_patch, merge_patch
from atoll.kubeapi.protobuf import EVENT, decode
from atoll.kubeapi.selectors import Selector
from atoll.kubeapi.strategic import strategic_patch
from atoll.local.certificates import Pair, issue_ca, new_key
from security.fuzzing import Harness

_ROOT = Path(__file__).parents[2]
_NOW = datetime(2026, 11, 22, tzinfo=UTC)
_EXAMPLES = tuple(
    document
    for path in sorted((_ROOT / "examples").glob("[1-5]*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
)
_OBJECT: dict[str, Any] = {
    "metadata": {"name": "a", "finalizers": ["x/y"]},
    "spec": {"list": [1, 2], "map": {"k": "v"}},
}
_SCHEMA = {
    "properties": {
        "metadata": {"properties": {"finalizers": {"x-kubernetes-patch-strategy": "merge", "type": "array"}}},
        "spec": {"properties": {"list": {"type": "array"}}},
    }
}


# Resources.handle answers them as it does a refusal: the object is nested too deeply.
_REFUSALS = (ApiError, RecursionError)


def _json_body(data: bytes) -> None:
    repeated_fields(data, "application/json", read_body(data, "application/json"))


def _yaml_body(data: bytes) -> None:
    value = read_body(data, "application/yaml")
    repeated_fields(data, "application/yaml", value)
    orjson.dumps(value)


def _protobuf_body(data: bytes) -> None:
    decode(data, EVENT)


def _patches(data: bytes) -> None:
    """Each reads a patch in its own way; whether what comes of it can be stored, the store says."""
    patch = read_body(data, "application/json")
    merge_patch(_OBJECT, patch)
    strategic_patch(_OBJECT, patch, _SCHEMA)


def _json_patches(data: bytes) -> None:
    json_patch(_OBJECT, read_body(data, "application/json"))


def _selectors(data: bytes) -> None:
    text = data.decode(errors="replace")
    for labels, fields in ((text, ""), ("", text)):
        try:
            Selector.parse(labels, fields).matches(_OBJECT)
        except ApiError:
            continue


def _headers(data: bytes) -> None:
    text = data.decode("latin-1")
    accepted(text)
    negotiate(text)


def _manifest(data: bytes) -> None:
    """An object of any kind is taken, or all that is wrong with it is named; so is its status by itself."""
    value = read_body(data, "application/json")
    if not isinstance(value, dict):
        return
    kind = BY_NAME.get(str(value.get("kind")), BY_NAME["Job"])
    resource, problems = parse(kind, value)
    assert (resource is None) == bool(problems) and all(len(one.message) < 2000 for one in problems)
    if "status" in kind.model.model_fields:
        status_problems(kind, value.get("spec"))


def _token_request(data: bytes) -> None:
    read_draft(read_body(data, "application/json"), _NOW)


def _grant(data: bytes) -> None:
    Grant.parse(data.decode(errors="replace"))
    parse_token(data.decode(errors="replace"))


def _certificate(data: bytes) -> None:
    with warnings.catch_warnings():  # of serial numbers below one, which this suite would take for an error
        warnings.simplefilter("ignore")
        holder(tls_extension(data, "TLSv1.3"), _NOW)


def _columns(data: bytes) -> None:
    find(data.decode(errors="replace"), {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})


def _der(now: datetime) -> bytes:
    key = new_key()
    lines = Pair(issue_ca(key, now=now), key).certificate.splitlines()
    return base64.b64decode(b"".join(line for line in lines if not line.startswith(b"-")))


_DER = _der(_NOW - timedelta(days=1))
_MANIFESTS = tuple(orjson.dumps(each) for each in _EXAMPLES)
# Deeper than orjson writes, and no deeper than it reads.
_DEEP = tuple(begin * 600 + b"1" + end * 600 for begin, end in ((b"[", b"]"), (b'{"spec":', b"}")))
_JSON_PIECES = (
    (b"[", b"[", b""), (b"", b'{"a":', b"1"), (b'{"a":1,"a":', b'{"a":', b"1" + b"}" * 600), (b"[", b"1,", b"1]"),
    (b"{", b'"a":1,', b'"b":2}'), (b'"', b"\\u0022", b'"'), (b'{"a":1,"a":' + b"[" * 1000, b" ", b"]" * 1000 + b"}"),
)  # fmt: skip
_COPY = b'{"op":"copy","from":"/spec","path":"/spec/%s"},'
_GROW = b"".join(_COPY % name for name in (b"a", b"b", b"c", b"d", b"e", b"f"))

HARNESSES = (
    Harness("body-json", _json_body, _REFUSALS, (_MANIFESTS[0], b'{"a":1,"a":[{"b":2,"b":3}]}', *_DEEP), _JSON_PIECES),
    Harness("body-yaml", _yaml_body, (ApiError,), (yaml.safe_dump(_EXAMPLES[0]).encode(), b"a: &x {b: 1}\nc: *x\n"), (
        (b"", b"- ", b"a"), (b"", b"{", b""), (b"a: &a [x]\nb: [", b"*a,", b"*a]"), (b"", b"a: 1\n", b""),
        (b"a: ", b"1", b""), (b"a: &a {b: 1}\nc:\n", b"  - <<: *a\n", b""), (b"? ", b"[", b""), (b"", b"0x", b""),
        (b"", b"? ", b""), (b"a: ", b"1_", b""), (b"a: 1", b"e1", b""),
    )),
    Harness("body-protobuf", _protobuf_body, (ApiError,), (
        b"k8s\0\n\x0b\n\x02v1\x12\x05Event\x12\x05\n\x03\n\x01a", b"k8s\0\x12\x04\x08\x05\x18\x01",
    ), ((b"k8s\0\x12\xff\xff\x7f", b"\n\x02\n\0", b""), (b"k8s\0", b"\x08\x01", b""), (b"k8s\0", b"\x12", b""))),
    Harness("patch-json", _json_patches, _REFUSALS, (
        b'[{"op":"add","path":"/spec/list/-","value":3},{"op":"copy","from":"/spec","path":"/spec/a"},'
        b'{"op":"test","path":"/metadata/name","value":"a"},{"op":"move","from":"/spec/map","path":"/spec/b"},'
        b'{"op":"remove","path":"/spec/list/0"},{"op":"replace","path":"","value":{}}]',
        b'[{"op":"add","path":"/spec/a","value":%b}]' % _DEEP[0],
    ), ((b"[", _GROW, b'{"op":"test","path":"","value":1}]'), (b"[", _COPY % b"a", b'{"op":"x"}]'),
        (b'[{"op":"add","path":"', b"/a", b'","value":1}]'), (b'[{"op":"remove","path":"/spec/list/', b"1", b'"}]'))),
    Harness("patch-merge", _patches, _REFUSALS, (
        b'{"spec":{"list":null,"map":{"$retainKeys":["k"],"k":"w"}},"metadata":{"finalizers":["a/b"]}}',
        b'{"metadata":{"$setElementOrder/finalizers":["a"],"$deleteFromPrimitiveList/finalizers":["x/y"]},"$patch":"merge"}',
        *_DEEP,
    ), ((b"", b'{"a":', b"1"), (b'{"metadata":{"finalizers":[', b"[],", b"1]}}"))),
    Harness("selector", _selectors, (), (b"a in (b, c),!d,e=f,g>1", b"metadata.name=a,spec.x!=y", b"x/y notin (z)"), (
        (b"", b"(,", b""), (b"a", b" ", b"b"), (b"a in (", b"b,", b")"), (b"", b"a=b,", b""), (b"a in ", b"(", b""),
        (b"a", b"-", b"!"), (b"a", b".", b"/b"), (b"", b"a ", b"in"), (b"a=", b" ", b"x=y"),
        (b"a>", b"1", b""),
    )),
    Harness("accept-header", _headers, (ApiError,), (
        b"application/json;as=Table;g=meta.k8s.io;v=v1, application/yaml;q=0.9, */*",
    ), ((b"", b"a/b;c=d,", b""), (b"a/b", b";c=d", b""))),
    Harness("manifest", _manifest, (ApiError,), (*_MANIFESTS, *_DEEP), (
        (b'{"kind":"Job","metadata":{},"spec":{', b'"a":1,', b'"b":2}}'),
        (b'{"kind":"Job","metadata":{},"spec":{', b'"%s":1,' % (b"inputz" * 3), b'"b":2}}'),
        (b'{"kind":"Job","metadata":{},"spec":{"inputs":[', b"{},", b"1]}}"),
        (b'{"kind":"Stream","metadata":{"name":"a"},"spec":{"dataset":"', b"{field[", b'"}}'),
        (b'{"kind":"Stream","metadata":{"name":"a"},"spec":{"topics":["', b"a/", b'"]}}'),
        (b'{"kind":"Trigger","metadata":{"name":"a"},"spec":{"job":{"spec":{', b'"a":1,', b'"b":2}}}}'),
    )),
    Harness("token-request", _token_request, (ApiError,), (
        b'{"user":"a","groups":["g"],"description":"x","lifetimeSeconds":900}',
        b'{"user":"a","grant":{"role":"Viewer","namespaces":["a"]},"expiresAt":"2026-12-01T00:00:00Z"}',
    )),
    Harness("grant", _grant, (InvalidInput,), (
        b'{"role":"Submitter","namespaces":["a"],"queues":["q"]}', b"atoll_0_1",
    )),
    Harness("client-certificate", _certificate, (), (_DER,)),
    Harness("json-path", _columns, (ValueError,), (b'.status.conditions[?(@.type=="Ready")].status', b".a[*].b[-1]"), (
        (b".", b"\\a", b"["), (b"", b"[*]", b""), (b"", b".*", b""), (b".a", b"\\", b""), (b"[?(@.a==", b" ", b"x"),
    )),
)  # fmt: skip
