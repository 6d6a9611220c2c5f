"""What the `sandbox` commands do: start the federation here or in the background, show it, stop it."""

from collections.abc import Iterator
from pathlib import Path

import orjson

from atoll.cli import foreground
from atoll.cli.joining import introduce
from atoll.cli.options import Output
from atoll.cli.output import hint, say, tell_interrupted, to_yaml
from atoll.cli.tables import print_table
from atoll.federation.errors import Unavailable
from atoll.local import detach
from atoll.local.home import Home, default_home, running_homes
from atoll.local.signals import signals_raise
from atoll.local.stack import Stack
from atoll.local.state import State
from atoll.sandbox.federation import compose, supervisor_command

_START_SECONDS = 90.0


def home_of(folder: str | None) -> Home:
    """Give the folder that a person named, or the sandbox's own below the default home."""
    return Home.at(folder) if folder else Home(default_home() / "sandbox")


def run_here(home: Home, *, with_context: bool) -> None:
    """Run the federation in this process until told to end."""
    foreground.run(Stack(home, "sandbox"), compose(), with_context=with_context)


def start(home: Home, *, with_context: bool) -> State:
    """Start the federation in the background and wait until it is ready; interrupted, it is stopped again."""
    with (
        signals_raise(tell_interrupted),
        detach.launched(supervisor_command(home), home, outlives_us=True) as supervisor,
    ):
        state = detach.wait_ready(supervisor, home, on_step=hint, seconds=_START_SECONDS)
    hint(f"ready: the hub is at {state.hub_url}")
    introduce(home, with_context=with_context)
    hint("try: atoll get clusters   atoll apply -f examples/   atoll sandbox down")
    return state


def stop(folder: str | None) -> None:
    """Stop the one that was named, or the one that runs."""
    candidates = [Home.at(folder)] if folder else _running()
    if not candidates:
        hint("no sandbox runs on this machine")
        return
    home, _ = detach.running_state(candidates, what="sandbox")
    hint(f"stopped {home.root}" if detach.stop(home) else f"nothing runs in {home.root}")


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
    say(f"hub   {state.hub_url}\nNATS  {state.nats_url}\nMQTT  {state.mqtt_url}\nlogs  {home.logs}")
    say(f"kubectl --kubeconfig {state.hub_kubeconfig}\n")
    print_table(("PROCESS", "PID", "RESTARTS"), _processes(state))
    say("")
    print_table(("CLUSTER", "API", "KUBECONFIG"), [(one.name, one.url, one.kubeconfig) for one in state.clusters])


def _processes(state: State) -> Iterator[tuple[object, ...]]:
    for process in state.processes:
        yield process.name, process.pid or "down", process.restarts
