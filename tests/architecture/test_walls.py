"""The house stands as README.md draws it: import contracts hold, every module says what it owns, none is too long."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "src/atoll").rglob("*.py"))
MAX_LINES, MAX_FUNCTION_LINES = 600, 60


def test_the_import_contracts_hold() -> None:
    """No room imports what its contract forbids."""
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT / "src/atoll")))
def test_a_module_says_what_it_owns_and_is_read_in_a_sitting(module: Path) -> None:
    """Every module has a docstring, at most 600 lines, and no function above 60."""
    text = module.read_text()
    tree = ast.parse(text)
    assert not text.strip() or ast.get_docstring(tree), "a module without a docstring"
    assert len(text.splitlines()) <= MAX_LINES
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    too_long = [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES]
    assert too_long == []
