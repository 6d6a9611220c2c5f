"""One hash over the files of a version, from which a single file's part can be proven. Pure.

A tree as in RFC 6962, section 2.1: leaves and nodes are hashed with different first bytes, so neither passes for the
other. A leaf is `<path> NUL <bytes> NUL <SHA-256>` of one file, leaves are in the order of their paths.
"""

import hashlib
from collections.abc import Iterable

from atoll.federation.bus.data_messages import ManifestFile

_LEAF, _NODE = b"\x00", b"\x01"


def merkle_root(files: Iterable[ManifestFile]) -> str:
    """Give the root over paths, sizes and contents, independent of the order given."""
    level = [
        hashlib.sha256(_LEAF + f"{file.path}\0{file.bytes}\0{file.sha256}".encode()).digest()
        for file in sorted(files, key=lambda file: file.path)
    ]
    if not level:
        return hashlib.sha256(b"").hexdigest()
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        # A last one without partner moves up as it is: the same tree as splitting at powers of two.
        odd = level[len(level) // 2 * 2 :]
        level = [hashlib.sha256(_NODE + left + right).digest() for left, right in pairs] + odd
    return level[0].hex()
