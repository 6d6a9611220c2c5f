"""Flows among what runs now: found in blocks, exactly those that judging every pair by itself finds."""

import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.federation.resources.labelsets import ClusterWorkloads, LabelSet
from atoll.policies.compile import Target
from atoll.policies.identity import Endpoint
from atoll.policies.manifest import Manifest, parse_file
from atoll.policies.trials.fleet import Fleet
from atoll.policies.trials.live import Block, find_changes
from atoll.policies.trials.parties import Mentioned, endpoints_of, groups_of, namespaces_of
from atoll.policies.trials.reach import find_spans
from atoll.policies.trials.wording import words

TARGETS = {
    "near": Target("near", {}, "cilium", "1.19.4", peers={"far": {}}),
    "far": Target("far", {}, "cilium", "1.19.4", peers={"near": {}}),
    "edge": Target("edge", {}, "calico"),
}
DENY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: lab}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""
WEB = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: lab}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{namespaceSelector: {matchLabels: {team: ml}}}], ports: [{port: https}, {port: 9090}]}]
"""


def manifests(*texts: str) -> list[Manifest]:
    parsed = [parse_file(text, f"{index}.yaml") for index, text in enumerate(texts)]
    assert not [problem for one in parsed for problem in one.problems]
    return [manifest for one in parsed for manifest in one.manifests]


def running(*sets: dict[str, Any], **namespaces: dict[str, str]) -> ClusterWorkloads:
    return ClusterWorkloads(namespaces=namespaces, sets=tuple(LabelSet.model_validate(one) for one in sets))


def fleets(before: list[Manifest], after: list[Manifest], live: dict[str, ClusterWorkloads]) -> tuple[Fleet, Fleet]:
    targets = {name: TARGETS[name] for name in live}
    return Fleet(before, targets, namespaces_of(live)), Fleet(after, targets, namespaces_of(live))


def one_by_one(
    before: Fleet, after: Fleet, live: dict[str, ClusterWorkloads]
) -> dict[tuple[str, str], tuple[str, str]]:
    """Judge every pair of sets, and every set with every party outside, with nothing taken together."""
    mentioned = Mentioned.by((*before.rules(), *after.rules()))
    outside = [group for group in groups_of(live, mentioned) if not group.sets]
    pods = [(label(end.cluster, one), end, one.pods) for end, one in endpoints_of(live)]
    parties: list[tuple[str, Any, int]] = [*pods, *((group.name, group.party, 1) for group in outside)]
    found = {}
    for source, from_, count in parties:
        for destination, to, _ in parties:
            is_judged = isinstance(from_, Endpoint) or isinstance(to, Endpoint)
            if is_judged and (source != destination or count > 1):
                was, is_ = (words(tuple(find_spans(fleet, from_, to))) for fleet in (before, after))
                if was != is_:
                    found[source, destination] = (was, is_)
    return found


def label(cluster: str, one: LabelSet) -> str:
    return f"{cluster}: {one.model_dump_json()}"


def in_blocks(blocks: tuple[Block, ...]) -> dict[tuple[str, str], tuple[str, str]]:
    """Take blocks apart again; no pair stands in two of them."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for block in blocks:
        for source in block.sources:
            for destination in block.destinations:
                for a, pods in members(source):
                    for b, _ in members(destination):
                        if a != b or pods > 1:
                            assert (a, b) not in found
                            found[a, b] = (words(block.before), words(block.after))
    return found


def members(group: Any) -> list[tuple[str, int]]:
    return [(label(group.cluster, one), one.pods) for one in group.sets] or [(group.name, 1)]


def test_a_new_allow_is_told_with_its_ports_by_name_and_for_whom_it_opens() -> None:
    live = {
        "near": running(
            {"namespace": "lab", "labels": {"app": "web"}, "ports": {"https": "8443/TCP"}, "pods": 3},
            {"namespace": "lab", "labels": {"app": "db"}},
            {"namespace": "ml", "labels": {"app": "trainer"}, "pods": 40},
            ml={"team": "ml"},
            lab={},
        )
    }
    found = find_changes(*fleets(manifests(DENY), manifests(DENY, WEB), live), live)
    (block,) = found.blocks
    assert ([one.name for one in block.sources], [one.name for one in block.destinations]) == (
        ["ml/trainer@near"],
        ["lab/web@near"],
    )
    assert (words(block.before), words(block.after)) == ("nothing", "8443/TCP, 9090/TCP")
    assert (block.opens, block.closes, block.pods) == (True, False, 43)


def test_a_policy_that_moved_within_its_file_changes_nobody() -> None:
    live = {"near": running({"namespace": "lab", "labels": {"app": "web"}, "pods": 2})}
    moved = manifests(DENY + "---" + WEB), manifests(WEB + "---" + DENY)
    assert find_changes(*fleets(*moved, live), live).blocks == ()


NAMESPACES = ("lab", "ml")
APPS = ("web", "db", "gpu")
KNP = st.builds(
    lambda name, space, app, peer, port, way: (
        f"""
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: {name}, namespace: {space}}}
spec:
  podSelector: {app}
  policyTypes: [{way[0]}]
  {way[1]}: [{{{way[2]}: [{peer}], ports: [{{port: {port}}}]}}]
"""
    ),
    st.sampled_from(("a", "b", "c")),
    st.sampled_from(NAMESPACES),
    st.sampled_from(("{}", "{matchLabels: {app: web}}", "{matchExpressions: [{key: tier, operator: Exists}]}")),
    st.sampled_from(
        (
            "{podSelector: {matchLabels: {app: db}}}",
            "{namespaceSelector: {matchLabels: {team: ml}}}",
            "{namespaceSelector: {}, podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [gpu]}]}}",
            "{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}",
        )
    ),
    st.sampled_from(("443", "https")),
    st.sampled_from((("Ingress", "ingress", "from"), ("Egress", "egress", "to"))),
)
SET = st.builds(
    lambda space, app, tier, port, pods: {
        "namespace": space,
        "labels": {"app": app} | ({"tier": "x"} if tier else {}),
        "ports": {"https": f"{port}/TCP"} if port else {},
        "pods": pods,
    },
    st.sampled_from(NAMESPACES),
    st.sampled_from(APPS),
    st.booleans(),
    st.sampled_from((0, 443, 8443)),
    st.sampled_from((1, 2)),
)
POLICIES = st.lists(KNP, max_size=4)


@settings(max_examples=60, deadline=None)
@given(POLICIES, POLICIES, st.dictionaries(st.sampled_from(("near", "edge")), st.lists(SET, max_size=4), min_size=1))
def test_blocks_say_of_every_pair_what_judging_it_by_itself_says(before: Any, after: Any, sets: Any) -> None:
    """Whatever two sets of policies say, and whatever runs in two clusters with two engines."""
    live = {
        name: running(*{str(one): one for one in found}.values(), ml={"team": "ml"}, lab={})
        for name, found in sets.items()
    }
    two = fleets(unique(before), unique(after), live)
    assert in_blocks(find_changes(*two, live).blocks) == one_by_one(*two, live)


def unique(texts: list[str]) -> list[Manifest]:
    """One policy of each name."""
    return manifests(*{text.partition("spec:")[0]: text for text in texts}.values())


def test_ten_thousand_sets_are_compared_in_seconds_since_few_of_them_are_told_apart() -> None:
    spaces = 50
    sets = [
        {"namespace": f"n{space}", "labels": {"app": f"a{app}", "version": f"v{app % 7}"}, "pods": 3}
        for space in range(spaces)
        for app in range(10_000 // spaces)
    ]
    live = {"near": running(*sets, **{f"n{space}": {"team": f"t{space % 5}"} for space in range(spaces)})}
    deny = [DENY.replace("namespace: lab", f"namespace: n{space}") for space in range(spaces)]
    web = [
        WEB.replace("namespace: lab", f"namespace: n{space}")
        .replace("app: web", "app: a1")
        .replace("team: ml", "team: t1")
        for space in range(spaces)
    ]
    two = fleets(manifests(*deny), manifests(*deny, *web), live)
    began = time.process_time()
    found = find_changes(*two, live)
    assert time.process_time() - began < 20
    assert (found.sets, found.parties < 600) == (10_000, True)
    assert {words(block.after) for block in found.blocks} == {"9090/TCP"}
    assert sum(len(one.sets) for block in found.blocks for one in block.destinations) >= spaces


def test_a_comparison_that_would_take_too_long_is_given_up_and_says_so() -> None:
    live = {"near": running(*({"namespace": "lab", "labels": {"app": f"a{n}"}} for n in range(20)))}
    found = find_changes(*fleets([], manifests(DENY), live), live, most_work=1)
    assert (found.is_given_up, found.blocks, found.sets) == (True, (), 20)
