"""What a killed supervisor left behind where the kernel does not end children with their parent (macOS).

Only processes whose command line still names this home are touched: a pid that was used again is not ours.
"""

import subprocess

from atoll.local.child import kill_session
from atoll.local.home import Home


def end_leftovers(home: Home) -> list[int]:
    """Kill the processes of the state file that outlived their supervisor; the caller holds the home's lock."""
    state = home.read_state()
    pids = [process.pid for process in state.processes if process.pid] if state else []
    ours = [pid for pid in pids if str(home.root) in _command_line(pid)]
    for pid in ours:
        kill_session(pid)
    return ours


def _command_line(pid: int) -> str:
    answer = subprocess.run(
        ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return answer.stdout
