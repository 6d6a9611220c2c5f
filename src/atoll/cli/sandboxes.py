"""What the `sandbox` commands do: start the federation here or in the background, show it, stop it."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from atoll.cli import foreground
from atoll.cli.ages import age
from atoll.cli.joining import introduce, take_leave
from atoll.cli.options import Output
from atoll.cli.output import hint, plural, say, tell_interrupted, to_yaml
from atoll.cli.tables import print_table
from atoll.federation.errors import Conflict, InvalidInput, NotFound, Unavailable
from atoll.local import detach
from atoll.local.home import Home, default_home, running_homes
from atoll.local.signals import signals_raise
from atoll.local.stack import Stack
from atoll.local.state import State
from atoll.sandbox.control import Control
from atoll.sandbox.federation import compose, sandbox, seconds_to_start, supervisor_command
from atoll.sandbox.k3d import clusters as k3d_clusters
from atoll.sandbox.k3d import federation as k3d_federation
from atoll.sandbox.k3d import plan as k3d_plan
from atoll.sandbox.k3d import tools
from atoll.sandbox.kinds.operated import USUAL, check_kinds
from atoll.sandbox.state import ClusterState, read_state

# What comes before the wait for the clusters: NATS and the hub.
_START_SECONDS = 30.0


def home_of(folder: str | None) -> Home:
    """Give the folder that a person named, or the sandbox's own below the default home."""
    return Home.at(folder) if folder else Home(default_home() / "sandbox")


def run_here(home: Home, clusters: int | None, *, kinds: str | None, provider: str | None, with_context: bool) -> None:
    """Run the federation in this process until told to end.

    Raises:
        InvalidInput: this home cannot have so many clusters, or no operator of a kind is simulated.
    """
    if _provider(home, provider, kinds) == "k3d":
        foreground.run(Stack(home, "sandbox"), k3d_federation.compose(clusters), with_context=with_context)
        return
    federation = sandbox(home, clusters, kinds=_kinds(kinds))
    foreground.run(Stack(home, "sandbox"), compose(federation), with_context=with_context)


def start(home: Home, clusters: int | None, *, kinds: str | None, provider: str | None, with_context: bool) -> State:
    """Start the federation in the background and wait until it is ready; interrupted, it is stopped again.

    One that runs or starts already is waited for and told of instead.

    Raises:
        InvalidInput: this home cannot have so many clusters, or no operator of a kind is simulated.
        Conflict: it runs with fewer.
    """
    running = home.read_state() if home.is_running() else None
    if _provider(home, provider, kinds) == "k3d":
        return _start_k3d(home, clusters, with_context=with_context)
    if running is not None and running.kind == "sandbox" and running.phase in ("Starting", "Ready"):
        return _greet(home, running, clusters, with_context=with_context)
    wanted = _kinds(kinds)
    count = len(sandbox(home, clusters, kinds=wanted).specs)
    command = (*supervisor_command(home), "--clusters", str(count), "--kinds", ",".join(wanted))
    with signals_raise(tell_interrupted), detach.launched(command, home, outlives_us=True) as supervisor:
        seconds = seconds_to_start(count) + _START_SECONDS
        state = detach.wait_ready(supervisor, home, on_step=hint, seconds=seconds)
    _tell_ready(home, state, with_context=with_context)
    return state


def _provider(home: Home, asked: str | None, kinds: str | None) -> str:
    found = k3d_clusters.choose_provider(home, asked, is_simulated=(home.root / "clusters").exists())
    if found == "k3d" and kinds is not None:
        raise InvalidInput("--kinds is of simulated clusters: install the operators in those of k3d yourself")
    return found


def _start_k3d(home: Home, clusters: int | None, *, with_context: bool) -> State:
    count = len(k3d_plan.clusters_of(clusters or len(k3d_clusters.clusters_in(home)) or k3d_clusters.USUAL_CLUSTERS))
    if not home.is_running():
        tools.check()  # before anything is started in the background
    seconds = count * k3d_federation.SECONDS_EACH + _START_SECONDS
    if (state := home.read_state()) is not None and home.is_running():
        state = detach.wait_other(home, on_step=hint, told=len(state.steps), seconds=seconds)
    else:
        command = (*supervisor_command(home), "--provider", "k3d", "--clusters", str(count))
        with signals_raise(tell_interrupted), detach.launched(command, home, outlives_us=True) as supervisor:
            state = detach.wait_ready(supervisor, home, on_step=hint, seconds=seconds)
    hint(f"ready: the hub is at {state.hub_url}, with {plural(len(state.clusters), 'cluster')} of k3d")
    introduce(home, with_context=with_context)
    return state


def _kinds(given: str | None) -> tuple[str, ...]:
    """Read a list of kinds; the usual ones if none was given, no kind if it is empty."""
    return USUAL if given is None else check_kinds(filter(None, (name.strip() for name in given.split(","))))


def _greet(home: Home, running: State, clusters: int | None, *, with_context: bool) -> State:
    """Wait for a sandbox that another command has started, and tell of it."""
    count = len(sandbox(home).specs)
    if clusters is not None and clusters != count:
        raise Conflict(
            f"--clusters {clusters}: the sandbox runs with {plural(count, 'cluster')}: 'atoll sandbox down' first, "
            "then it can grow"
        )
    if running.phase == "Ready":
        hint(f"the sandbox in {home.root} runs already")
    else:
        hint(f"another command is starting the sandbox in {home.root}: waiting for it")
    seconds = seconds_to_start(count) + _START_SECONDS
    state = detach.wait_other(home, on_step=hint, told=len(running.steps), seconds=seconds)
    _tell_ready(home, state, with_context=with_context)
    return state


def _tell_ready(home: Home, state: State, *, with_context: bool) -> None:
    hint(f"ready: the hub is at {state.hub_url}, with {plural(len(state.clusters), 'cluster')}")
    introduce(home, with_context=with_context)
    hint("try: atoll get clusters   atoll sandbox fault cut cloud-eu lab-k3s   atoll sandbox down")


def stop(folder: str | None) -> None:
    """Stop the one that was named, or the one that runs."""
    candidates = [Home.at(folder)] if folder else _running()
    if not candidates:
        hint("no sandbox runs on this machine")
        return
    if len(candidates) == 1 and k3d_clusters.is_home_of_k3d(candidates[0]):
        _stop_k3d(candidates[0])
        return
    home, state = detach.running_state(candidates, what="sandbox")
    by_hand = {one.name for one in _clusters(home)} - {one.name for one in state.clusters}
    hint(f"stopped {home.root}" if detach.stop(home) else f"nothing runs in {home.root}")
    take_leave(home, by_hand)


def _stop_k3d(home: Home) -> None:
    hint(f"stopped {home.root}" if home.is_running() and detach.stop(home) else f"nothing runs in {home.root}")
    take_leave(home, set())
    made = k3d_clusters.stop_all(home)
    names = " ".join(each.k3d_name for each in made)
    hint(f"its clusters are stopped and kept; 'k3d cluster delete {names}' removes them")


def show(folder: str | None, output: Output) -> bool:
    """Print what runs; tell whether it is ready."""
    candidates = [home for home in ([Home.at(folder)] if folder else _running()) if home.is_running()]
    if not candidates:
        hint("no sandbox runs on this machine: start one with 'atoll sandbox up'")
        return False
    home, state = detach.running_state(candidates, what="sandbox")
    if output is Output.JSON:
        say(orjson.dumps(state.wire(), option=orjson.OPT_INDENT_2).decode())
    elif output is Output.YAML:
        say(to_yaml(state.wire()).rstrip())
    else:
        _print(home, state)
    return state.phase == "Ready"


def running_home(folder: str | None) -> Home:
    """Give the home of the sandbox that was named, or of the one that runs.

    Raises:
        Unavailable: none runs. Conflict: several run.
    """
    candidates = [home for home in ([Home.at(folder)] if folder else _running()) if home.is_running()]
    if not candidates:
        raise Unavailable("no sandbox runs on this machine: start one with 'atoll sandbox up'")
    return detach.running_state(candidates, what="sandbox")[0]


def serve_clusters(config: Path) -> None:
    """Serve the simulated clusters of a configuration file until told to end."""
    from atoll.cli.logs import configure_logging
    from atoll.local.signals import run_until_signalled
    from atoll.sandbox import main
    from atoll.sandbox.settings import SandboxSettings

    try:
        settings = SandboxSettings.from_json(config.read_bytes())
    except OSError as error:
        raise Unavailable(f"cannot read {config}: {error.strerror}") from error
    configure_logging("info")
    run_until_signalled(main.run(settings))


def _running() -> list[Home]:
    homes = running_homes(default_home())
    return [home for home in homes if (state := home.read_state()) is not None and state.kind == "sandbox"]


def _print(home: Home, state: State) -> None:
    say(f"{state.phase} in {home.root}, supervisor {state.pid}")
    places = {"hub": state.hub_url, "NATS": state.nats_url, "MQTT": state.mqtt_url, "logs": home.logs}
    for name, place in places.items():
        say(f"{name:<4}  {place or '(not started yet)'}")
    if state.hub_kubeconfig:
        say(f"kubectl --kubeconfig {state.hub_kubeconfig}   (--context CLUSTER for one of them)")
    say("")
    print_table(("PROCESS", "PID", "RESTARTS"), _processes(state))
    say("")
    print_table(("CLUSTER", "API", "KUBECONFIG"), _places(home, state))
    is_simulated = not k3d_clusters.is_home_of_k3d(home)
    if is_simulated and state.phase == "Ready" and (standing := Control.of(home).faults()):
        say("")
        print_faults(standing)


def _places(home: Home, state: State) -> list[tuple[object, ...]]:
    if k3d_clusters.is_home_of_k3d(home):
        return [(one.name, one.url, one.kubeconfig) for one in state.clusters]
    return [(one.name, one.server, one.kubeconfig) for one in _clusters(home)]


def _clusters(home: Home) -> tuple[ClusterState, ...]:
    """Give the clusters that run now; none while they start."""
    try:
        return read_state(home.root / "clusters").clusters
    except NotFound:
        return ()


def _processes(state: State) -> Iterator[tuple[object, ...]]:
    for process in state.processes:
        yield process.name, process.pid or "down", process.restarts


def print_faults(standing: list[dict[str, Any]]) -> None:
    """Print faults as a table."""
    rows = [(one["text"], age(datetime.fromisoformat(one["since"]))) for one in standing]
    print_table(("FAULT", "SINCE"), rows)
