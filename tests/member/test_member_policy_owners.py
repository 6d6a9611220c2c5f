"""Who holds a policy object that several sets order."""

from hypothesis import given
from hypothesis import strategies as st

from atoll.edge.member.objects import Kind, ObjectRef
from atoll.edge.member.policy_owners import Owners
from atoll.edge.member.records import HeldObject, PolicyRecord, SavedRef

KIND = Kind("networking.k8s.io/v1", "NetworkPolicy")
A, B, C = (ObjectRef(KIND, "lab", name) for name in "abc")


def record(name: str, *refs: ObjectRef) -> PolicyRecord:
    return PolicyRecord(name=name, held=tuple(HeldObject(object=SavedRef.of(ref), digest="d") for ref in refs))


def test_the_first_that_orders_an_object_keeps_it_and_the_other_is_told_who_does() -> None:
    owners = Owners(())
    assert owners.order("one", {A, B}) == frozenset()
    assert owners.order("two", {B, C}) == frozenset()
    assert owners.contested("two") == {"one": [B]}
    assert owners.contested("one") == {}
    assert owners.may_touch("two", C) and not owners.may_touch("two", B)


def test_what_a_set_orders_no_more_goes_to_the_set_that_waits_for_it() -> None:
    owners = Owners(())
    owners.order("one", {A, B})
    owners.order("two", {A})
    assert owners.order("one", {B}) == {"two"}
    assert owners.contested("two") == {} and not owners.may_touch("one", A)


def test_two_sets_may_exchange_objects_without_waiting_for_each_other() -> None:
    owners = Owners(())
    owners.order("one", {A})
    owners.order("two", {B})
    assert owners.order("one", {B}) == frozenset()
    assert owners.order("two", {A}) == {"one"}
    assert owners.contested("one") == {} and owners.contested("two") == {}


def test_who_held_it_before_a_restart_holds_it_until_it_is_heard_of() -> None:
    owners = Owners((record("one", A),))
    owners.order("two", {A})
    assert owners.contested("two") == {"one": [A]}
    assert owners.order("one", ()) == {"two"}


def test_a_set_that_only_observes_holds_nothing_and_is_told_of_changes_while_nobody_holds_it() -> None:
    owners = Owners(())
    owners.observe("watching", {A})
    assert owners.concerned(KIND, "lab/a") == "watching"
    owners.order("one", {A})
    assert owners.concerned(KIND, "lab/a") == "one"
    assert owners.observe("one", {A}) == frozenset()
    assert owners.may_touch("two", A), "it is free for whoever orders it next"


def test_an_object_of_the_whole_cluster_is_found_by_its_name_alone() -> None:
    owners = Owners(())
    owners.order("one", {ObjectRef(KIND, None, "a")})
    assert (owners.concerned(KIND, "a"), owners.concerned(KIND, "lab/a")) == ("one", None)


ORDERS = st.lists(
    st.tuples(st.sampled_from(["one", "two", "three"]), st.frozensets(st.sampled_from([A, B, C])), st.booleans())
)


@given(ORDERS)
def test_every_object_that_is_ordered_has_exactly_one_holder_among_those_that_order_it(
    orders: list[tuple[str, frozenset[ObjectRef], bool]],
) -> None:
    owners, standing = Owners(()), dict[str, frozenset[ObjectRef]]()
    for name, refs, ends in orders:
        if ends and name in standing:
            owners.end(name)
            del standing[name]
        else:
            owners.order(name, refs)
            standing[name] = refs
        for ref in (A, B, C):
            ordering = [each for each, theirs in standing.items() if ref in theirs]
            assert sum(owners.may_touch(each, ref) for each in ordering) == (1 if ordering else 0)
