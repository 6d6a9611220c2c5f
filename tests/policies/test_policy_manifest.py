"""Policy files become manifests, or problems that name file, line and field."""

import copy
import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from atoll.policies.features import Features
from atoll.policies.manifest import KINDS, Origin, Parsed, parse_file

VALID = """\
# allow web to reach api
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: api
  namespace: prod
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
    - fromEndpoints:
        - matchLabels: {"k8s:app": web}
      toPorts:
        - ports: [{port: "80", endPort: 90, protocol: TCP}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {}}
"""


def fields(parsed: Parsed) -> dict[str, str]:
    """Give what is wrong by field."""
    return {problem.field: problem.message for problem in parsed.problems}


def policy(spec: str, kind: str = "CiliumNetworkPolicy") -> str:
    """Write a policy with a spec in flow style."""
    return f"{{apiVersion: cilium.io/v2, kind: {kind}, metadata: {{name: p}}, spec: {spec}}}"


def test_every_document_of_a_file_becomes_a_manifest_with_its_line() -> None:
    parsed = parse_file(VALID, "a/b.yaml")
    assert parsed.problems == ()
    first, second = parsed.manifests
    assert (first.kind, first.namespace, first.name) == ("CiliumNetworkPolicy", "prod", "api")
    assert first.origin == Origin("a/b.yaml", 2)
    assert (second.namespace, second.origin.line) == ("default", 15)
    assert first.line_of("spec.ingress[0].toPorts[0].ports") == 13
    assert first.line_of("spec.ingress[0].nothing.like.this") == 10


def test_all_problems_of_all_documents_are_reported_at_once_with_line_and_path() -> None:
    text = VALID.replace('"80"', "80").replace('k8s:app": web', 'k8s:a b": -x').replace("podSelector", "podselector")
    parsed = parse_file(text, "p.yaml")
    assert [(problem.line, problem.field) for problem in parsed.problems] == [
        (11, "spec.ingress[0].fromEndpoints[0].matchLabels.k8s:a b"),
        (11, "spec.ingress[0].fromEndpoints[0].matchLabels.k8s:a b"),
        (13, "spec.ingress[0].toPorts[0].ports[0].port"),
        (18, "spec.podSelector"),
        (18, "spec.podselector"),
    ]
    assert parsed.manifests == ()
    assert str(parsed.problems[2]) == (
        "p.yaml:13: spec.ingress[0].toPorts[0].ports[0].port: 80 is not a text; put it in quotes"
    )
    assert parsed.problems[4].message == "unknown field; did you mean podSelector?"


def test_a_good_document_beside_a_bad_one_is_still_given() -> None:
    parsed = parse_file(VALID.replace("podSelector", "podSelektor"), "p.yaml")
    assert [manifest.name for manifest in parsed.manifests] == ["api"]
    assert {problem.line for problem in parsed.problems} == {18}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    {
        "broken syntax": ("a: [1,\nb: 2\n", 3, "no valid YAML"),
        "tab as indentation": ("a:\n\tb: 1\n", 2, "no valid YAML"),
        "control character": ("a: \x00", 1, "no valid YAML"),
        "foreign tag": ("a: !!python/object:os.system {}\n", 1, "is required"),
        "a list": ("- a\n", 1, "is no Kubernetes object"),
        "a key that is a list": ("? [a]\n: b\n", 1, "a key must be a plain word"),
        "unknown kind": ("kind: Deployment\napiVersion: apps/v1\n", 1, "'Deployment' is no policy"),
        "no kind": ("apiVersion: v1\n", 1, "is required: one of"),
        "wrong group": ("kind: NetworkPolicy\napiVersion: v1\n", 2, "write networking.k8s.io/v1"),
        "depth": ("a: " + "[" * 80 + "]" * 80, 1, "too large or too deep"),
    }.values(),
    ids=lambda value: str(value)[:12],
)
def test_text_that_is_no_policy_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    parsed = parse_file(text, "x.yaml")
    assert parsed.manifests == ()
    assert any(problem.line == line and says in problem.message for problem in parsed.problems), parsed.problems


def test_a_key_given_twice_is_refused_because_an_api_server_would_keep_only_one() -> None:
    parsed = parse_file(VALID.replace("  name: api\n", "  name: api\n  name: other\n"), "p.yaml")
    assert fields(parsed) == {"metadata.name": "is given twice"}
    assert parsed.problems[0].line == 6


def test_an_alias_bomb_ends_in_a_message() -> None:
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))
    parsed = parse_file(f"a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n{levels}\n", "bomb.yaml")
    assert "too large or too deep" in parsed.problems[0].message


def test_anchors_and_merge_keys_are_read_as_kubernetes_reads_them() -> None:
    text = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: p, labels: &shared {team: a}, annotations: {<<: *shared, team: b}}
spec: {endpointSelector: {matchLabels: {<<: *shared, app: x}}, ingress: [{}]}
"""
    (manifest,) = parse_file(text, "p.yaml").manifests
    assert manifest.body["spec"]["endpointSelector"] == {"matchLabels": {"team": "a", "app": "x"}}
    assert manifest.annotations == {"team": "b"}


def test_dates_and_colon_numbers_stay_text_as_in_kubernetes() -> None:
    spec = "{endpointSelector: {}, ingress: [{}], description: 2026-01-01}"
    (manifest,) = parse_file(policy(spec), "p.yaml").manifests
    assert manifest.body["spec"]["description"] == "2026-01-01"
    labelled = policy("{endpointSelector: {matchLabels: {slot: 12:30}}, ingress: [{}]}")
    assert "'12:30' is no label value" in next(iter(fields(parse_file(labelled, "p")).values()))


def test_what_kubectl_writes_by_itself_is_dropped_and_what_it_reads_back_is_refused() -> None:
    text = (
        "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, status: {}, "
        "metadata: {name: p, creationTimestamp: null}, spec: {podSelector: {matchLabels: null}}}"
    )
    (manifest,) = parse_file(text, "p.yaml").manifests
    assert manifest.body == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"podSelector": {}},
    }
    exported = text.replace("creationTimestamp: null", "uid: x, resourceVersion: '1'")
    assert fields(parse_file(exported, "p.yaml")) == {
        "metadata.uid": "is written by the API server; remove it",
        "metadata.resourceVersion": "is written by the API server; remove it",
    }


@pytest.mark.parametrize("annotation", ["atoll.dev/clusters", "atoll.dev/cluster-group"])
def test_a_cluster_selector_that_cannot_be_read_is_refused(annotation: str) -> None:
    text = VALID.replace("  name: api\n", f"  name: api\n  annotations: {{{annotation}: 'region in eu'}}\n")
    parsed = parse_file(text, "p.yaml")
    assert list(fields(parsed)) == [f"metadata.annotations.{annotation}"]
    assert "is no label requirement" in parsed.problems[0].message


@pytest.mark.parametrize(
    ("spec", "field", "says"),
    {
        "trap: default deny without a rule": (
            "{endpointSelector: {}, ingress: [{}], enableDefaultDeny: {egress: true}}",
            "spec.enableDefaultDeny.egress",
            "add egress: [{}]",
        ),
        "trap: octal port": (
            '{endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: "010"}]}]}]}',
            "spec.ingress[0].toPorts[0].ports[0].port",
            "octal",
        ),
        "look-ahead": (
            '{endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: "80", protocol: TCP}], '
            'rules: {http: [{path: "/(?=a)"}]}}]}]}',
            "spec.ingress[0].toPorts[0].rules.http[0].path",
            "look-around",
        ),
        "dns on ingress": (
            '{endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: "53"}], rules: {dns: [{matchName: a}]}}]}]}',
            "spec.ingress[0].toPorts[0].rules.dns",
            "egress only",
        ),
        "server names beside L7": (
            '{endpointSelector: {}, egress: [{toPorts: [{ports: [{port: "443", protocol: TCP}], serverNames: [a.b], '
            "rules: {http: [{}]}}]}]}",
            "spec.egress[0].toPorts[0].serverNames",
            "terminatingTLS",
        ),
        "toFQDNs in deny": (
            "{endpointSelector: {}, egressDeny: [{toFQDNs: [{matchName: a}]}]}",
            "spec.egressDeny[0].toFQDNs",
            "unknown field",
        ),
    }.values(),
)
def test_rules_that_span_fields_are_checked(spec: str, field: str, says: str) -> None:
    found = fields(parse_file(policy(spec), "p.yaml"))
    assert list(found) == [field]
    assert says in found[field]


def test_features_of_the_agents_decide_about_node_selectors_and_extended_protocols() -> None:
    text = policy(
        "{endpointSelector: {}, ingress: [{fromNodes: [{}]}, {toPorts: [{ports: [{protocol: VRRP}]}]}]}",
        "CiliumClusterwideNetworkPolicy",
    )
    assert len(parse_file(text, "p").problems) == 2
    assert parse_file(text, "p", Features(node_selector_labels=True, extended_ip_protocols=True)).problems == ()


def test_every_malformed_policy_of_the_corpus_is_refused_with_a_reason(corpus: Path) -> None:
    accepted = []
    with gzip.open(corpus / "verdicts" / "invalid.jsonl.gz", "rt") as lines:
        cases = [json.loads(line) for line in lines]
    for case in cases:
        problems = parse_file(json.dumps(case["policy"], indent=1), "p.json").problems
        if not problems or not all(problem.message and problem.reason for problem in problems):
            accepted.append((case["id"], case["constraint"]))
    assert accepted == []
    assert len(cases) == 228


# Files of the corpus that are no valid policy today, and why.
NOT_VALID = {
    "auth.yaml": "unknown field",
    "requires.yaml": "was removed from Cilium",
    "demo-pods.yaml": "is no policy",
}


def test_every_valid_policy_that_people_wrote_is_accepted(corpus: Path) -> None:
    files = [
        *sorted((corpus / "policies" / "cilium-examples" / "policies").rglob("*.yaml")),
        *sorted((corpus / "policies" / "networkpolicy-recipes").glob("*.yaml")),
    ]
    features = Features(node_selector_labels=True, extended_ip_protocols=True)
    kinds = set()
    for file in files:
        parsed = parse_file(file.read_text(), file.name, features)
        if file.name in NOT_VALID:
            assert any(NOT_VALID[file.name] in problem.message for problem in parsed.problems)
        else:
            assert parsed.problems == (), file
            kinds |= {manifest.kind for manifest in parsed.manifests}
    assert len(files) > 60
    assert kinds == {"NetworkPolicy", "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"}


_scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
_json = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
_WORDS = """spec specs ingress egress endpointSelector podSelector matchLabels matchExpressions fromEndpoints toPorts
ports rules http dns from to subject tier icmps fields"""
_words = st.sampled_from(_WORDS.split())
_shaped = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=4),
    max_leaves=20,
)


@given(st.sampled_from(KINDS), _json | _shaped)
def test_no_value_whatever_makes_the_parser_fail_in_another_way_than_by_problems(kind: str, spec: object) -> None:
    versions = {"NetworkPolicy": "networking.k8s.io/v1", "ClusterNetworkPolicy": "policy.networking.k8s.io/v1alpha2"}
    body = {"apiVersion": versions.get(kind, "cilium.io/v2"), "kind": kind, "metadata": {"name": "p"}}
    parsed = parse_file(json.dumps({**body, "spec": spec}), "p.json")
    assert parsed.problems or len(parsed.manifests) == 1
    parsed = parse_file(json.dumps({**body, "specs": spec}), "p.json")
    assert parsed.problems or len(parsed.manifests) == 1


@pytest.mark.parametrize("text", ["[" * 500_000, "{a: " * 300_000, "- " * 300_000, "? " * 200_000, "a: &a [*a]"])
def test_a_tower_of_brackets_ends_in_a_message_and_not_in_the_end_of_the_process(text: str) -> None:
    (problem,) = parse_file(text, "deep.yaml").problems
    assert "too large or too deep" in problem.message


def test_a_bomb_of_merge_keys_ends_in_a_message() -> None:
    base = ", ".join(f"k{n}: v" for n in range(10))
    levels = "\n".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 10))
    (problem,) = parse_file(f"a0: &a0 {{{base}}}\n{levels}\n", "bomb.yaml").problems
    assert "too large or too deep" in problem.message


RICH = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: p, namespace: prod, labels: {a: b}, annotations: {atoll.dev/clusters: site=lab}}
spec:
  endpointSelector: {matchLabels: {app: a}, matchExpressions: [{key: tier, operator: In, values: [x]}]}
  enableDefaultDeny: {ingress: true}
  labels: [{key: k, source: s, value: v}]
  log: {value: seen}
  ingress:
    - fromEndpoints: [{matchLabels: {app: b}}]
      toPorts:
        - ports: [{port: "80", endPort: 90, protocol: TCP}]
          rules: {http: [{method: GET, path: /a.*, headerMatches: [{name: x, mismatch: LOG}]}]}
      authentication: {mode: required}
    - fromEntities: [cluster]
      icmps: [{fields: [{type: EchoRequest, family: IPv6}]}]
  egress:
    - toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}, {cidrGroupSelector: {matchLabels: {env: prod}}}]
    - toFQDNs: [{matchPattern: "*.example.org"}]
      toPorts: [{ports: [{port: "53"}], rules: {dns: [{matchName: a.org}]}}]
    - toServices: [{k8sService: {serviceName: s, namespace: n}}]
  egressDeny:
    - toNodes: [{matchLabels: {a: b}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p}
spec:
  podSelector: {matchLabels: {app: a}}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{podSelector: {}, namespaceSelector: {}}], ports: [{port: 80, endPort: 90, protocol: TCP}]}]
  egress: [{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], ports: [{port: http}]}]
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: p}
spec:
  tier: Admin
  priority: 5
  subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {a: b}}}}
  ingress: [{name: i, action: Deny, from: [{namespaces: {}}], protocols: [{tcp: {destinationPort: {number: 80}}}]}]
  egress:
    - action: Accept
      to: [{networks: [10.0.0.0/8]}, {domainNames: ["*.example.org"]}]
      protocols: [{udp: {destinationPort: {range: {start: 1, end: 9}}}}]
---
apiVersion: cilium.io/v2
kind: CiliumCIDRGroup
metadata: {name: g}
spec: {externalCIDRs: [10.0.0.0/8]}
"""


def places(value: object, path: tuple = ()) -> Iterator[tuple]:
    """Give the path of everything within a value."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield (*path, key)
        yield from places(member, (*path, key))


def replaced(body: dict, path: tuple, value: object) -> dict:
    """Give a copy with another value at a path."""
    changed = copy.deepcopy(body)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return changed


@pytest.mark.parametrize("body", list(yaml.safe_load_all(RICH)), ids=lambda body: body["kind"])
def test_a_value_of_another_kind_anywhere_is_refused_by_its_name_and_never_ends_in_a_crash(body: dict) -> None:
    features = Features(node_selector_labels=True)
    assert parse_file(json.dumps(body), "p.yaml", features).problems == ()
    for path in places(body):
        for value in ({"x": [1]}, [["x"]], [None], -7.5):
            problems = parse_file(json.dumps(replaced(body, path, value)), "p.yaml", features).problems
            assert problems, (path, value)
            assert all(problem.message and (problem.field or path[0] == "kind") for problem in problems), problems
