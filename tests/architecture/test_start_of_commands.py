"""The command line starts fast: it loads what names the commands, and each command loads what it needs itself."""

import subprocess
import sys

# What costs a tenth of a second and more: kinds, clients of HTTP, of Kubernetes and of NATS, servers, mathematics.
HEAVY = {"pydantic", "httpx", "kubernetes", "nats", "aiohttp", "starlette", "uvicorn", "cryptography", "numpy"}


def test_the_command_line_loads_nothing_heavy_before_it_knows_the_command() -> None:
    """A library that one command needs is imported in the body of that command, not at the top of its module."""
    loaded = "{name.partition('.')[0] for name, module in sys.modules.items() if module is not None}"
    program = f"import sys, atoll.cli.main; print(*{loaded})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()
