"""Policy tests on what runs: the flows that a test states, among what bears the labels that it states now. Pure.

A stated workload means every set of labels in its namespace that has all of its labels, and perhaps more; what more it
has is where policies may treat it otherwise than the test's author thought.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from atoll.federation.resources.labelsets import ClusterWorkloads
from atoll.policies.identity import Endpoint, Party
from atoll.policies.trials.fleet import Fleet
from atoll.policies.trials.parties import endpoints_of
from atoll.policies.trials.scenario import Expectation, Scenario
from atoll.policies.verdict import Flow

# Sets that are looked at for one stated workload: with more, the first few thousand verdicts say enough.
_MOST_MEANT = 200


@dataclass(frozen=True, order=True)
class LiveFailure:
    """An expectation that does not hold for what runs."""

    path: str
    line: int
    source: str
    destination: str
    port: str
    is_allowed: bool
    why: str = ""

    def __str__(self) -> str:
        word = "allowed" if self.is_allowed else "denied"
        why = f" ({self.why})" if self.why else ""
        return f"{self.path}:{self.line}: {self.source} -> {self.destination} {self.port} is {word}{why}"


def run_live(
    scenarios: Iterable[Scenario], fleet: Fleet, workloads: Mapping[str, ClusterWorkloads]
) -> tuple[LiveFailure, ...]:
    """Judge stated flows among what runs; give those that are not as expected.

    Args:
        scenarios: the policy tests. Clusters that they name and that are not there are left out; a test that names
            none means every cluster.
        fleet: what the clusters hold.
        workloads: what runs, by the clusters' names in the mesh.
    """
    running = [pod for pod, _ in endpoints_of(workloads)]
    found: set[LiveFailure] = set()
    for scenario in scenarios:
        names_clusters = set(scenario.clusters) != {"local"}
        meant = {
            name: tuple(_meant(party, running, names_clusters=names_clusters))
            for name, party in scenario.parties.items()
        }
        for expectation in scenario.expectations:
            found.update(_failures(scenario, expectation, meant, fleet))
    return tuple(sorted(found))


def _meant(party: Party, running: Sequence[Endpoint], *, names_clusters: bool) -> Iterator[Party]:
    """Give what runs of a stated workload; a node or an address is itself."""
    if not isinstance(party, Endpoint):
        yield party
        return
    found = (
        pod
        for pod in running
        if pod.namespace == party.namespace
        and (not names_clusters or pod.cluster == party.cluster)
        # Who states no service account means any.
        and party.service_account in ("default", pod.service_account)
        and party.labels.items() <= pod.labels.items()
    )
    for _, pod in zip(range(_MOST_MEANT), found, strict=False):
        yield pod


def _failures(
    scenario: Scenario, expectation: Expectation, meant: Mapping[str, Sequence[Party]], fleet: Fleet
) -> Iterator[LiveFailure]:
    for source in meant[expectation.source]:
        for destination in meant[expectation.destination]:
            if source is destination or not _is_one(scenario, source, destination):
                continue
            flow = Flow(source, destination, expectation.port, expectation.protocol)
            is_allowed = fleet.judge(flow).allowed
            if is_allowed != (expectation.expect == "Allow"):
                port = f"{expectation.port}/{expectation.protocol}"
                ends = _name(source, expectation.source), _name(destination, expectation.destination)
                yield LiveFailure(scenario.path, expectation.line, *ends, port, is_allowed, expectation.why)


def _is_one(scenario: Scenario, source: Party, destination: Party) -> bool:
    """Say whether a pair is one that the test speaks of: without clusters of its own it speaks of one at a time."""
    if set(scenario.clusters) != {"local"}:
        return True
    homes = {end.cluster for end in (source, destination) if isinstance(end, Endpoint)}
    return len(homes) < 2


def _name(party: Party, stated: str) -> str:
    return f"{party.name}@{party.cluster}" if isinstance(party, Endpoint) else stated
