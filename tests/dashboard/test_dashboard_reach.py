"""Who may talk to whom, as the policy page draws it: judged by the engine, over the parties that policies name."""

from textwrap import dedent

import pytest

from atoll.federation.resources.labelsets import ClusterWorkloads
from atoll.hub.dashboard.policy.figure import NARROW, WIDE, draw_reach
from atoll.hub.dashboard.policy.groups import MOST_GROUPS, find_groups
from atoll.hub.dashboard.policy.reach import Held, groups_in, reach_in
from atoll.policies.compile import Target, compile_for
from atoll.policies.manifest import parse_file

POLICIES = """
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: closed, namespace: shop}
    spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
    ---
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: web-calls-db, namespace: shop}
    spec:
      podSelector: {matchLabels: {app: web}}
      policyTypes: [Egress]
      egress:
        - to: [{podSelector: {matchLabels: {app: db}}}]
          ports: [{port: 5432}]
    ---
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: db-hears-web, namespace: shop}
    spec:
      podSelector: {matchLabels: {app: db}}
      policyTypes: [Ingress]
      ingress:
        - from: [{podSelector: {matchLabels: {app: web}}}, {ipBlock: {cidr: 10.8.0.0/16}}]
          ports: [{port: 5432}]
    """


def manifests(text=POLICIES):
    parsed = parse_file(dedent(text), "shop.yaml")
    assert not parsed.problems
    return parsed.manifests


def held(text=POLICIES, cluster="lab", cni="cilium"):
    peers = {"lab": {}, "hpc": {}}
    target = Target(cluster, cni=cni, cilium_version="1.19.2", peers={n: v for n, v in peers.items() if n != cluster})
    compiled = compile_for(manifests(text), target)
    assert not compiled.unenforceable
    return Held(target, compiled.manifests)


def arrows(reach):
    names = [party.group.name for party in reach.parties]
    return {(names[link.source], names[link.destination]): link for link in reach.links}


@pytest.mark.parametrize("cni", ["cilium", "calico"])
def test_an_arrow_stands_for_what_both_sides_allow_with_its_ports_and_rules(cni):
    reach = reach_in(held(cni=cni))
    found = arrows(reach)
    assert set(found) == {("shop: app=web", "shop: app=db"), ("10.8.0.0/16", "shop: app=db")}
    link = found["shop: app=web", "shop: app=db"]
    assert link.ports == "5432/TCP"
    assert {rule.split()[1] for rule in link.rules} == {"shop/web-calls-db", "shop/db-hears-web"}


def test_that_nobody_closes_a_side_is_said_of_the_party_and_draws_no_arrow_to_everybody():
    reach = reach_in(held())
    closed = {party.group.name: (party.egress_closed, party.ingress_closed) for party in reach.parties}
    assert closed["shop: app=web"] == (True, True)
    assert closed["pods of other namespaces"] == (False, False)
    assert reach.free == 5  # other namespaces among themselves, and with the world and 10.8.0.0/16 both ways


def test_a_policy_that_cannot_be_judged_is_named_and_the_others_are_drawn():
    text = """
        apiVersion: cilium.io/v2
        kind: CiliumNetworkPolicy
        metadata: {name: to-service, namespace: shop}
        spec:
          endpointSelector: {matchLabels: {app: web}}
          egress: [{toServices: [{k8sService: {serviceName: db, namespace: shop}}]}]
        """
    whole = held()
    reach = reach_in(Held(whole.target, (*whole.manifests, *manifests(text))))
    assert ["to-service" in each for each in reach.passed_over] == [True]
    assert len(reach.links) == 2


def test_pods_of_one_group_may_have_an_arrow_to_themselves():
    text = """
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata: {name: among-us, namespace: shop}
        spec: {podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]}
        """
    assert ("shop: other pods", "shop: other pods") in arrows(reach_in(held(text)))


def test_pods_of_another_cluster_are_judged_by_the_policies_that_hold_there_too():
    text = """
        apiVersion: cilium.io/v2
        kind: CiliumNetworkPolicy
        metadata: {name: calls-far, namespace: shop, annotations: {atoll.dev/clusters: atoll.dev/cluster=lab}}
        spec:
          endpointSelector: {matchLabels: {app: web}}
          egress:
            - toEndpoints:
                - matchLabels: {app: db, io.cilium.k8s.policy.cluster: hpc, k8s:io.kubernetes.pod.namespace: shop}
        ---
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata: {name: deaf, namespace: shop, annotations: {atoll.dev/clusters: atoll.dev/cluster=hpc}}
        spec: {podSelector: {}, policyTypes: [Ingress]}
        """
    lab, hpc = held(text), held(text, "hpc")
    assert {group.cluster for group in groups_in(lab).groups} == {"lab", "hpc", ""}
    open_there, closed_there = reach_in(lab), reach_in(lab, [hpc])
    assert ("shop: app=web", "shop: app=db @hpc") in arrows(open_there)
    assert ("shop: app=web", "shop: app=db @hpc") not in arrows(closed_there)


def test_selectors_that_contradict_themselves_make_no_party():
    text = """
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata: {name: nobody, namespace: shop}
        spec:
          podSelector:
            matchLabels: {app: web}
            matchExpressions: [{key: app, operator: NotIn, values: [web]}]
        """
    names = [group.name for group in find_groups(manifests(text), "lab", is_cilium=True).groups]
    assert names == ["pods of other namespaces", "the world outside"]


def test_a_namespace_that_is_named_by_its_labels_is_a_party_with_them():
    text = """
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata: {name: team, namespace: shop}
        spec:
          podSelector: {}
          policyTypes: [Ingress]
          ingress: [{from: [{namespaceSelector: {matchLabels: {team: ml}}}]}]
        """
    reach = reach_in(held(text))
    assert ("team=ml: other pods", "shop: other pods") in arrows(reach)


def test_a_policy_about_all_addresses_has_its_arrow_from_the_world_which_is_drawn_once():
    text = """
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata: {name: public, namespace: shop}
        spec:
          podSelector: {matchLabels: {app: web}}
          policyTypes: [Ingress]
          ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}, {ipBlock: {cidr: "::/0"}}], ports: [{port: 443}]}]
        """
    reach = reach_in(held(text))
    assert [party.group.name for party in reach.parties].count("the world outside") == 1
    assert set(arrows(reach)) == {("the world outside", "shop: app=web")}


def running(*sets, **namespaces):
    found = [{"namespace": space, "labels": labels, "pods": pods} for space, labels, pods in sets]
    return ClusterWorkloads.model_validate({"sets": found, "namespaces": namespaces, "seenAt": "2026-11-23T12:00:00Z"})


def test_where_it_is_known_what_runs_parties_are_what_policies_can_tell_apart_of_it():
    now = running(
        ("shop", {"app": "web", "build": "1"}, 4),
        ("shop", {"app": "web", "build": "2"}, 2),
        ("shop", {"app": "db"}, 1),
        ("other", {"app": "cron"}, 3),
    )
    reach = reach_in(held(), running=now)
    found = {party.group.name: party.group.pods for party in reach.parties if party.group.kind == "pods"}
    assert found == {"shop/web": 6, "shop/db": 1, "other/cron": 3}
    assert ("shop/web", "shop/db") in arrows(reach)
    assert reach.seen_at is not None


def test_parties_of_one_name_are_told_apart_by_number():
    text = """
        apiVersion: networking.k8s.io/v1
        kind: NetworkPolicy
        metadata: {name: red, namespace: shop}
        spec: {podSelector: {matchLabels: {colour: red}}, policyTypes: [Ingress]}
        """
    now = running(("shop", {"app": "web", "colour": "red"}, 1), ("shop", {"app": "web", "colour": "blue"}, 1))
    closed = {party.group.name: party.ingress_closed for party in reach_in(held(text), running=now).parties}
    assert sorted(name for name in closed if name.startswith("shop/web")) == ["shop/web", "shop/web #2"]
    assert sorted(closed[name] for name in ("shop/web", "shop/web #2")) == [False, True]


def test_parties_that_are_too_many_to_be_drawn_are_counted():
    one = POLICIES.split("---")[1]
    text = "---".join(one.replace("web-calls-db", f"p{n}").replace("app: web", f"app: w{n}") for n in range(60))
    groups = find_groups(manifests(text), "lab", is_cilium=True)
    assert len(groups.groups) == MOST_GROUPS
    assert groups.hidden == 60 + 1 + 1 - (MOST_GROUPS - 2)  # those, db, and the other pods of shop
    wanted = find_groups(manifests(text), "lab", is_cilium=True, text="app=w9")
    assert "shop: app=w9" in {group.name for group in wanted.groups} - {group.name for group in groups.groups}


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_figure_is_made_for_its_width_and_lights_what_is_looked_at(width):
    reach = reach_in(held())
    figure = draw_reach(reach, width=width, focus="shop: app=web")
    assert 0 < figure.left < figure.right < width
    assert all(len(row.label) * (7 if width == WIDE else 6) < figure.left for row in figure.rows)
    assert [(band.is_bright, band.words) for band in figure.bands] == [
        (False, "10.8.0.0/16 may open to shop: app=db: 5432/TCP"),
        (True, "shop: app=web may open to shop: app=db: 5432/TCP"),
    ]
