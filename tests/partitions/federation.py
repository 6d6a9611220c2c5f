"""A small federation for partition tests, in a process of its own: `python federation.py HOME`, ended by SIGTERM."""

import sys
from pathlib import Path

from atoll.cli.logs import configure_logging
from atoll.local.home import Home
from atoll.local.signals import run_until_signalled
from atoll.local.stack import Stack
from atoll.sandbox.federation import GATEWAY, Federation, compose
from atoll.sandbox.spec import LAB_K3S, ONPREM_GPU

HEARTBEAT_SECONDS, TIMEOUT_SECONDS = 0.5, 3.0
FEDERATION = Federation(
    (ONPREM_GPU, LAB_K3S),
    GATEWAY,
    has_faults=True,
    heartbeat_seconds=HEARTBEAT_SECONDS,
    timeout_seconds=TIMEOUT_SECONDS,
)

if __name__ == "__main__":
    configure_logging("warning")
    run_until_signalled(Stack(Home(Path(sys.argv[1])), "sandbox").run(compose(FEDERATION)))
