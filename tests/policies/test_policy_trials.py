"""Policy tests: what a file states is judged as the clusters' engines would, and every slip in it is named."""

from typing import Any

import pytest
import yaml

from atoll.policies.manifest import Manifest, parse_file
from atoll.policies.trials.fleet import Fleet, targets_of
from atoll.policies.trials.markdown import LONGEST, to_markdown
from atoll.policies.trials.plan import ClusterChange, Plan, make_plan
from atoll.policies.trials.reach import find_reaches, to_mermaid, to_svg
from atoll.policies.trials.scenario import Scenario, parse_port, parse_scenarios
from atoll.policies.trials.trial import run_trial
from atoll.policies.verdict import Flow

DENY_ALL = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: web}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""
OPEN_HTTPS = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: https, namespace: web}
spec:
  podSelector: {}
  ingress:
    - from: [{podSelector: {matchLabels: {app: portal}}}]
      ports: [{port: 443}, {port: 8000, endPort: 8010}]
"""


def manifests(*texts: str) -> tuple[Manifest, ...]:
    parsed = [parse_file(text, f"{index}.yaml") for index, text in enumerate(texts)]
    assert not any(one.problems for one in parsed)
    return tuple(manifest for one in parsed for manifest in one.manifests)


def stated(**changes: Any) -> str:
    test: dict[str, Any] = {
        "apiVersion": "atoll.dev/v1alpha1",
        "kind": "PolicyTest",
        "metadata": {"name": "web"},
        "workloads": {
            "portal": {"namespace": "web", "labels": {"app": "portal"}},
            "server": {"namespace": "web", "labels": {"app": "server"}, "ports": {"https": 443}},
            "internet": {"address": "8.8.8.8"},
        },
        "flows": [{"from": "portal", "to": "server", "port": 443, "expect": "Allow"}],
    }
    return yaml.safe_dump(test | changes)


def scenario(**changes: Any) -> Scenario:
    parsed = parse_scenarios(stated(**changes), "web.policytest.yaml")
    assert parsed.problems == ()
    return parsed.scenarios[0]


def test_a_flow_that_is_as_expected_passes_and_another_tells_which_rule_decided() -> None:
    flows = [
        {"from": "portal", "to": "server", "port": [443, 8005], "expect": "Allow"},
        {"from": "internet", "to": "server", "port": 443, "expect": "Allow", "why": "so they say"},
    ]
    result = run_trial(scenario(flows=flows), manifests(DENY_ALL, OPEN_HTTPS))
    assert [outcome.holds for outcome in result.outcomes] == [True, True, False]
    assert "1.yaml" in result.outcomes[0].deciding[1] and "spec.ingress[0]" in result.outcomes[0].deciding[1]
    assert result.outcomes[2].deciding == (
        "egress: no policy can apply to 8.8.8.8",
        "ingress: denied, policies select it in this direction and none of their rules allows this",
    )
    assert not result.passed


def test_a_workload_without_a_cluster_runs_in_each_and_its_bare_name_means_all_of_them() -> None:
    clusters: dict[str, Any] = {"a": {}, "b": {"cni": "calico"}}
    flows = [{"from": "portal@a", "to": "server", "port": 443, "expect": "Deny"}]
    both = scenario(clusters=clusters, flows=flows)
    assert set(both.parties) == {"portal@a", "portal@b", "server@a", "server@b", "internet"}
    result = run_trial(both, manifests(OPEN_HTTPS))
    # In its own cluster the portal is let in; to the other's engine it is an address like any other.
    assert {o.expectation.destination: o.holds for o in result.outcomes} == {"server@a": False, "server@b": True}


def test_a_cluster_that_cannot_enforce_a_policy_fails_the_test_and_names_the_rule() -> None:
    only_cilium = """
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: entities}
spec: {endpointSelector: {}, ingress: [{fromEntities: [cluster]}]}
"""
    result = run_trial(scenario(clusters={"lab": {"cni": "kube-router"}}), manifests(only_cilium))
    assert not result.passed
    assert "lab: 0.yaml" in result.unenforceable[0] and "only Cilium enforces" in result.unenforceable[0]


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"flows": []}, "flows", "at least 1"),
        ({"workloads": {"x": {}}}, "workloads.x", "say what it is"),
        ({"workloads": {"x": {"address": "1.2.3"}}}, "workloads.x", "does not appear to be"),
        ({"workloads": {"x": {"address": "1.2.3.4", "labels": {"a": "b"}}}}, "workloads.x", "only a pod"),
        ({"workloads": {"a@b": {"namespace": "web"}}}, "workloads.a@b", "meaning of their own"),
        ({"workloads": {"x": {"namespace": "web", "cluster": "far"}}}, "workloads.x.cluster", "none of the clusters"),
        ({"flows": [{"from": "nobody", "to": "server", "port": 1, "expect": "Deny"}]}, "flows[0].from", "'nobody'"),
        ({"flows": [{"from": "portal", "to": "server", "port": "x", "expect": "Deny"}]}, "flows[0].port", "no port"),
        ({"flows": [{"from": "portal", "to": "server", "port": 1, "expect": "Maybe"}]}, "flows[0].expect", "'Allow'"),
        ({"clusters": {"c": {"kindsServed": ["Pod"]}}}, "clusters.c", "no policy"),
        ({"colour": "red"}, "colour", "no field"),
    ],
)
def test_a_slip_in_a_test_is_named_with_its_line_and_field(changes: dict[str, Any], field: str, says: str) -> None:
    problems = parse_scenarios(stated(**changes), "web.policytest.yaml").problems
    assert any(problem.field == field and says in problem.message and problem.line > 0 for problem in problems), (
        problems
    )


@pytest.mark.parametrize(
    ("text", "found"), [("443", (443, "TCP")), (53, (53, "TCP")), ("53/udp", (53, "UDP")), ("8/ICMP", (8, "ICMP"))]
)
def test_ports_are_read_as_people_write_them(text: str | int, found: tuple[int, str]) -> None:
    assert parse_port(text) == found


@pytest.mark.parametrize("text", ["", "http", "70000", "53/XYZ", "-1"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no port"):
        parse_port(text)


def test_reaches_are_exact_at_every_port() -> None:
    """Asked at all 65,536 ports, the engine agrees with the spans that were found by asking a few."""
    stated = scenario()
    fleet = Fleet(manifests(DENY_ALL, OPEN_HTTPS), targets_of(stated.clusters))
    found = {(r.source, r.destination): r for r in find_reaches(fleet, stated.parties)}
    assert found["portal", "server"].ports == "443/TCP, 8000-8010/TCP"
    assert found["internet", "server"].ports == "nothing"
    assert found["server", "internet"].is_everything
    spans = found["portal", "server"].spans
    for port in range(65536):
        allowed = fleet.judge(Flow(stated.parties["portal"], stated.parties["server"], port)).allowed
        assert allowed == any(span.first <= port <= span.last for span in spans if span.protocol == "TCP")


def test_the_drawings_name_everybody_and_hold_no_markup_of_a_name() -> None:
    stated = scenario(workloads={"<b>&": {"namespace": "web"}, 'say "x"': {"namespace": "web"}}, flows=[
        {"from": "<b>&", "to": 'say "x"', "port": 1, "expect": "Allow"}
    ])  # fmt: skip
    fleet = Fleet(manifests(DENY_ALL), targets_of(stated.clusters))
    reaches = find_reaches(fleet, stated.parties)
    svg, mermaid = to_svg(reaches, stated.parties), to_mermaid(reaches, stated.parties)
    assert "<b>" not in svg and "&lt;b&gt;&amp;" in svg
    assert "say 'x'" in mermaid and mermaid.startswith("flowchart LR\n")


def test_a_plan_tells_objects_and_verdicts_that_change_and_what_opens_first() -> None:
    both = scenario()
    targets = targets_of(both.clusters)
    wider = OPEN_HTTPS.replace("port: 443", "port: 80, endPort: 443").replace("name: https", "name: web")
    plan = make_plan(manifests(DENY_ALL, OPEN_HTTPS), manifests(OPEN_HTTPS, wider), targets, both.parties, {})
    (change,) = plan.clusters
    assert (change.added, change.removed) == (("NetworkPolicy web/web",), ("NetworkPolicy web/closed",))
    assert [(flow.after.source, flow.after.destination, flow.opens) for flow in plan.flows] == [
        ("portal", "server", True)
    ]
    assert plan.flows[0].after.ports == "80-443/TCP, 8000-8010/TCP"
    assert "| opens | portal | server | 443/TCP, 8000-8010/TCP |" in to_markdown(plan)


def test_a_plan_of_nothing_new_is_empty_and_a_closed_port_opens_nothing() -> None:
    both = scenario()
    targets = targets_of(both.clusters)
    policies = manifests(DENY_ALL, OPEN_HTTPS)
    plan = make_plan(policies, policies, targets, both.parties, {})
    assert plan == Plan((), (), 6) and "No object changes" in to_markdown(plan)
    closing = make_plan(policies, manifests(DENY_ALL), targets, both.parties, {})
    assert [flow.opens for flow in closing.flows] == [False]


def test_a_plan_names_what_a_cluster_could_not_enforce_any_more() -> None:
    edge = scenario(clusters={"edge": {"cni": "kube-router"}})
    cilium = DENY_ALL.replace("networking.k8s.io/v1", "cilium.io/v2").replace("NetworkPolicy", "CiliumNetworkPolicy")
    cilium = cilium.replace("podSelector: {}, policyTypes: [Ingress]", "endpointSelector: {}, ingress: [{}]")
    plan = make_plan(manifests(DENY_ALL), manifests(cilium), targets_of(edge.clusters), edge.parties, {})
    (change,) = plan.clusters
    assert change.removed == ("NetworkPolicy web/closed",) and "only Cilium enforces" in change.unenforceable[0]


def test_clusters_in_which_the_same_changes_stand_in_one_row() -> None:
    clusters = tuple(ClusterChange(f"c{n}", added=("NetworkPolicy lab/a",)) for n in range(30))
    text = to_markdown(Plan((*clusters, ClusterChange("odd", removed=("NetworkPolicy lab/b",))), (), 0))
    rows = [line for line in text.splitlines() if "NetworkPolicy" in line]
    assert len(rows) == 2
    assert rows[0].startswith("| c0<br>c1<br>") and "<br>and 20 more | NetworkPolicy lab/a | - | - |" in rows[0]


def test_a_plan_of_any_size_fits_into_a_comment_and_says_what_is_cut() -> None:
    names = tuple(f"NetworkPolicy {'n' * 60}/{'p' * 200}-{n}" for n in range(500))
    clusters = tuple(ClusterChange(f"c{n}", added=names[n:], changed=names[: n + 1]) for n in range(60))
    text = to_markdown(Plan(clusters, (), 0))
    assert len(text) <= LONGEST
    assert text.endswith("the rest is cut: a comment takes no more. `-o json` has all of it.\n")
