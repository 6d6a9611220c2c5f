"""Of a new commit only what changed is compiled, stamped and written: in one hub's life, and over a restart."""

from datetime import UTC, datetime
from typing import Any

from atoll.federation.bus.messages import PolicyOrder
from atoll.federation.resources import PolicySet
from atoll.hub.controllers.policy_orders import OrderBook
from atoll.policies.bundle import Bundle
from atoll.policies.compile import Target
from atoll.policies.manifest import Manifest, parse_file

TARGET = Target("lab", cilium_version="1.19.0")
POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: NAME, namespace: web}
spec: {podSelector: {matchLabels: {app: APP}}}
"""
SET = PolicySet.model_validate(
    {
        "apiVersion": "atoll.dev/v1alpha1",
        "kind": "PolicySet",
        "metadata": {"name": "base"},
        "spec": {"source": {"repository": "/policies"}, "targets": {"clusters": {}}},
    }
)


def policy(name: str, app: str = "web", path: str = "") -> Manifest:
    """Give one policy, in a file of its own."""
    (found,) = parse_file(POLICY.replace("NAME", name).replace("APP", app), path or f"{name}.yaml").manifests
    return found


def bundle(commit: str, *manifests: Manifest) -> Bundle:
    """Give a commit."""
    return Bundle(commit, "Ada", datetime(2026, 3, 1, tzinfo=UTC), manifests, ())


def bodies(order: PolicyOrder) -> dict[str, Any]:
    """Give what is ordered, by name."""
    return {body["metadata"]["name"]: body for body in order.manifests}


def commit_of(body: dict[str, Any]) -> str:
    """Give the commit that an object bears."""
    return body["metadata"]["annotations"]["atoll.dev/commit"]


def test_what_a_commit_leaves_as_it_was_is_ordered_as_it_was() -> None:
    book, a, b = OrderBook(), policy("a"), policy("b")
    first = book.order(SET, bundle("c1", a, b), TARGET, lambda: None)
    second = book.order(SET, bundle("c2", a, policy("b", "other"), policy("c")), TARGET, lambda: first)
    old, new = bodies(first), bodies(second)
    assert new["a"] == old["a"]
    assert {name: commit_of(body) for name, body in new.items()} == {"a": "c1", "b": "c2", "c": "c2"}
    assert second.commit == "c2"


def test_a_hub_that_begins_again_takes_up_what_stands_without_writing_it_anew() -> None:
    first = OrderBook().order(SET, bundle("c1", policy("a"), policy("b")), TARGET, lambda: None)
    standing = PolicyOrder.decode(first.encode())
    again = OrderBook().order(SET, bundle("c1", policy("a"), policy("b")), TARGET, lambda: standing)
    assert again.encode() == first.encode()
    later = bundle("c2", policy("a"), policy("b", path="moved.yaml"), policy("c"))
    order = bodies(OrderBook().order(SET, later, TARGET, lambda: standing))
    assert order["a"] == bodies(first)["a"]
    assert order["b"]["metadata"]["annotations"]["atoll.dev/origin"] == "moved.yaml:1"
    assert {commit_of(order["b"]), commit_of(order["c"])} == {"c2"}


def test_a_commit_that_comes_back_gets_the_very_order_that_it_had() -> None:
    book, c1, c2 = OrderBook(), bundle("c1", policy("a")), bundle("c2", policy("a", "other"))
    first = book.order(SET, c1, TARGET, lambda: None)
    second = book.order(SET, c2, TARGET, lambda: first)
    assert book.order(SET, c1, TARGET, lambda: second) is first
    assert book.order(SET, c2, TARGET, lambda: first) is second


def test_a_cluster_that_is_another_one_now_is_compiled_anew() -> None:
    book, commit = OrderBook(), bundle("c1", policy("a"))
    held = book.order(SET, commit, TARGET, lambda: None)
    away = book.order(SET, commit, Target("lab", cni="flannel"), lambda: held)
    assert book.compile("base", commit, Target("lab", cni="flannel")).unenforceable
    assert bodies(away) == bodies(held), "what cannot be enforced any more stays as it stood"


def test_an_order_is_on_the_wire_what_it_was() -> None:
    order = OrderBook().order(SET, bundle("c1", policy("a")), TARGET, lambda: None)
    assert PolicyOrder.model_validate_json(order.encode()) == order == PolicyOrder.decode(order.encode())


def test_a_hub_that_leads_again_keeps_what_it_compiled_and_looks_anew_at_what_stands() -> None:
    book, c1 = OrderBook(), bundle("c1", policy("a"))
    book.order(SET, c1, TARGET, lambda: None)
    compiled = book.compile("base", c1, TARGET)
    # Meanwhile another hub has led, and ordered the same policy of a commit of its own.
    theirs = OrderBook().order(SET, bundle("c0", policy("a")), TARGET, lambda: None)
    book.begin()
    assert book.compile("base", c1, TARGET) is compiled
    order = book.order(SET, c1, TARGET, lambda: theirs)
    assert (order.commit, commit_of(bodies(order)["a"])) == ("c1", "c0")


def test_what_is_compiled_for_a_plan_changes_no_order() -> None:
    a, b = policy("a"), policy("b")
    c1, c2 = bundle("c1", a, b), bundle("c2", a, policy("b", "other"))
    alone, planned = OrderBook(), OrderBook()
    for number in range(5):
        planned.compile("base", bundle(f"old-{number}", a, policy("gone", f"app-{number}")), TARGET)
    first = planned.order(SET, c1, TARGET, lambda: None)
    assert first == alone.order(SET, c1, TARGET, lambda: None)
    for each in (c1, c2, bundle("c0", b), bundle("c3", a)):
        planned.compile("base", each, TARGET)
    assert planned.order(SET, c2, TARGET, lambda: first) == alone.order(SET, c2, TARGET, lambda: first)
