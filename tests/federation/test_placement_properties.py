"""What must hold of every decision, whatever the clusters and the job."""

import json
from dataclasses import replace
from math import isfinite

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from placement_worlds import NOW, PROPERTY, apart, demands, model_total, shapes, worlds

from atoll.federation.placement import Case, decide, outline
from atoll.federation.placement.feasible import feasible, obstacles


def decision(wanted, table):
    """Decide at the time of the test worlds."""
    return decide(wanted, table, decided_at=NOW)


@given(demands(), worlds(with_runs=False))
@settings(PROPERTY, max_examples=150)
def test_a_decision_is_what_a_plain_model_decides(wanted, table):
    """The same clusters are feasible, with the same totals, and the selected one has the lowest."""
    made = decision(wanted, table)
    modelled = {view.name: model_total(wanted, table, view) for view in table.views}
    feasible = {name: total for name, total in modelled.items() if total is not None}
    assert {verdict.cluster for verdict in made.verdicts if verdict.is_feasible} == set(feasible)
    for verdict in made.verdicts:
        if verdict.is_feasible:
            assert verdict.terms.total_seconds == pytest.approx(feasible[verdict.cluster], rel=1e-9, abs=1e-6)
    assert (made.selected is None) is (not feasible)
    if feasible:
        assert feasible[made.selected] == pytest.approx(min(feasible.values()), rel=1e-9, abs=2e-3)


@given(demands(), worlds())
@PROPERTY
def test_every_cluster_has_finite_terms_or_a_reason(wanted, table):
    """Never both, never neither; the selected cluster has terms; the record is JSON without NaN or infinity."""
    made = decision(wanted, table)
    assert {verdict.cluster for verdict in made.verdicts} == {view.name for view in table.views}
    for verdict in made.verdicts:
        assert verdict.is_feasible is (not verdict.reasons) is (verdict.terms is not None)
        if verdict.terms:
            assert all(isfinite(value) and value >= 0 for value in vars(verdict.terms).values())
        assert all(reason.message for reason in verdict.reasons)
    assert made.selected is None or made.verdict(made.selected).is_feasible
    assert json.loads(json.dumps(made.to_dict(), allow_nan=False))["selected"] == made.selected


@given(demands(), worlds())
@PROPERTY
def test_equal_input_gives_an_equal_decision(wanted, table):
    """Neither memory of earlier answers nor the order of clusters changes what is decided."""
    first = decision(wanted, table)
    assert decision(wanted, table) == first
    turned = decision(wanted, apart(*reversed(table.views)))
    assert turned.selected == first.selected
    assert outline(turned.to_dict()) == outline(first.to_dict())


@given(demands(), worlds(), st.integers(0, 3), shapes())
@PROPERTY
def test_adding_capacity_never_makes_a_feasible_cluster_infeasible(wanted, table, number, added):
    """More nodes can only help feasibility, and never lengthen the wait."""
    view = table.views[number % len(table)]
    larger = table.with_occupied(replace(view, shapes=(*view.shapes, added)))
    before, after = decision(wanted, table).verdict(view.name), decision(wanted, larger).verdict(view.name)
    if before.is_feasible:
        assert after.is_feasible
        assert after.terms.wait_seconds <= before.terms.wait_seconds


@given(demands(), worlds(), st.integers(1, 10**11))
@PROPERTY
def test_more_bytes_never_make_a_score_better(wanted, table, more):
    """A total never falls when an input grows."""
    if not wanted.inputs:
        return
    first, *others = wanted.inputs
    heavier = replace(wanted, inputs=(replace(first, bytes=first.bytes + more), *others))
    before, after = decision(wanted, table), decision(heavier, table)
    for verdict in after.verdicts:
        if verdict.is_feasible:
            earlier = before.verdict(verdict.cluster)
            assert earlier.is_feasible
            assert verdict.terms.total_seconds >= earlier.terms.total_seconds - 1e-6


@given(demands(), worlds())
@PROPERTY
def test_a_replica_more_never_makes_a_cluster_worse(wanted, table):
    """When a cluster holds the inputs itself, its own staging is gone and its total is no higher."""
    before = decision(wanted, table)
    for verdict in before.verdicts:
        if verdict.is_feasible:
            held = tuple(
                replace(needed, replicas=tuple({*needed.replicas, verdict.cluster})) for needed in wanted.inputs
            )
            after = decision(replace(wanted, inputs=held), table).verdict(verdict.cluster)
            assert after.terms.staging_seconds == 0
            assert after.terms.total_seconds <= verdict.terms.total_seconds + 1e-6


@given(demands(), worlds())
@PROPERTY
def test_a_suggestion_is_about_a_known_cluster_and_promises_only_what_is_better(wanted, table):
    """Suggestions name a cluster and a change; one that claims seconds beats what was selected."""
    made = decision(wanted, table)
    for suggestion in made.diagnosis:
        assert suggestion.cluster in table.index
        assert suggestion.message
        assert suggestion.changes
        if made.selected is not None:
            assert suggestion.saves_seconds >= 1
            assert suggestion.total_seconds == pytest.approx(made.terms.total_seconds - suggestion.saves_seconds)
    assert len(made.diagnosis) <= 3


@given(demands(), worlds())
@PROPERTY
def test_the_quick_answer_is_the_one_that_the_reasons_give(wanted, table):
    """What the kernel calls feasible is exactly what fails no check."""
    case = Case(wanted, table)
    assert (feasible(case) == ~obstacles(case).any(axis=0)).all()


@given(st.lists(demands(), min_size=1, max_size=3), worlds(), st.integers(0, 3), st.lists(shapes(), max_size=2))
@PROPERTY
def test_a_table_that_was_changed_in_place_of_one_cluster_is_like_a_new_one(wants, table, number, shapes_now):
    """with_occupied forgets every answer that the change makes wrong."""
    for wanted in wants:
        decision(wanted, table)  # fills the memory of the old table
    view = replace(table.views[number % len(table)], shapes=tuple(shapes_now), occupations=())
    fresh = apart(*(view if each.name == view.name else each for each in table.views))
    changed = table.with_occupied(view)
    for wanted in wants:
        assert decision(wanted, changed) == decision(wanted, fresh)
