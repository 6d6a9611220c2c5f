"""`python -m atoll.cli`: how Atoll starts its own processes, with the interpreter that runs now."""

from atoll.cli.main import run

run()
