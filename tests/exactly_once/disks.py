"""Disks of laboratories: small ones that can be full. Those that forget are `rig.forgetful_disk`."""

import contextlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rig.forgetful_disk import ForgetfulDisk

# A gateway wants 64 MB of its disk free before it takes anything in.
_DISK_BYTES = 96 << 20


@dataclass
class Disk:
    """A folder on a small file system of its own, which can be filled to its last byte; a plain folder elsewhere."""

    path: Path
    is_small: bool = False

    def mount(self) -> None:
        """Mount it where this user may; only root may on most machines."""
        self.path.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(self.path)]
        with contextlib.suppress(OSError):
            self.is_small = subprocess.run(command, capture_output=True, check=False).returncode == 0

    def fill(self) -> None:
        """Leave no room."""
        with contextlib.suppress(OSError), (self.path / "ballast").open("wb") as file:
            while True:
                file.write(bytes(1 << 20))
                file.flush()
        with contextlib.suppress(OSError), (self.path / "ballast").open("ab", buffering=0) as file:
            while file.write(bytes(512)):
                pass

    def free(self) -> None:
        """Give the room back."""
        (self.path / "ballast").unlink(missing_ok=True)

    def unmount(self) -> None:
        if self.is_small:
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)


Surface = Disk | ForgetfulDisk


def may_mount() -> bool:
    """Tell whether small file systems can be mounted, without which no disk is ever full."""
    return sys.platform == "linux" and os.geteuid() == 0 and shutil.which("mount") is not None
