"""Lint: what is valid and yet hardly meant. Pure.

`rules.py` looks at policies alone, `fleet.py` at what they do on stated workloads, `live.py` at what they cost where
they run. A finding never changes what is compiled: what must not be rolled out is an error of validation or of the
compiler.
"""

from atoll.policies.lint.finding import LintFinding
from atoll.policies.lint.fleet import lint_on
from atoll.policies.lint.live import lint_live
from atoll.policies.lint.rules import lint

__all__ = ["LintFinding", "lint", "lint_live", "lint_on"]
