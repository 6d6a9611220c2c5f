"""The demo's tests run the real program; the tool for that stands with the CLI's tests."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "cli"))


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A temporary folder with a short name: unix sockets below it may have only about a hundred characters."""
    with tempfile.TemporaryDirectory(prefix="atoll-test-", dir="/tmp") as folder:
        yield Path(folder)
