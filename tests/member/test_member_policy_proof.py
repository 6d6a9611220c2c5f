"""The ladder by itself: what agents of nodes say, in their own JSON, and the rung that follows."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.edge.member.proof.ladder import Claim, Judgement, Live, NodeLook, Scene, judge
from atoll.edge.member.proof.meaning import meaning_of
from atoll.edge.member.proof.reading import (
    Mark,
    Repository,
    read_endpoints,
    read_node,
    read_repository,
    read_selectors,
)
from atoll.edge.member.proof.reports import ProvenReports
from atoll.edge.member.proof.summary import summed_up
from atoll.federation.bus.messages import Message, PolicyReport
from atoll.federation.errors import Internal
from atoll.federation.resources.policyset_proof import RUNGS, TOP_OF_ENFORCEMENT, PolicyProof, RungTimes
from atoll.policies.manifest import Manifest, parse_file
from atoll.policies.stamp import content_of, manifest_hash, stamp

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
EARLIER = NOW - timedelta(seconds=30)
UID = "3f0d8a5e-0000-4000-8000-000000000001"
NODES = frozenset({"n1", "n2"})


def policy(text: str) -> Manifest:
    """A policy as an agent is ordered to hold it."""
    (manifest,) = parse_file(text, "p.yaml").manifests
    return stamp([manifest], "baseline", "c1")[0]


CNP = policy("""
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: open, namespace: lab}
spec: {endpointSelector: {matchLabels: {app: web}}, ingress: [{fromEndpoints: [{matchLabels: {app: db}}]}]}
""")
CLOSED = policy("""
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: lab}
spec: {podSelector: {}, policyTypes: [Ingress]}
""")
MESH = policy("""
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: mesh, namespace: lab}
spec:
  endpointSelector: {}
  egress:
    - toEndpoints:
        - matchLabels: {app: db}
          matchExpressions: [{key: io.cilium.k8s.policy.cluster, operator: In, values: [near, far]}]
""")
NODE_POLICY = policy("""
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: hosts}
spec: {nodeSelector: {}, ingress: [{fromEntities: [cluster]}]}
""")


def endpoint(manifest: Manifest | None, *, app: str = "web", namespace: str = "lab", **said: Any) -> dict[str, Any]:
    """An Endpoint as an agent writes it, that has realized a policy."""
    labels = [f"k8s:app={app}", f"k8s:io.kubernetes.pod.namespace={namespace}", "k8s:io.cilium.k8s.policy.cluster=near"]
    realized: dict[str, Any] = {"policy-revision": said.get("revision", 7), "policy-enabled": said.get("mode", "both")}
    if manifest is not None:
        content = said.get("content", content_of(manifest))
        derived = [f"k8s:io.cilium.k8s.policy.uid={said.get('uid', UID)}", f"unspec:atoll.dev/content={content}"]
        filters = [{"rule": "{}", "derived-from-rules": [derived if content else derived[:1]]}]
        realized["l4"] = {"ingress": filters, "egress": filters}
    return {
        "id": 12,
        "status": {
            "state": said.get("state", "ready"),
            "identity": {"id": 131_329, "labels": labels},
            "external-identifiers": {"pod-name": f"{namespace}/{app}-0"},
            "policy": {"realized": realized},
        },
    }


def held(manifest: Manifest, revision: int = 7) -> Repository:
    return Repository(revision, frozenset({Mark(UID, content_of(manifest))}))


def look(*endpoints: dict[str, Any], at: datetime = NOW, **said: Any) -> NodeLook:
    return NodeLook(at, read_endpoints(endpoints), **said)


def claim(manifest: Manifest, live: Live | None = Live(UID, True), since: datetime = EARLIER) -> Claim:  # noqa: B008
    return Claim(manifest, meaning_of(manifest, "near"), live, since)


def judged(manifest: Manifest, looks: dict[str, NodeLook], *, scene: Scene | None = None, **how: Any) -> Judgement:
    found = judge([claim(manifest, **how)], looks, scene or Scene("near", "cilium", NODES, {"far": 3}))
    return found[0]


WELL = endpoint(CNP)
UNREALIZED: dict[str, tuple[dict[str, Any], str]] = {
    "it does not show the policy": (endpoint(None), "has not realized it for ingress"),
    "it shows another object of the same name": (endpoint(CNP, uid="other"), "has not realized it"),
    "it shows what the object said before": (endpoint(CNP, content="0123456789abcdef"), "has not realized it"),
    "it shows an object without its content": (endpoint(CNP, content=""), "has not realized it"),
    "it only audits": (endpoint(CNP, mode="audit-both"), "does not enforce ingress (policy-enabled: audit-both)"),
    "it enforces nothing": (endpoint(CNP, mode="none"), "policy-enabled: none"),
    "it enforces the other direction only": (endpoint(CNP, mode="egress"), "does not enforce ingress"),
    "it is being made anew": (endpoint(CNP, state="regenerating"), "is regenerating"),
}


@pytest.mark.parametrize("what", UNREALIZED)
def test_one_endpoint_that_does_not_show_it_makes_its_node_unproven(what: str) -> None:
    """The node is named with the endpoint and why, and the other node counts."""
    shown, why = UNREALIZED[what]
    found = judged(CNP, {"n1": look(WELL), "n2": look(WELL, shown)})
    assert (found.rung, found.nodes) == ("Valid", frozenset({"n1"}))
    assert found.reason.startswith("realized on 1 of 2 nodes; n2: lab/web-0 ")
    assert why in found.reason


def test_endpoints_that_a_policy_does_not_select_need_not_show_it() -> None:
    """Other labels, other namespaces and the host are none of its business."""
    host: dict[str, Any] = {"id": 1, "status": {"identity": {"labels": ["reserved:host"]}}}
    others = look(endpoint(None, app="db"), endpoint(None, namespace="elsewhere"), host)
    assert judged(CNP, {"n1": others, "n2": look(WELL)}).rung == "Resolved"


def test_a_policy_that_only_closes_is_proven_by_the_revision_of_who_holds_it() -> None:
    """It leaves no filter: the agent must hold it, and the endpoint have realized all that the agent holds."""
    well = look(endpoint(None), repository=held(CLOSED))
    assert judged(CLOSED, {"n1": well, "n2": well}).rung == "Resolved"
    behind = look(endpoint(None, revision=6), repository=held(CLOSED))
    assert "has realized revision 6, the agent holds 7" in judged(CLOSED, {"n1": well, "n2": behind}).reason
    without = look(endpoint(None), repository=Repository(9, frozenset()))
    assert "the node's agent does not hold it" in judged(CLOSED, {"n1": well, "n2": without}).reason
    mute = look(endpoint(None))
    assert "it only closes" in judged(CLOSED, {"n1": well, "n2": mute}).reason


def test_a_named_cluster_must_be_met_by_an_identity_of_its_own() -> None:
    """Identities of other clusters, reserved ones and those of addresses do not count."""
    shown = endpoint(MESH)
    near, far, other, address = 2 << 16 | 300, 3 << 16 | 300, 4 << 16 | 300, 1 << 24 | 3 << 16
    alone = look(shown, selectors={UID: frozenset({1, near, other, address})})
    assert (
        judged(MESH, {"n1": alone, "n2": alone}).rung,
        "far" in judged(MESH, {"n1": alone, "n2": alone}).reason,
    ) == (
        "Realized",
        True,
    )
    met = look(shown, selectors={UID: frozenset({near, far})})
    assert judged(MESH, {"n1": alone, "n2": met}).rung == "Resolved"


NOT_ASKED: dict[str, tuple[Claim, Scene, str | None, str]] = {
    "an object that is not there": (claim(CNP, None), Scene("near", "cilium", NODES), None, "not in the cluster"),
    "an object that Cilium refuses": (
        claim(CNP, Live(UID, False, "bad rule")),
        Scene("near", "cilium", NODES),
        "Applied",
        "Cilium refuses it: bad rule",
    ),
    "an object that was not checked": (claim(CNP, Live(UID)), Scene("near", "cilium", NODES), "Applied", "not checked"),
    "a NetworkPolicy needs no check": (claim(CLOSED, Live(UID)), Scene("near", "cilium", NODES), "Valid", "0 of 2"),
    "an engine that tells nothing": (claim(CLOSED, Live(UID)), Scene("", "calico", NODES), "Valid", "calico tells"),
    "a policy for nodes": (claim(NODE_POLICY), Scene("near", "cilium", NODES), "Valid", "0 of 2"),
    "a cluster whose nodes are not known": (claim(CNP), Scene("near", "cilium", frozenset()), "Valid", "0 of 0"),
}


@pytest.mark.parametrize("what", NOT_ASKED)
def test_without_an_answer_no_more_is_claimed_than_the_api_server_says(what: str) -> None:
    """Each of them ends below Realized, and says why."""
    asked, scene, rung, reason = NOT_ASKED[what]
    (found,) = judge([asked], {}, scene)
    assert (found.rung, found.nodes) == (rung, frozenset())
    assert reason in found.reason


def test_answers_from_before_the_object_was_written_and_old_ones_do_not_count() -> None:
    """A node has proven nothing of what it was not asked about."""
    looks = {"n1": look(WELL), "n2": look(WELL, at=EARLIER)}
    early = judged(CNP, looks, since=NOW)
    assert (early.rung, early.nodes) == ("Valid", frozenset({"n1"}))
    assert "not asked since: n2" in early.reason
    stale = Scene("near", "cilium", NODES, oldest=NOW - timedelta(seconds=10))
    assert judged(CNP, looks, scene=stale).nodes == frozenset({"n1"})
    assert judged(CNP, looks).realized_at == EARLIER


ENDPOINTS = st.sampled_from(
    [
        (WELL, True),
        (endpoint(CNP, app="db"), True),
        (endpoint(None, app="db"), True),
        *((shown, False) for shown, _ in UNREALIZED.values()),
    ]
)
ANSWERS = st.dictionaries(
    st.sampled_from(["n1", "n2", "n3", "gone"]),
    st.tuples(st.lists(ENDPOINTS, max_size=4), st.sampled_from([NOW, EARLIER - timedelta(hours=1)])),
)


@given(ANSWERS, st.frozensets(st.sampled_from(["n1", "n2", "n3"]), min_size=1))
def test_a_node_counts_if_and_only_if_it_was_asked_in_time_and_all_its_endpoints_show_it(
    answers: dict[str, tuple[list[tuple[dict[str, Any], bool]], datetime]], nodes: frozenset[str]
) -> None:
    """Against a model in one line; the rung follows from all nodes of the cluster, and from no other."""
    looks = {node: look(*(shown for shown, _ in found), at=at) for node, (found, at) in answers.items()}
    well = {node for node, (found, at) in answers.items() if at == NOW and all(is_well for _, is_well in found)}
    (found,) = judge([claim(CNP)], looks, Scene("near", "cilium", nodes))
    assert found.nodes == well & nodes
    assert (found.rung == "Resolved") == (well >= nodes)
    assert bool(found.reason) == (found.rung != "Resolved")


JUDGEMENTS = st.lists(
    st.builds(
        lambda rung, nodes: Judgement(
            rung,
            "" if rung in ("Resolved", "Observed") else "why",
            nodes,
            NOW if rung in ("Realized", "Resolved", "Observed") else None,
            NOW if rung == "Observed" else None,
        ),
        st.sampled_from([None, *RUNGS]),
        st.frozensets(st.sampled_from(["n1", "n2"])),
    ),
    max_size=30,
)


@given(JUDGEMENTS, st.booleans())
def test_a_set_is_as_far_as_its_lowest_object_and_a_lost_rung_keeps_its_time(
    judgements: list[Judgement], has_past: bool
) -> None:
    """Rungs above the lowest object's are dated by what was proven before, if anything was."""
    past = RungTimes(**{rung.lower(): EARLIER for rung in RUNGS}) if has_past else RungTimes()
    proof = summed_up([claim(CNP)] * len(judgements), judgements, nodes=2, before=past, now=NOW)
    heights = [RUNGS.index(each.rung) if each.rung else -1 for each in judgements]
    top = RUNGS.index(TOP_OF_ENFORCEMENT)
    height = min(heights, default=top)
    assert (RUNGS.index(proof.rung) if proof.rung else -1) == height
    for index, rung in enumerate(RUNGS):
        assert getattr(proof.proven_at, rung.lower()) == (NOW if index <= height else EARLIER if has_past else None)
    assert len(proof.objects) == min(20, sum(each < top for each in heights))
    assert proof.observed_objects == sum(each > top for each in heights)
    assert [each.rung for each in proof.objects] == sorted(
        (each.rung for each in proof.objects), key=lambda rung: RUNGS.index(rung) if rung else -1
    )


def test_selectors_are_read_as_agents_before_and_since_1_20_write_them() -> None:
    """One list of labels, or a list of lists; a selector without identities means nobody yet."""
    uid = {"key": "io.cilium.k8s.policy.uid", "value": UID, "source": "k8s"}
    name = {"key": "io.cilium.k8s.policy.name", "value": "open", "source": "k8s"}
    old = [{"selector": "a", "labels": [name, uid], "identities": [1, 2]}, {"selector": "b", "labels": [uid]}]
    new = [{"selector": "a", "labels": [[name], [uid, name]], "identities": [1, 2]}, {"selector": "c"}]
    assert read_selectors(old) == read_selectors(new) == {UID: frozenset({1, 2})}
    assert read_selectors(None) == {}


def test_the_rules_that_an_agent_holds_are_read_with_their_content() -> None:
    """`policy` is JSON in a string; rules that came from no object are passed over."""
    labels = [
        {"key": "io.cilium.k8s.policy.uid", "value": UID, "source": "k8s"},
        {"key": "atoll.dev/content", "value": "ab", "source": "unspec"},
    ]
    answer = {"revision": 4, "policy": json.dumps([{"labels": labels}, {"endpointSelector": {}}])}
    assert read_repository(answer) == Repository(4, frozenset({Mark(UID, "ab")}))
    assert read_repository({"revision": 1, "policy": "[]"}) == Repository(1, frozenset())
    assert read_repository(None) is None


@pytest.mark.parametrize("answer", [7, "x", [7], [{"status": 7}], {"a": 1}, [{"labels": [7]}], {"policy": "{"}])
def test_what_no_agent_would_say_is_refused_in_words(answer: Any) -> None:
    """Whatever comes, it is an error of ours that says whose answer it was, or nothing at all."""
    for read in (read_endpoints, read_repository, read_selectors, read_node):
        try:
            read(answer)
        except Internal as error:
            assert "the Cilium agent" in str(error)


def test_a_node_calls_itself_by_its_name_in_the_mesh_or_by_its_own() -> None:
    """`cluster/node`, and the bare node where the cluster has no name."""
    assert read_node({"cluster": {"self": "near/n1"}}) == read_node({"cluster": {"self": "n1"}}) == "n1"


def test_the_content_of_a_stamped_policy_changes_with_what_it_says_and_not_with_its_commit() -> None:
    """A new commit of the same policy is the same to the engine; stamping twice stamps once."""
    again = stamp([CNP], "baseline", "c2")[0]
    assert content_of(again) == content_of(CNP) == manifest_hash(CNP)[:16]
    assert again.body["spec"] == CNP.body["spec"]
    wider = Manifest(
        CNP.kind, CNP.namespace, CNP.name, {**CNP.body, "spec": {**CNP.body["spec"], "egress": [{}]}}, CNP.origin
    )
    assert content_of(stamp([wider], "baseline", "c1")[0]) != content_of(CNP)
    assert content_of(CLOSED) == ""


class Outbox:
    """Keeps what was reported."""

    def __init__(self) -> None:
        self.sent: list[PolicyReport] = []

    def report(self, _key: str, message: Message) -> None:
        assert isinstance(message, PolicyReport)
        self.sent.append(message)

    def forget(self, _key: str) -> None:
        self.sent.clear()


def test_a_proof_goes_with_its_commit_only_and_is_taken_back_with_what_it_is_of() -> None:
    """Another commit has no proof yet; a set that differs from its order keeps the times, not the rung."""
    outbox = Outbox()
    reports = ProvenReports(outbox)
    proof = PolicyProof(rung="Realized", nodes=2, realized_nodes=2, proven_at=RungTimes(realized=NOW))
    held_now = PolicyReport(name="baseline", commit="c1", phase="Applied", at=NOW)
    reports.prove("policyset/baseline", "c1", proof, NOW)
    reports.report("policyset/baseline", held_now)
    reports.report("policyset/baseline", held_now.model_copy(update={"phase": "Drifted"}))
    reports.report("policyset/baseline", held_now.model_copy(update={"commit": "c2"}))
    first, drifted, other = outbox.sent
    assert first.proof == proof
    assert drifted.proof is not None
    assert (drifted.proof.rung, drifted.proof.realized_nodes, drifted.proof.proven_at) == (None, 0, proof.proven_at)
    assert other.proof is None
    assert reports.proven_at("policyset/baseline", "c2") == RungTimes()


def test_mere_ages_are_told_once_a_minute_and_a_new_rung_at_once() -> None:
    """A thousand clusters that look every few seconds do not write as often."""
    outbox = Outbox()
    reports = ProvenReports(outbox)
    reports.report("k", PolicyReport(name="baseline", commit="c1", phase="Applied", at=NOW))
    for seconds in range(0, 120, 5):
        at = NOW + timedelta(seconds=seconds)
        reports.prove("k", "c1", PolicyProof(rung="Valid", proven_at=RungTimes(valid=at)), at)
    assert len(outbox.sent) == 3
    reports.prove("k", "c1", PolicyProof(rung="Realized"), NOW + timedelta(seconds=121))
    assert outbox.sent[-1].proof == PolicyProof(rung="Realized")
