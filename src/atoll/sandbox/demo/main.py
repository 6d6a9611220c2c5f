"""The demo from its first process to its last: start, play, check, report, and leave nothing behind unless asked to."""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

from atoll.cli.hub import open_context
from atoll.cli.output import tell_interrupted
from atoll.federation.errors import AtollError, Conflict
from atoll.local import detach
from atoll.local.home import Home, default_home
from atoll.local.hub import context_of
from atoll.local.signals import signals_raise
from atoll.local.state import State
from atoll.sandbox.demo import recording, report, repository, scenario
from atoll.sandbox.demo.evidence import Section, clusters, data, placement, policies, result
from atoll.sandbox.demo.screen import Screen, open_screen
from atoll.sandbox.demo.waiting import Patience
from atoll.sandbox.demo.world import Outcome, World
from atoll.sandbox.federation import supervisor_command

_START_SECONDS = 90.0
_FEDERATION = "federation"


def run_demo(*, keep: bool, folder: Path | None, speed: float) -> int:
    """Run the demo; give the exit code: 0 only if every check passed.

    Args:
        keep: leave the federation running.
        folder: where to work; None means a temporary folder, or `demo` in the home folder if it is kept.
        speed: how many times faster than it happened the recording is played.

    Raises:
        Conflict: the folder is in use or holds something else.
        Unavailable: something that the demo needs is missing; the message says what.
    """
    recording.find_traces()
    home, is_ours = _home(folder, keep=keep)
    has_failed = False
    try:
        with (
            signals_raise(tell_interrupted),
            detach.launched(supervisor_command(home), home, outlives_us=keep) as supervisor,
        ):
            has_failed = not _run(home, supervisor, keep=keep, speed=speed)
            if has_failed or not keep:
                detach.end(supervisor)
    except AtollError as error:
        sys.stderr.write(f"{scenario.describe_failure(error)}\n")
        has_failed = True
    finally:
        if is_ours and not has_failed:
            shutil.rmtree(home.root, ignore_errors=True)
    if has_failed:
        sys.stderr.write(f"  the logs are in {home.logs}\n")
    return 1 if has_failed else 0


def _home(folder: Path | None, *, keep: bool) -> tuple[Home, bool]:
    """Choose the folder to work in, empty; tell whether it is a temporary one of ours."""
    if folder is None and not keep:
        return Home(Path(tempfile.mkdtemp(prefix="atoll-demo-"))), True
    home = Home((folder or default_home() / "demo").expanduser().absolute())
    if home.root.exists() and not home.root.is_dir():
        raise Conflict(f"the home folder {home.root} cannot be used: it is no folder; choose another one with --home")
    if home.is_running():
        raise Conflict(
            f"a federation runs in {home.root} already: stop it with 'atoll sandbox down --home {home.root}'"
        )
    if home.root.exists() and any(home.root.iterdir()):
        if not home.ports_file.exists():
            raise Conflict(f"{home.root} is not empty and no home of a demo: choose another folder with --home")
        shutil.rmtree(home.root)
    return home, False


def _run(home: Home, supervisor: Popen[bytes], *, keep: bool, speed: float) -> bool:
    started = time.monotonic()
    seconds: dict[str, float] = {}
    with open_screen() as screen:
        with _timed(seconds, "start"):
            world = _prepare(home, supervisor, screen)
        patience = Patience()
        with world.hub:
            with _timed(seconds, "data, policies and job"):
                scenario.create_objects(world, screen, patience)
                outcome = scenario.play(world, screen, patience, speed=speed)
            with _timed(seconds, "checks"), screen.step("checks"):
                sections = _examine(world, outcome)
    report.print_report(sections, seconds, total_seconds=time.monotonic() - started)
    passed = all(section.holds for section in sections)
    if passed and keep:
        report.print_next_steps(home)
    elif passed:
        report.print_way_on()
    return passed


def _prepare(home: Home, supervisor: Popen[bytes], screen: Screen) -> World:
    """Prepare the recording and the policies while the federation comes up."""
    with screen.step(_FEDERATION), ThreadPoolExecutor(1) as pool:
        prepared = pool.submit(recording.prepare, home.folder("recording"))
        policy_repository = repository.create(home.folder("git") / "policies")
        state = detach.wait_ready(supervisor, home, on_step=_teller(screen), seconds=_START_SECONDS)
        screen.detail(_FEDERATION, _describe(state))
        return World(home, state, open_context(context_of(home)), prepared.result(), policy_repository)


def _teller(screen: Screen) -> Callable[[str], None]:
    return lambda text: screen.detail(_FEDERATION, text)


def _describe(state: State) -> str:
    return f"NATS, hub, {len(state.clusters)} clusters, gateway: {len(state.processes)} processes"


def _examine(world: World, outcome: Outcome) -> list[Section]:
    return [
        clusters.examine(world),
        data.examine(world, outcome),
        placement.examine(world, outcome),
        result.examine(world, outcome),
        policies.examine(world, outcome),
    ]


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[name] = time.monotonic() - started
