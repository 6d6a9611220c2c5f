"""Where in a volume a mount points, and what a mountPath becomes without mount namespaces.

Owns the rules of subPath and of the documented fallback; touches the volume only to make the subPath.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


class MountRefused(Exception):
    """A mount that must not or cannot be made, whatever happens."""


@dataclass(frozen=True)
class Mount:
    """A folder or file of the machine, and the path at which a container sees it."""

    source: Path
    target: str
    is_read_only: bool = False


def within(volume: Path, sub_path: str) -> Path:
    """Return the place of `sub_path` in a volume, made as a folder if absent. Raises MountRefused if it leaves it."""
    relative = PurePosixPath(sub_path)
    if relative.is_absolute() or ".." in relative.parts:
        raise MountRefused(f'subPath "{sub_path}" must be a relative path without ".."')
    root = volume.resolve()
    place = (root / relative).resolve()  # follows links that a container may have planted
    if not place.is_relative_to(root):
        raise MountRefused(f'subPath "{sub_path}" leads out of its volume through a symbolic link')
    if not place.exists():
        place.mkdir(parents=True)
    return place


def checked_target(mount_path: str) -> str:
    """Return a mountPath in its normal form. Raises MountRefused."""
    path = PurePosixPath(mount_path)
    if not path.is_absolute() or ".." in path.parts or path == PurePosixPath("/") or ":" in mount_path:
        raise MountRefused(f'mountPath "{mount_path}" must be an absolute path other than "/", without ".." or ":"')
    return str(path)


def rewritten(text: str, mounts: Sequence[Mount]) -> str:
    """Put host paths for mountPaths where they stand as whole path prefixes, the longest first."""
    if not mounts:
        return text
    sources = {mount.target: str(mount.source) for mount in mounts}
    targets = "|".join(re.escape(target) for target in sorted(sources, key=len, reverse=True))
    # A path begins after no path character and ends before `/`, the end, or no name character.
    pattern = re.compile(rf"(?<![\w./-])({targets})(?![\w.-])")
    return pattern.sub(lambda match: sources[match[1]], text)
