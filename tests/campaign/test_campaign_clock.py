"""A clock that is wrong is wrong for who asks Python, in a process of its own, from one moment to the next."""

import subprocess
import sys
import time
from pathlib import Path

from campaign.clock import Skew

_PROGRAM = """
import sys, time
from datetime import UTC, datetime
import atoll.federation.mesh.links as module
from campaign.clock import Skew, install
from pathlib import Path
install(Skew(Path(sys.argv[1])))
for line in sys.stdin:
    now = module.datetime.now(UTC)
    assert isinstance(now, module.datetime) and isinstance(now, datetime)
    assert isinstance(datetime.now(UTC), module.datetime), "what was made before counts as the same kind"
    print(now.timestamp(), time.time(), flush=True)
"""


def test_a_step_of_the_clock_is_seen_at_once_and_taken_back(tmp_path: Path) -> None:
    skew = Skew(tmp_path / "clock")
    command = [sys.executable, "-c", _PROGRAM, str(tmp_path / "clock")]
    environment = {"PYTHONPATH": ":".join(sys.path)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for wanted in (0.0, 3600.0, -90.0, 0.0):
            skew.set(wanted)
            asked = time.time()
            process.stdin.write("now\n")
            process.stdin.flush()
            told = [float(word) - asked - wanted for word in process.stdout.readline().split()]
            assert len(told) == 2
            assert all(-1 < each < 60 for each in told), "of the machine's clock, but for the time it took to answer"
        process.stdin.close()
