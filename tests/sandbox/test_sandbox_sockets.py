"""Where the sandbox's unix sockets lie: agents keep the path they were started with, so it may not change."""

from pathlib import Path

import pytest

from atoll.federation.errors import InvalidInput
from atoll.sandbox.serving import socket_folder


def test_a_short_home_holds_its_sockets_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No second place without need."""
    monkeypatch.chdir(tmp_path)
    home = Path("h")
    with socket_folder(home, "onprem-gpu.sock") as folder:
        assert folder == home


def test_a_long_home_gets_the_same_folder_again_and_leaves_none(tmp_path: Path) -> None:
    """A restart of the sandbox answers where the agents look."""
    home = tmp_path / ("long" * 30)
    with socket_folder(home, "onprem-gpu.sock") as first:
        assert first.is_dir()
        assert first.stat().st_mode & 0o077 == 0
    with socket_folder(home, "onprem-gpu.sock") as second:
        assert second == first
    assert not first.exists()


def test_a_folder_put_there_by_a_link_is_refused(tmp_path: Path) -> None:
    """The place is predictable, so it must be ours."""
    home = tmp_path / ("long" * 30)
    with socket_folder(home, "x.sock") as folder:
        pass
    folder.symlink_to(tmp_path)
    try:
        with pytest.raises(InvalidInput, match="belongs to somebody else"), socket_folder(home, "x.sock"):
            pass
    finally:
        folder.unlink()
