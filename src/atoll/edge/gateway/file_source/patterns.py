"""Which names and paths a pattern means. Pure; on bytes, as a file system has them."""

import re
from collections.abc import Iterable
from functools import lru_cache

SENT_FOLDER = b".atoll-sent"
_TOKENS = re.compile(rb"\*\*/|\*\*|\*|\?|\[!?[^\]/]+\]|[^*?\[]+|\[")


def is_meant(path: bytes, patterns: Iterable[str]) -> bool:
    """Tell whether one of the patterns means a path below the folder.

    Without a slash a pattern is of the name, whatever the folder; with one it is of the whole path. `*` and `?` do not
    reach over a slash, `**` does. No wildcard means a dot at the start of a name, as in a shell.
    """
    name = path.rpartition(b"/")[2]
    return any(_compiled(pattern).fullmatch(path if "/" in pattern else name) is not None for pattern in patterns)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[bytes]:
    """Translate a pattern into stretches, each begun by a `**`, of pieces, each begun by a `*`.

    A wildcard takes the first place where its stretch or piece fits, for good ((?>…), as in Python's fnmatch): a later
    one leaves the next wildcard less. Else a name of many equal letters could be tried for hours.
    """
    stretches: list[list[bytes]] = [[b""]]
    at_start = True
    for token in _TOKENS.findall(pattern.encode()):
        hidden = rb"(?!\.)" if at_start else b""
        match token:
            case b"**/":
                stretches.append([rb"(?:(?!\.)[^/]+/)*?"])
            case b"**":
                stretches.append([hidden + rb"(?:[^/]|/(?!\.))*?"])
            case b"*":
                stretches[-1].append(hidden + rb"[^/]*?")
            case _:
                stretches[-1][-1] += _letters(token, hidden)
        at_start = token.endswith(b"/")
    *closed, last = stretches
    whole = b"".join(b"(?>%b)" % b"".join(map(_closed, stretch)) for stretch in closed)
    return re.compile(whole + b"".join(map(_closed, last[:-1])) + last[-1], re.DOTALL)


def _closed(piece: bytes) -> bytes:
    # What begins a stretch is closed with it, and the stretch that ends the pattern is tried at each place.
    return b"(?>%b)" % piece if piece.startswith((rb"[^/]*?", rb"(?!\.)[^/]*?")) else piece


def _letters(token: bytes, hidden: bytes) -> bytes:
    """Translate a token that stands for letters, each of them one."""
    if token == b"?":
        return hidden + rb"[^/]"
    if not token.startswith(b"[") or len(token) == 1:
        return re.escape(token)
    inverted = token[1:2] == b"!"
    inner = token[2:-1] if inverted else token[1:-1]
    # A range such as a-z stays one; what else means something to a regular expression does not here.
    body = re.sub(rb"([\\^\]\[&~|])", rb"\\\1", inner)
    return hidden + b"[" + (b"^/" if inverted else b"") + body + b"]"
