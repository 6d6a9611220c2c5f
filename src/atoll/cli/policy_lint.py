"""What `policy lint` does: say what is valid and hardly meant, and with what runs also what it costs there."""

import ipaddress
from pathlib import Path

from atoll.cli.options import RecordOutput
from atoll.cli.output import hint, plural, say
from atoll.cli.policy_files import PolicyFolder, merged, modelled, read_folder
from atoll.cli.policy_live import Live
from atoll.cli.policy_planning import Among, live_of
from atoll.cli.policy_trials import dump
from atoll.federation.errors import InvalidInput
from atoll.policies.lint import LintFinding, lint, lint_live, lint_on
from atoll.policies.trials.fleet import Fleet, targets_of
from atoll.policies.trials.parties import namespaces_of


def lint_folder(path: Path, output: RecordOutput, among: Among) -> bool:
    """Print what is valid and yet hardly meant; tell whether nothing was found.

    Args:
        path: the folder of policies.
        output: table, json or yaml.
        among: of whose clusters and workloads the cost is estimated, if of any.

    Raises:
        InvalidInput: a file cannot be read, or there is no policy. NotFound: there is no such set.
    """
    folder = read_folder(path)
    if not folder.manifests:
        raise InvalidInput(f"{path}: no policy found")
    live = live_of(among)
    costs = _costs(folder, live) if live is not None else ()
    found = sorted({*modelled(lambda: lint(folder.manifests)), *_on_workloads(folder, path), *costs})
    if output is not RecordOutput.TABLE:
        names = ("path", "line", "field", "check", "message")
        dump([{name: getattr(finding, name) for name in names} for finding in found], output)
    else:
        for finding in found:
            say(str(finding))
        hint(f"{plural(len(found), 'finding')} in {plural(len(folder.manifests), 'policy')}")
        if not folder.scenarios:
            hint("with policy tests beside the policies more is checked: what they select, and both sides of a mesh")
    return not found


def _on_workloads(folder: PolicyFolder, path: Path) -> tuple[LintFinding, ...]:
    if not folder.scenarios:
        return ()
    scenario = merged(folder, path)
    networks = {
        name: [ipaddress.ip_network(text) for text in cluster.pod_networks]
        for name, cluster in scenario.clusters.items()
    }

    def look() -> tuple[LintFinding, ...]:
        fleet = Fleet(folder.manifests, targets_of(scenario.clusters), scenario.namespaces)
        return lint_on(folder.manifests, fleet, scenario.parties, namespaces=scenario.namespaces, pod_networks=networks)

    return modelled(look)


def _costs(folder: PolicyFolder, live: Live) -> tuple[LintFinding, ...]:
    def look() -> tuple[LintFinding, ...]:
        known = {name: running for name, running in live.workloads.items() if name in live.targets}
        homes = {name: live.targets[name] for name in known}
        return lint_live(folder.manifests, Fleet(folder.manifests, homes, namespaces_of(known)), known)

    return modelled(look)
