"""`atoll demo`: the whole mission, as a newcomer runs it."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clitool import Cli, descendants_of, processes_of, read_until, wait_until_gone

from atoll.local.home import Home

pytestmark = [pytest.mark.demo, pytest.mark.skipif(shutil.which("git") is None, reason="needs git")]


def test_a_kept_demo_has_checked_every_claim_goes_on_running_and_its_advice_works(tmp_path: Path) -> None:
    """Every claim is ticked; --keep leaves the federation up; the commands that it names succeed; `down` ends it."""
    cli = Cli(tmp_path)
    try:
        kept = cli("demo", "--keep", seconds=110)
        assert kept.returncode == 0, kept.stdout + kept.stderr
        assert "✗" not in kept.stdout
        assert re.search(r"All \d\d checks passed\.", kept.stdout)
        assert "570 published, 570 received, gaps 0, duplicates 0" in kept.stdout
        assert not cli.kubeconfig.exists()
        advice = kept.stdout[kept.stdout.index("Try:") :]
        assert "atoll job explain picks-uh-network-v1 -n seismology" in advice
        explained = cli.ok("job", "explain", "picks-uh-network-v1", "-n", "seismology")
        assert explained.startswith("job/picks-uh-network-v1 → onprem-gpu")
        assert "3 events in 6 traces" in cli.ok("job", "logs", "picks-uh-network-v1", "-n", "seismology")
        assert cli("policy", "status").returncode == 0
        assert cli("mesh", "status").returncode == 0
        assert json.loads(cli.ok("sandbox", "status", "-o", "json"))["phase"] == "Ready"
    finally:
        cli("sandbox", "down")
    assert wait_until_gone(tmp_path) == []


@pytest.mark.parametrize(
    ("after", "number", "code"),
    [
        ("data ...", signal.SIGINT, 130),
        ("federation ...", signal.SIGHUP, 129),
    ],
)
def test_an_interrupted_demo_leaves_nothing_behind(
    temporary: Path, after: str, number: signal.Signals, code: int
) -> None:
    """Ctrl-C, `kill` or a closed terminal at any moment: it says so, ends every process and removes the folder."""
    cli = Cli(temporary / "home", temporary=temporary)
    with cli.running("demo") as demo:
        read_until(demo, after)
        time.sleep(0.7)
        demo.send_signal(number)
        _, told = demo.communicate(timeout=40)
    assert demo.returncode == code
    assert "interrupted: stopping what was started" in told
    assert processes_of(temporary) == []
    assert list(temporary.glob("atoll-demo-*")) == []


def test_a_killed_demo_leaves_no_process(temporary: Path) -> None:
    """kill -9 of the demo takes its whole federation with it, pods included."""
    cli = Cli(temporary / "home", temporary=temporary)
    with cli.running("demo") as demo:
        read_until(demo, "data ...")
        state = Home(next(temporary.glob("atoll-demo-*"))).read_state()
        assert state is not None
        deadline = time.monotonic() + 15
        while not (sinks := [pid for pid, line in descendants_of(state.pid).items() if " sink " in line]):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        demo.kill()
    assert wait_until_gone(temporary) == []
    while any(Path(f"/proc/{pid}").exists() for pid in sinks):
        assert time.monotonic() < deadline + 15
        time.sleep(0.1)


def test_the_demo_refuses_a_folder_with_other_things_in_it(tmp_path: Path) -> None:
    """A person's files are never wiped."""
    (tmp_path / "thesis.txt").write_text("years of work")
    done = Cli(tmp_path / "home")("demo", "--home", str(tmp_path))
    assert done.returncode == 1
    assert "is not empty and no home of a demo" in done.stderr
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    assert not Home(tmp_path).is_running()


def test_without_the_recording_nothing_is_started(tmp_path: Path) -> None:
    """A missing extra is one clear line, before any process."""
    program = (
        "import sys, importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'obspy' else real(name, *more)\n"
        "sys.argv = ['atoll', 'demo']\nfrom atoll.cli import main\nmain.run()"
    )
    environment = {**Cli(tmp_path / "home").environment, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.endswith("which is not installed: pip install 'atoll[demo]'\n")
    assert list(tmp_path.iterdir()) == []
