"""Patterns of file names against a plain model of what they mean, and in time that grows with the name only."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from atoll.edge.gateway.file_source.patterns import is_meant


def meant(pattern: str, path: str, *, at_start: bool = True) -> bool:
    """Match by trying everything: slow, and plain."""
    if not pattern:
        return not path
    is_hidden = at_start and path.startswith(".")
    if pattern.startswith("**/"):
        if meant(pattern[3:], path, at_start=True):
            return True
        folder, slash, rest = path.partition("/")
        return bool(slash and folder) and not folder.startswith(".") and meant(pattern, rest, at_start=True)
    if pattern[0] in "*?":
        if is_hidden:
            return False
        step = 2 if pattern.startswith("**") else 1
        if pattern[0] == "*" and meant(pattern[step:], path, at_start=False):
            return True
        crosses = step == 2 and path.startswith("/") and not path.startswith("/.")
        if not path or (path[0] == "/" and not crosses):
            return False
        return meant(pattern if pattern[0] == "*" else pattern[1:], path[1:], at_start=False)
    return path[:1] == pattern[0] and meant(pattern[1:], path[1:], at_start=pattern[0] == "/")


PIECES = st.sampled_from(["a", "b", ".", "/", "*", "?", "**/", "/**", "*a", "a*"])
PATHS = st.lists(st.sampled_from(["a", "b", "ab", "ba", ".a", "aab"]), min_size=1, max_size=5).map("/".join)


@given(st.lists(PIECES, min_size=1, max_size=8).map("".join), PATHS)
@example("**/a*b/c", "ax/ab/c")
@example("*a*b/**/c*", "aab/b/ca")
def test_a_pattern_means_what_trying_everything_finds(pattern: str, path: str) -> None:
    wanted = path if "/" in pattern else path.rpartition("/")[2]
    at_start_only = pattern.replace("**/", "").replace("/**", "")
    if "**" in at_start_only or "//" in pattern:  # `a**` beside other wildcards: the tokens are another's to cut
        return
    assert is_meant(path.encode(), (pattern,)) is meant(pattern, wanted)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 40 + "b", b"a" * 255),
        ("**/a*/" * 20 + "b", b"a/" * 120 + b"c"),
        ("**/*a*a*a*a*b", b"a/" * 20 + b"a" * 250),
        ("*?" * 60 + "b", b"a" * 255),
    ],
)
def test_no_pattern_takes_long_for_any_name(pattern: str, path: bytes) -> None:
    """Tried in all ways, each of these takes longer than an instrument lives."""
    started = time.process_time()
    assert not is_meant(path, (pattern,))
    assert time.process_time() - started < 2
