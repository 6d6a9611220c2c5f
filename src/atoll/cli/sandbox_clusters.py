"""What the `sandbox cluster` commands do: start and stop clusters beside the sandbox's own, show all of them."""

from functools import partial

import orjson

from atoll.cli import watching
from atoll.cli.options import Output
from atoll.cli.output import hint, say, to_yaml
from atoll.cli.sandboxes import running_home
from atoll.cli.tables import print_table
from atoll.federation.errors import AtollError, InvalidInput
from atoll.local.context_entry import add_context, remove_context
from atoll.local.home import Home
from atoll.local.kubeconfig_file import user_files
from atoll.sandbox.control import Control
from atoll.sandbox.state import read_state


def start(folder: str | None, name: str, *, is_meshed: bool, pod_network: str, with_context: bool) -> None:
    """Start a cluster and tell how it is reached and joined."""
    home = running_home(folder)
    started = Control.of(home).start_cluster(name, is_meshed=is_meshed, pod_network=pod_network)
    say(f"cluster {name} started")
    kubeconfig = started["kubeconfig"]
    try:
        path = add_context(user_files(), name, started["server"]) if with_context else None
    except AtollError as error:
        hint(f"your kubeconfig was left alone: {error}")
        path = None
    hint(f"kubectl finds it with: {f'--context {name} (in {path})' if path else f'--kubeconfig {kubeconfig}'}")
    way = f"--context {name}" if path else f"| kubectl --kubeconfig {kubeconfig} apply -f -"
    sight = "--cilium-exec " if is_meshed else ""  # it has links that its agent can see by Cilium's pods only
    hint(f"to join it: atoll cluster join {name} {sight}{way}")


def stop(folder: str | None, name: str) -> None:
    """Stop a cluster that was started by hand.

    Raises:
        NotFound: there is none. InvalidInput: it is one of the sandbox's own.
    """
    home = running_home(folder)
    state = home.read_state()
    if state is not None and any(name == cluster.name for cluster in state.clusters):
        raise InvalidInput(
            f"{name} is one of the sandbox's own clusters: break it with 'atoll sandbox fault', or 'down'"
        )
    Control.of(home).stop_cluster(name)
    say(f"cluster {name} stopped")
    try:
        remove_context(user_files(), name)
    except AtollError as error:
        hint(f"your kubeconfig was left alone: {error}")


def show(folder: str | None, output: Output, *, watch: bool) -> None:
    """Print the clusters that run, and if asked again whenever one was started or stopped."""
    home = running_home(folder)
    watching.show(partial(_read, home), partial(_print, output=output), output, watch=watch)


def _read(home: Home) -> list[dict[str, str]]:
    state = home.read_state()
    own = {cluster.name for cluster in state.clusters} if state is not None else set()
    return [
        {
            "name": one.name,
            "version": one.version,
            "agent": "the sandbox" if one.name in own else "who joins it",
            "server": one.server,
            "kubeconfig": one.kubeconfig,
        }
        for one in read_state(home.root / "clusters").clusters
    ]


def _print(clusters: list[dict[str, str]], output: Output) -> None:
    if output is Output.JSON:
        say(orjson.dumps(clusters, option=orjson.OPT_INDENT_2).decode())
    elif output is Output.YAML:
        say(to_yaml(clusters).rstrip())
    elif output is Output.NAME:
        for cluster in clusters:
            say(f"cluster/{cluster['name']}")
    else:
        headers = ("NAME", "VERSION", "AGENT", "API", "KUBECONFIG")[: None if output is Output.WIDE else -1]
        print_table(headers, [list(cluster.values())[: len(headers)] for cluster in clusters])
