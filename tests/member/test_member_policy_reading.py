"""Orders of policies are read as they were sent, and what they have in common with the one before is kept."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.edge.member.policy_reading import OrderReader, Reading
from atoll.federation.bus.messages import PolicyOrder
from atoll.federation.errors import Internal

NAMES = ("a", "b", "c", "d")
Order = list[tuple[str, int]]
ORDERS = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 2)), max_size=6)


def policy(name: str, port: int = 80) -> dict[str, Any]:
    spec = {"podSelector": {}, "ingress": [{"ports": [{"port": port}]}]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "web"},
        "spec": spec,
    }


def order(*manifests: dict[str, Any], commit: str = "c1", name: str = "base") -> bytes:
    return PolicyOrder(name=name, commit=commit, manifests=manifests).encode()


def said(reading: Reading) -> tuple[Any, ...]:
    wanted = [(one.ref, one.digest, one.policy) for one in reading.wanted]
    return reading.order, wanted, [str(each) for each in reading.problems]


def test_an_order_is_read_as_it_was_sent_with_the_label_of_its_set() -> None:
    reading = OrderReader().read("base", order(policy("a"), policy("b", 443)))
    assert (reading.order.name, reading.order.commit, reading.order.observe_only) == ("base", "c1", False)
    assert [one.ref.key for one in reading.wanted] == ["web/a", "web/b"]
    body = reading.wanted[1].policy.body
    assert body["spec"] == policy("b", 443)["spec"]
    assert body["metadata"]["labels"] == {"atoll.dev/policyset": "base"}


def test_what_has_not_changed_is_the_very_same_value_and_what_has_is_not() -> None:
    reader = OrderReader()
    old = {one.ref.name: one for one in reader.read("base", order(policy("a"), policy("b"))).wanted}
    later = order(policy("a"), policy("b", 443), policy("c"), commit="c2")
    new = {one.ref.name: one for one in reader.read("base", later).wanted}
    assert new.keys() == {"a", "b", "c"}
    assert new["a"] is old["a"]
    assert new["b"].digest != old["b"].digest
    assert reader.read("base", later).order.commit == "c2"


@given(ORDERS, ORDERS)
def test_an_order_says_the_same_whichever_came_before_it(before: Order, after: Order) -> None:
    reader, raw = OrderReader(), order(*(policy(*one) for one in after), commit="c2")
    reader.read("base", order(*(policy(*one) for one in before)))
    assert said(reader.read("base", raw)) == said(OrderReader().read("base", raw))


def test_an_order_under_another_sets_name_bears_that_ones_label() -> None:
    reader = OrderReader()
    reader.read("base", order(policy("a")))
    (one,) = reader.read("base", order(policy("a"), name="other")).wanted
    assert one.policy.body["metadata"]["labels"] == {"atoll.dev/policyset": "other"}


def test_an_object_without_a_name_is_told_and_the_others_are_read() -> None:
    reading = OrderReader().read("base", order(policy("a"), {"kind": "NetworkPolicy"}))
    assert [one.ref.name for one in reading.wanted] == ["a"]
    assert ["apiVersion" in str(problem) for problem in reading.problems] == [True]


MALFORMED = {
    "it is cut off": order(policy("a"))[:-9],
    "it is no object": b"[]",
    "it is no text": b'{"name":"\xff","commit":"c","manifests":[]}',
    "it has no commit": b'{"name":"base","manifests":[]}',
    "it has no manifests": b'{"name":"base","commit":"c"}',
    "its manifests are none": b'{"name":"base","commit":"c","manifests":{}}',
    "a manifest is no object": b'{"name":"base","commit":"c","manifests":[7]}',
    "it says something unknown": b'{"name":"base","commit":"c","manifests":[],"more":1}',
    "it is a tower": b'{"name":"base","commit":"c","manifests":[' + b"[" * 100_000,
}


@pytest.mark.parametrize("why", MALFORMED)
def test_what_is_no_order_is_refused_and_the_next_one_is_read(why: str) -> None:
    reader = OrderReader()
    with pytest.raises(Internal, match="malformed PolicyOrder"):
        reader.read("base", MALFORMED[why])
    assert len(reader.read("base", orjson.dumps(orjson.loads(order(policy("a"))))).wanted) == 1
