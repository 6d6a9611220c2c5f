"""What Cilium counts and Hubble shows, in their own words: rates of drops, verdicts, and the labels that run."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atoll.edge.member.inventory.labelsets import CHUNKS, MAX_SETS, chunks, project_labels, rounded
from atoll.edge.member.inventory.pods import PodTally, project_pod
from atoll.edge.member.proof.drops import DropMeter, read_drops
from atoll.edge.member.proof.reading import Mark
from atoll.edge.member.proof.verdicts import read_verdicts
from atoll.federation.errors import Internal
from atoll.policies.rules import Direction

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def metered(counters: list[tuple[int, int]], node: str = "n1") -> DropMeter:
    """A meter that has read a node's counter at some seconds."""
    meter = DropMeter()
    for seconds, counter in counters:
        meter.take(node, counter, NOW + seconds * SECOND)
    return meter


def rate(meter: DropMeter, begin: int, end: int) -> float | None:
    return meter.rate(NOW + begin * SECOND, NOW + end * SECOND, 10 * SECOND)


def test_rates_are_told_of_before_and_after_and_of_no_time_that_was_not_watched() -> None:
    meter = metered([(0, 100), (10, 110), (20, 120), (30, 420), (40, 720)])
    assert (rate(meter, 0, 20), rate(meter, 20, 40), rate(meter, 35, 40)) == (1.0, 30.0, None)
    told = meter.compare(NOW + 20 * SECOND, NOW + 40 * SECOND, window=60 * SECOND, least=10 * SECOND)
    assert (told.drops_per_second_before, told.drops_per_second, told.rise) == (1.0, 30.0, 29.0)


def test_a_counter_that_begins_anew_with_its_node_takes_nothing_back() -> None:
    meter = metered([(0, 1_000_000), (10, 1_000_100), (20, 50), (30, 150)])
    assert rate(meter, 0, 30) == pytest.approx(250 / 30)


def test_nodes_add_up_and_one_that_is_gone_counts_no_more() -> None:
    meter = metered([(0, 0), (20, 20)])
    for seconds, counter in ((0, 5), (20, 45)):
        meter.take("n2", counter, NOW + seconds * SECOND)
    assert rate(meter, 0, 20) == 3.0
    meter.keep(frozenset({"n2"}))
    assert rate(meter, 0, 20) == 2.0


def test_of_ciliums_counters_only_what_policies_deny_counts_and_no_output_is_nought() -> None:
    counted = [
        {"reason": "Policy denied", "direction": "ingress", "packets": 3, "bytes": 9, "line": 0},
        {"reason": "Policy denied by denylist", "direction": "egress", "packets": 4},
        {"reason": "Invalid source ip", "direction": "ingress", "packets": 1000},
        {"reason": "Success", "direction": "egress", "packets": 10_000},
    ]
    assert (read_drops(json.dumps(counted).encode()), read_drops(b"")) == (7, 0)
    with pytest.raises(Internal, match="no list of counters"):
        read_drops(b"Error: cannot open map")


def flow(verdict: str, direction: str = "INGRESS", **said: Any) -> bytes:
    """A line of `hubble observe -o jsonpb`."""
    told = {
        "time": "2026-11-23T08:00:00.123456789Z",
        "verdict": verdict,
        "traffic_direction": direction,
        "source": {"labels": ["k8s:app=portal"]},
        "destination": {"labels": ["k8s:app=web", "k8s:io.kubernetes.pod.namespace=lab"]},
        "Type": "L3_L4",
        **said,
    }
    return json.dumps({"flow": told, "node_name": "near/n1"}).encode() + b"\n"


BY = [
    {"name": "open", "namespace": "lab", "labels": ["k8s:io.cilium.k8s.policy.uid=u1", "unspec:atoll.dev/content=c1"]}
]


def test_a_verdict_names_the_object_by_uid_and_content_and_its_endpoint_by_the_side_that_it_was_on() -> None:
    shown, left = read_verdicts(
        flow("FORWARDED", ingress_allowed_by=BY) + flow("DROPPED", "EGRESS", egress_denied_by=BY)
    )
    assert (shown.marks, shown.direction, shown.labels["k8s:app"]) == (
        frozenset({Mark("u1", "c1")}),
        Direction.INGRESS,
        "web",
    )
    assert shown.at == NOW + timedelta(microseconds=123_456)
    assert (left.direction, left.labels, left.is_closed) == (Direction.EGRESS, {"k8s:app": "portal"}, False)


@pytest.mark.parametrize(
    ("line", "closed"),
    [
        (flow("DROPPED", drop_reason_desc="POLICY_DENIED"), [True]),
        (flow("DROPPED", drop_reason_desc="POLICY_DENY", ingress_denied_by=BY), [False]),
        (flow("DROPPED", drop_reason_desc="CT_UNKNOWN_L4_PROTOCOL"), [False]),
        (flow("AUDIT", ingress_denied_by=BY), []),
        (flow("TRACED"), []),
        (b'{"node_status": {"state_change": "NODE_CONNECTED"}}\n', []),
        (b"", []),
    ],
)
def test_only_what_was_dropped_for_want_of_an_allow_shows_a_policy_that_merely_closes(
    line: bytes, closed: list[bool]
) -> None:
    assert [verdict.is_closed for verdict in read_verdicts(line)] == closed


@pytest.mark.parametrize(
    "printed", [b"not json\n", b'{"flow": {"verdict": "DROPPED", "traffic_direction": "INGRESS"}}', b"5"]
)
def test_what_hubble_never_prints_is_refused(printed: bytes) -> None:
    with pytest.raises(Internal, match="no flow"):
        read_verdicts(printed)


def pod(name: str, namespace: str = "lab", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "nodeName": "n1",
            "containers": [{"name": "c", "ports": [{"name": "https", "containerPort": 8443}, {"containerPort": 9}]}],
        },
        "status": {"phase": "Running"},
    }


def test_pods_that_policies_cannot_tell_apart_are_one_set_and_those_on_the_nodes_network_none() -> None:
    """What a controller makes up for each object is no difference: neither its hash nor the name of its job."""
    alike = [pod(f"web-{n}", app="web", **{"pod-template-hash": f"h{n}", "job-name": f"j{n}"}) for n in range(3)]
    host = pod("agent", app="agent")
    host["spec"]["hostNetwork"] = True
    ended = pod("done", app="done")
    ended["status"]["phase"] = "Succeeded"
    tally = PodTally.of(
        {str(n): project_pod(each) for n, each in enumerate([*alike, pod("db", app="db"), host, ended])}
    )
    told = [one for chunk in chunks(tally.labels, {"lab": {"team": "x"}}) for one in chunk.sets]
    assert [(one.labels, one.ports, one.pods) for one in told] == [
        ({"app": "db"}, {"https": "8443/TCP"}, 1),
        ({"app": "web", "job-name": ""}, {"https": "8443/TCP"}, 3),
    ]
    tally.put("0", None)
    assert sum(tally.labels.values()) == 3


def test_too_many_sets_are_told_as_the_largest_ones_and_how_many_are_missing() -> None:
    counted = {}
    for n in range(MAX_SETS + 50):
        labels = project_labels(pod("p", f"n{n % 100}", app=f"a{n}"))
        assert labels is not None
        counted[labels] = 5 if n < 50 else 10
    found = list(chunks(counted, {}))
    assert len(found) == CHUNKS and sum(len(chunk.sets) for chunk in found) == MAX_SETS
    assert (sum(chunk.omitted_sets for chunk in found), sum(chunk.omitted_pods for chunk in found)) == (50, 250)


def test_counts_are_exact_while_they_are_small_and_do_not_change_with_every_pod_later() -> None:
    assert [rounded(count) for count in (0, 1, 19, 20, 99, 104, 1049, 99_999)] == [0, 1, 19, 20, 99, 100, 1000, 100_000]
