"""The command line: every command, and what it is made of. `main` has the root and the exit codes."""

import sys

# httpx loads its own command line, which nobody calls here, wherever the packages for it happen to be installed: rich,
# click and pygments are two thirds of its loading time. What is None here cannot be imported (The Python Language
# Reference, 5.3.1), and httpx goes on without (httpx/__init__.py).
if "httpx" not in sys.modules:
    sys.modules["httpx._main"] = None  # type: ignore[assignment]
