"""What `policy test|explain|graph` do: judge policies offline, on the workloads that policy tests state."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from atoll.cli.options import RecordOutput
from atoll.cli.output import hint, plural, say, to_yaml
from atoll.cli.policy_files import PolicyFolder, merged, modelled, names_of, read_folder
from atoll.cli.tables import print_table
from atoll.federation.errors import InvalidInput
from atoll.policies.trials.fleet import Fleet, targets_of
from atoll.policies.trials.reach import find_reaches, to_mermaid, to_svg
from atoll.policies.trials.scenario import Scenario, parse_port
from atoll.policies.trials.trial import Outcome, TrialResult, explain, run_trial
from atoll.policies.verdict import Flow


def run_tests(path: Path, output: RecordOutput) -> bool:
    """Run every policy test under a path; tell whether all passed.

    Raises:
        InvalidInput: a file cannot be read, or there is no test.
    """
    folder = read_folder(path)
    if not folder.scenarios:
        raise InvalidInput(f"{path}: no policy test found; tests are files such as training.policytest.yaml")
    results = modelled(lambda: [run_trial(scenario, folder.manifests) for scenario in folder.scenarios])
    if output is not RecordOutput.TABLE:
        dump([_wire(result) for result in results], output)
    else:
        for result in results:
            _print_result(result)
    return all(result.passed for result in results)


def explain_flow(path: Path, source: str, destination: str, port: str) -> bool:
    """Say whether a connection is allowed and which rules say so; tell whether it is.

    Raises:
        InvalidInput: a file cannot be read, a name is none of the workloads, the port is no port.
    """
    folder = read_folder(path)
    scenario = _the_scenario(folder, path, source, destination)
    try:
        number, protocol = parse_port(port)
    except ValueError as error:
        raise InvalidInput(str(error)) from error
    flow = Flow(scenario.parties[source], scenario.parties[destination], number, protocol)
    fleet = modelled(lambda: Fleet(folder.manifests, targets_of(scenario.clusters), scenario.namespaces))
    verdict = fleet.judge(flow)
    say(f"{'allowed' if verdict.allowed else 'denied'}: {source} -> {destination} {number}/{protocol}")
    for line in explain(fleet, flow, verdict):
        say(f"  {line}")
    for refused in fleet.refused:
        hint(f"{refused.cluster} cannot enforce {refused.what}")
    return verdict.allowed


def draw(path: Path, form: str) -> None:
    """Print who may talk to whom among the workloads of the policy tests, as a table, Mermaid or SVG.

    Raises:
        InvalidInput: a file cannot be read, or there is no test that states workloads.
    """
    folder = read_folder(path)
    scenario = merged(folder, path)
    fleet = modelled(lambda: Fleet(folder.manifests, targets_of(scenario.clusters), scenario.namespaces))
    reaches = find_reaches(fleet, scenario.parties)
    if form == "mermaid":
        say(to_mermaid(reaches, scenario.parties).rstrip())
    elif form == "svg":
        say(to_svg(reaches, scenario.parties).rstrip())
    else:
        print_table(("FROM", "TO", "OPEN"), ((r.source, r.destination, r.ports) for r in reaches if r.spans))
        hint(f"{sum(bool(reach.spans) for reach in reaches)} of {plural(len(reaches), 'pair')} may talk")


def _the_scenario(folder: PolicyFolder, path: Path, source: str, destination: str) -> Scenario:
    """Find the test that states both workloads."""
    for scenario in folder.scenarios:
        if {source, destination} <= scenario.parties.keys():
            return scenario
    known = names_of(dict.fromkeys(name for scenario in folder.scenarios for name in scenario.parties))
    missing = source if all(source not in scenario.parties for scenario in folder.scenarios) else destination
    raise InvalidInput(f"{path}: no policy test states {missing!r} beside the other; there are: {known}")


def _print_result(result: TrialResult) -> None:
    failed = [outcome for outcome in result.outcomes if not outcome.holds]
    say(f"{'ok' if result.passed else 'FAILED'}  {result.scenario.name}  ({result.scenario.path})")
    for line in result.unenforceable:
        say(f"  cannot be enforced: {line}")
    for outcome in failed:
        _print_failure(result.scenario, outcome)
    _print_matrix(result)
    held = len(result.outcomes) - len(failed)
    say(f"  {held} of {plural(len(result.outcomes), 'flow')} as expected")


def _print_failure(scenario: Scenario, outcome: Outcome) -> None:
    expected = outcome.expectation
    word = "allowed" if outcome.verdict.allowed else "denied"
    port = f"{expected.port}/{expected.protocol}"
    why = f": {expected.why}" if expected.why else ""
    say(f"  {scenario.path}:{expected.line}: {expected.source} -> {expected.destination} {port} is {word}{why}")
    for line in outcome.deciding:
        say(f"    {line}")


def _print_matrix(result: TrialResult) -> None:
    """Print one row per source and port: what was asked, + allowed, - denied, ! not as expected, . not asked."""
    parties = [n for n in result.scenario.parties if any(_is_asked(o, n) for o in result.outcomes)]
    say("")
    print_table(("  FROM", "PORT", *parties), _matrix_rows(result, parties))
    say("")


def _matrix_rows(result: TrialResult, columns: Sequence[str]) -> Iterator[tuple[object, ...]]:
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for outcome in result.outcomes:
        expected = outcome.expectation
        row = cells.setdefault((expected.source, f"{expected.port}/{expected.protocol}"), {})
        row[expected.destination] = ("+" if outcome.verdict.allowed else "-") + ("" if outcome.holds else "!")
    for (source, port), row in cells.items():
        yield f"  {source}", port, *(row.get(name, ".") for name in columns)


def _is_asked(outcome: Outcome, name: str) -> bool:
    return name == outcome.expectation.destination


def _wire(result: TrialResult) -> dict[str, Any]:
    return {
        "name": result.scenario.name,
        "path": result.scenario.path,
        "passed": result.passed,
        "unenforceable": list(result.unenforceable),
        "flows": [_flow(outcome) for outcome in result.outcomes],
    }


def _flow(outcome: Outcome) -> dict[str, Any]:
    expected = outcome.expectation
    return {
        "from": expected.source,
        "to": expected.destination,
        "port": f"{expected.port}/{expected.protocol}",
        "expect": expected.expect,
        "got": "Allow" if outcome.verdict.allowed else "Deny",
        "why": expected.why,
        "line": expected.line,
        "deciding": list(outcome.deciding),
    }


def dump(value: object, output: RecordOutput) -> None:
    """Print a record as JSON or YAML."""
    say(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() if output is RecordOutput.JSON else to_yaml(value))
