"""`atoll policy`: check policies before they are committed. What concerns those in force is in policy_sets.py."""

import contextlib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atoll.cli import completing, policy_library, policy_sets
from atoll.cli.choosing import HubChoice, chooses_hub
from atoll.cli.groups import Noun
from atoll.cli.options import RecordFormat, RecordOutput
from atoll.cli.policy_sets import SetName

if TYPE_CHECKING:
    from atoll.cli.api import Api

app = typer.Typer(cls=Noun, no_args_is_help=True, help="Network policies: valid before Git, held after it.")
app.add_typer(policy_library.app, name="library")
Folder = Annotated[Path, typer.Argument(metavar="PATH", help="File or folder with policy manifests.", exists=True)]
From = Annotated[str, typer.Argument(metavar="FROM", help="Who opens the connection.")]
To = Annotated[str, typer.Argument(metavar="TO", help="Who takes it.")]
Port = Annotated[str, typer.Argument(metavar="PORT", help="Such as 443, 53/UDP or 8/ICMP (its type).")]
Among = Annotated[Path, typer.Option("--in", metavar="PATH", help="Folder of policies and tests.", exists=True)]


class GraphForm(StrEnum):
    """What `graph -o` takes."""

    TABLE = "table"
    MERMAID = "mermaid"
    SVG = "svg"


class PlanOutput(StrEnum):
    """What `plan -o` takes."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"


Against = Annotated[str | None, typer.Option("--against", metavar="COMMIT", help="Branch, tag or commit.")]
OnlyCluster = Annotated[
    str | None,
    typer.Option(
        "--cluster", metavar="NAME", help="Only what this cluster would hold.", autocompletion=completing.of("clusters")
    ),
]
OfSet = Annotated[str | None, typer.Option("--policyset", metavar="NAME", help="The clusters of this policy set.")]
Saved = Annotated[
    Path | None,
    typer.Option(
        "--workloads", metavar="FILE", help="What 'policy workloads' has saved: no hub is asked.", exists=True
    ),
]
PlanForm = Annotated[PlanOutput, typer.Option("--output", "-o", help="Form of the output.")]
Form = Annotated[GraphForm, typer.Option("--output", "-o", help="How it is drawn.")]


@app.command()
def validate(path: Folder) -> None:
    """Check policy manifests: schema and meaning, without a hub.

    \b
    Example:
      atoll policy validate policies/
    """
    from atoll.cli import policies

    policies.validate(path)


@app.command()
def test(path: Folder, output: RecordFormat = RecordOutput.TABLE) -> None:
    """Run the policy tests (*.policytest.yaml) beside the policies, without a hub or a cluster.

    Exit 3 if a flow is not as expected, or if a stated cluster cannot enforce a policy.

    \b
    Example:
      atoll policy test policies/
    """
    from atoll.cli import policy_trials

    if not policy_trials.run_tests(path, output):
        raise typer.Exit(3)


@app.command()
def explain(source: From, destination: To, port: Port, path: Among = Path()) -> None:
    """Say whether a connection is allowed, and by which rules on both sides; exit 3 if it is not.

    FROM and TO are workloads that a policy test in the folder states.

    \b
    Example:
      atoll policy explain trainer catalog 443 --in policies/
    """
    from atoll.cli import policy_trials

    if not policy_trials.explain_flow(path, source, destination, port):
        raise typer.Exit(3)


@app.command()
def graph(path: Folder, form: Form = GraphForm.TABLE) -> None:
    """Draw who may talk to whom among the workloads that the policy tests state: table, Mermaid or SVG.

    \b
    Example:
      atoll policy graph policies/ -o mermaid
    """
    from atoll.cli import policy_trials

    policy_trials.draw(path, form)


@app.command()
@chooses_hub
def lint(
    path: Folder,
    policyset: OfSet = None,
    workloads: Saved = None,
    output: RecordFormat = RecordOutput.TABLE,
    *,
    hub: HubChoice,
) -> None:
    """Find what is valid and hardly meant: shadowed allows, dropped labels, one-sided mesh rules; exit 3 if any.

    With --policyset or --workloads also what it costs among what runs: identities, and entries of policy maps.

    \b
    Example:
      atoll policy lint policies/
      atoll policy lint policies/ --policyset seismology
    """
    from atoll.cli import policy_lint, policy_planning

    with _hub_of(hub, policyset if workloads is None else None) as api:
        is_clean = policy_lint.lint_folder(path, output, policy_planning.Among(api, policyset or "", workloads))
    if not is_clean:
        raise typer.Exit(3)


@app.command()
@chooses_hub
def plan(
    path: Folder,
    against: Against = None,
    policyset: OfSet = None,
    workloads: Saved = None,
    output: PlanForm = PlanOutput.TABLE,
    *,
    hub: HubChoice,
) -> None:
    """Say what a folder of policies would change: objects in each cluster, and verdicts among workloads.

    It is compared with the commit HEAD, with --against, or with the commit that --policyset has in force. The clusters
    are those of the policy tests beside the policies, or with --policyset those of the hub, and verdicts are compared
    among what runs there now, too; with --workloads, as a file has it, offline. Exit 3 if anything changes.

    \b
    Example:
      atoll policy plan policies/ --against main -o markdown
      atoll policy plan policies/ --policyset seismology
    """
    from atoll.cli import policy_planning

    with _hub_of(hub, policyset if workloads is None else None) as api:
        among = policy_planning.Among(api, policyset or "", workloads)
        is_different = policy_planning.show_plan(path, against, output, among)
    if is_different:
        raise typer.Exit(3)


@app.command()
@chooses_hub
def diff(
    path: Folder,
    against: Against = None,
    policyset: OfSet = None,
    cluster: OnlyCluster = None,
    *,
    hub: HubChoice,
) -> None:
    """Show what clusters would hold otherwise, object by object, as a unified diff of what is compiled for each.

    What is compared is chosen as for 'plan'. Exit 3 if anything differs.

    \b
    Example:
      atoll policy diff policies/ --against main --cluster lab
    """
    from atoll.cli import policy_planning

    with _hub_of(hub, policyset) as api:
        among = policy_planning.Among(api, policyset or "")
        is_different = policy_planning.show_diff(path, against, cluster, among)
    if is_different:
        raise typer.Exit(3)


@app.command()
@chooses_hub
def workloads(name: SetName, *, hub: HubChoice) -> None:
    """Print what runs now in the clusters of a policy set, as policies see it: for 'policy plan --workloads' in CI.

    \b
    Example:
      atoll policy workloads seismology > workloads.json
    """
    from atoll.cli import policy_live
    from atoll.cli.hub import connect

    with connect(hub) as api:
        policy_live.save(api, name)


@contextlib.contextmanager
def _hub_of(hub: HubChoice, policyset: str | None) -> Iterator["Api | None"]:
    """Connect to the hub where a set of it is named; without one nobody is asked."""
    if policyset is None:
        yield None
        return
    from atoll.cli.hub import connect

    with connect(hub) as api:
        yield api


policy_sets.register(app)
