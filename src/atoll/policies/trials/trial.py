"""Run a policy test: which expectations hold, and which rules say so where one does not. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from atoll.policies.identity import Address, Endpoint, Party
from atoll.policies.manifest import Manifest, Problem
from atoll.policies.rules import Unsupported
from atoll.policies.trials.fleet import Fleet, targets_of
from atoll.policies.trials.scenario import Expectation, Scenario
from atoll.policies.verdict import Flow, Side, Verdict

FAILED = "PolicyTestFailed"


@dataclass(frozen=True)
class Outcome:
    """What came of one expectation; `deciding` says for each side which rules decided, or why without any."""

    expectation: Expectation
    verdict: Verdict
    deciding: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Say whether the verdict is the expected one."""
        return self.verdict.allowed == (self.expectation.expect == "Allow")


@dataclass(frozen=True)
class TrialResult:
    """A test's outcomes; `unenforceable` tells of each cluster what it would refuse to hold."""

    scenario: Scenario
    outcomes: tuple[Outcome, ...]
    unenforceable: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Say whether everything is as expected, on clusters that can enforce everything."""
        return not self.unenforceable and all(outcome.holds for outcome in self.outcomes)


def run_trial(scenario: Scenario, manifests: Iterable[Manifest]) -> TrialResult:
    """Compile the policies for the scenario's clusters and judge its flows.

    Raises:
        Unsupported: a construct that the rule model cannot say.
    """
    fleet = Fleet(manifests, targets_of(scenario.clusters), scenario.namespaces)
    outcomes = []
    for expectation in scenario.expectations:
        flow = Flow(
            scenario.parties[expectation.source],
            scenario.parties[expectation.destination],
            expectation.port,
            expectation.protocol,
        )
        verdict = fleet.judge(flow)
        outcomes.append(Outcome(expectation, verdict, explain(fleet, flow, verdict)))
    refused = tuple(f"{item.cluster}: {item.what}" for item in fleet.refused)
    return TrialResult(scenario, tuple(outcomes), refused)


def explain(fleet: Fleet, flow: Flow, verdict: Verdict) -> tuple[str, ...]:
    """Say for each side what it does with a connection, and by which rules."""
    sides = (("egress", flow.source, verdict.egress), ("ingress", flow.destination, verdict.ingress))
    return tuple(_explain_side(fleet, name, party, side) for name, party, side in sides)


def _explain_side(fleet: Fleet, name: str, party: Party, side: Side | None) -> str:
    if side is None:
        return f"{name}: no policy can apply to {_name(party)}"
    word = "allowed" if side.allowed else "denied"
    if side.rules and isinstance(party, Endpoint):
        rules = "; ".join(fleet.where(party.cluster, rule) for rule in side.rules)
        further = " (and a proxy looks further)" if side.is_l7 else ""
        return f"{name}: {word} by {rules}{further}"
    return f"{name}: {word}, {_REASONS[side.because]}"


_REASONS = {
    "NoPolicy": "no policy selects it in this direction",
    "DefaultDeny": "policies select it in this direction and none of their rules allows this",
    "LocalHost": "a node always reaches its own pods",
    "Rule": "by a rule",
}


def _name(party: Party) -> str:
    return party.address if isinstance(party, Address) else party.name


def problems_of(scenario: Scenario, manifests: Sequence[Manifest]) -> list[Problem]:
    """Run a test; give what is not as expected as problems of its file."""
    try:
        result = run_trial(scenario, manifests)
    except Unsupported as error:
        return [Problem(scenario.path, 1, "", FAILED, f"cannot be judged offline: {error}")]
    found = [Problem(scenario.path, 1, "", FAILED, f"cannot be enforced: {item}") for item in result.unenforceable]
    return found + [_problem(scenario, outcome) for outcome in result.outcomes if not outcome.holds]


def _problem(scenario: Scenario, outcome: Outcome) -> Problem:
    expected = outcome.expectation
    word = "allowed" if outcome.verdict.allowed else "denied"
    why = f" ({expected.why})" if expected.why else ""
    message = f"{expected.source} -> {expected.destination} {expected.port}/{expected.protocol} is {word}{why}"
    return Problem(scenario.path, expected.line, "", FAILED, message)
